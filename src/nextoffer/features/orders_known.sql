-- One row per order before as_of, returns included, dated by its earliest line; known_row is null for guests,
-- whose orders belong to no sample and are left out of one. An order id used by two customers is two orders.
WITH heads AS (
    SELECT order_id, customer_id, MIN(ordered_at) AS ordered_at
    FROM orders
    WHERE ordered_at < $as_of AND (customer_id IS NOT NULL OR $stride = 1)
    GROUP BY order_id, customer_id
)
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY h.order_id, k.known_row) - 1 AS INTEGER) AS order_row,
    CAST(h.order_id AS STRING) AS order_id,
    CAST(h.customer_id AS STRING) AS customer_id,
    CAST(k.known_row AS INTEGER) AS known_row,
    CAST(h.ordered_at AS TIMESTAMP) AS ordered_at,
    CAST(days_between(h.ordered_at, $as_of) AS INTEGER) AS age_days
FROM heads h
LEFT JOIN customers_known k ON k.customer_id = h.customer_id
WHERE k.known_row IS NOT NULL OR h.customer_id IS NULL
