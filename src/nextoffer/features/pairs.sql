-- Customer x product: how often, how recently and how much. `weight` counts orders, each halved for every
-- half_life_days of its age; its terms are decimals, because a sum of doubles depends on the threads.
WITH days AS (
    SELECT
        p.customer_row, p.product_row, p.age_days,
        COUNT(*) AS n_orders,
        SUM(CAST(p.quantity AS DECIMAL(18, 3))) AS quantity,
        SUM(p.revenue) AS revenue,
        SUM(CASE WHEN o.order_rank <= 3 THEN 1 ELSE 0 END) AS n_last_3,
        MAX(CASE WHEN o.order_rank = 1 THEN 1 ELSE 0 END) AS in_last
    FROM purchases p
    JOIN shop_orders o ON o.order_row = p.order_row
    WHERE p.customer_row IS NOT NULL
    GROUP BY p.customer_row, p.product_row, p.age_days
)
SELECT
    CAST(customer_row AS INTEGER) AS customer_row,
    CAST(product_row AS INTEGER) AS product_row,
    CAST(SUM(n_orders) AS INTEGER) AS n_orders,
    CAST(COUNT(*) AS INTEGER) AS n_days,
    CAST(MAX(age_days) AS INTEGER) AS first_age_days,
    CAST(MIN(age_days) AS INTEGER) AS last_age_days,
    CAST(SUM(quantity) AS DOUBLE) AS quantity,
    CAST(SUM(revenue) AS BIGINT) AS revenue,
    CAST(SUM(CAST(n_orders * POWER(0.5, age_days / CAST($half_life_days AS DOUBLE)) AS DECIMAL(18, 9))) AS DOUBLE)
        AS weight,
    CAST(SUM(n_last_3) AS INTEGER) AS n_last_3,
    CAST(MAX(in_last) AS INTEGER) AS in_last
FROM days
GROUP BY customer_row, product_row
ORDER BY customer_row, product_row
