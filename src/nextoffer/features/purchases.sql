-- One row per order x product that was bought and kept; customer_row is null for guests.
WITH bought AS (
    SELECT order_row, product_row, SUM(quantity) AS quantity, SUM(revenue) AS revenue
    FROM net_lines
    GROUP BY order_row, product_row
)
SELECT
    CAST(b.order_row AS INTEGER) AS order_row,
    CAST(o.order_id AS STRING) AS order_id,
    CAST(c.customer_row AS INTEGER) AS customer_row,
    CAST(b.product_row AS INTEGER) AS product_row,
    CAST(o.age_days AS INTEGER) AS age_days,
    CAST(b.quantity AS DOUBLE) AS quantity,
    CAST(b.revenue AS BIGINT) AS revenue
FROM bought b
JOIN orders_known o ON o.order_row = b.order_row
LEFT JOIN customers_index c ON c.known_row = o.known_row
