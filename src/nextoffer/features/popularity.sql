-- How well each product with a net purchase sells, over all time and over the last 10, 28 and 91 days.
-- Orders count guests; customers do not.
WITH sold AS (
    SELECT
        product_row,
        COUNT(*) AS n_orders,
        COUNT(CASE WHEN age_days < 10 THEN 1 END) AS n_orders_10,
        COUNT(CASE WHEN age_days < 28 THEN 1 END) AS n_orders_28,
        COUNT(CASE WHEN age_days < 91 THEN 1 END) AS n_orders_91,
        MAX(age_days) AS first_age_days,
        MIN(age_days) AS last_age_days,
        SUM(CAST(quantity AS DECIMAL(18, 3))) AS quantity,
        SUM(revenue) AS revenue
    FROM purchases
    GROUP BY product_row
),
bought AS (
    SELECT
        product_row,
        COUNT(*) AS n_customers,
        COUNT(CASE WHEN n_orders >= 2 THEN 1 END) AS n_repeat_customers,
        COUNT(CASE WHEN last_age_days < 10 THEN 1 END) AS n_customers_10,
        COUNT(CASE WHEN last_age_days < 28 THEN 1 END) AS n_customers_28,
        COUNT(CASE WHEN last_age_days < 91 THEN 1 END) AS n_customers_91
    FROM pairs
    GROUP BY product_row
)
SELECT
    CAST(s.product_row AS INTEGER) AS product_row,
    CAST(s.n_orders AS INTEGER) AS n_orders,
    CAST(COALESCE(b.n_customers, 0) AS INTEGER) AS n_customers,
    CAST(COALESCE(b.n_repeat_customers, 0) AS INTEGER) AS n_repeat_customers,
    CAST(s.n_orders_10 AS INTEGER) AS n_orders_10,
    CAST(s.n_orders_28 AS INTEGER) AS n_orders_28,
    CAST(s.n_orders_91 AS INTEGER) AS n_orders_91,
    CAST(COALESCE(b.n_customers_10, 0) AS INTEGER) AS n_customers_10,
    CAST(COALESCE(b.n_customers_28, 0) AS INTEGER) AS n_customers_28,
    CAST(COALESCE(b.n_customers_91, 0) AS INTEGER) AS n_customers_91,
    CAST(s.first_age_days AS INTEGER) AS first_age_days,
    CAST(s.last_age_days AS INTEGER) AS last_age_days,
    CAST(s.quantity AS DOUBLE) AS quantity,
    CAST(s.revenue AS BIGINT) AS revenue
FROM sold s
LEFT JOIN bought b ON b.product_row = s.product_row
ORDER BY s.product_row
