-- Customers who bought and kept something before as_of, and their row: 0, 1, 2, … in the byte order of the ids.
WITH buyers AS (
    SELECT party
    FROM net_lines
    WHERE party >= 0
    GROUP BY party
)
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY k.known_row) - 1 AS INTEGER) AS customer_row,
    CAST(k.customer_id AS STRING) AS customer_id,
    CAST(k.known_row AS INTEGER) AS known_row
FROM customers_known k
JOIN buyers b ON b.party = k.known_row
ORDER BY k.known_row
