-- Recency, frequency and money of each customer of the index.
WITH orders_of AS (
    SELECT
        customer_row,
        MIN(age_days) AS recency_days,
        MAX(age_days) AS first_age_days,
        COUNT(*) AS frequency,
        SUM(new_day) AS n_order_days,
        SUM(revenue) AS monetary,
        SUM(n_products) AS n_lines
    FROM shop_orders
    WHERE customer_row IS NOT NULL
    GROUP BY customer_row
),
range_of AS (
    SELECT customer_row, COUNT(*) AS n_products
    FROM pairs
    GROUP BY customer_row
)
SELECT
    CAST(o.customer_row AS INTEGER) AS customer_row,
    CAST(o.recency_days AS INTEGER) AS recency_days,
    CAST(o.first_age_days AS INTEGER) AS first_age_days,
    CAST(o.frequency AS INTEGER) AS frequency,
    CAST(o.n_order_days AS INTEGER) AS n_order_days,
    CAST(o.monetary AS BIGINT) AS monetary,
    CAST(r.n_products AS INTEGER) AS n_products,
    CAST(o.n_lines AS INTEGER) AS n_lines
FROM orders_of o
JOIN range_of r ON r.customer_row = o.customer_row
ORDER BY o.customer_row
