-- Customers with any order line before as_of, returns included; every stride-th of them in the order of ids.
-- The cut comes before the netting of returns, so that a sample costs only its share of the work.
WITH known AS (
    SELECT customer_id
    FROM orders
    WHERE ordered_at < $as_of AND customer_id IS NOT NULL
    GROUP BY customer_id
),
ranked AS (
    SELECT customer_id, ROW_NUMBER() OVER (ORDER BY customer_id) - 1 AS known_row
    FROM known
)
SELECT
    CAST(known_row AS INTEGER) AS known_row,
    CAST(customer_id AS STRING) AS customer_id
FROM ranked
WHERE known_row % $stride = 0
ORDER BY known_row
