-- Customer x product: how often, how recently and how much. `weight` counts orders, each halved for every
-- half_life_days of its age, and `step_weight` counts them a fifth less for every newer order of the customer;
-- their terms are decimals, because a sum of doubles depends on the threads.
--
-- A day is counted once however many orders fall on it. Few do share a day, so only those are grouped by day
-- first; all others pass straight through (counting distinct days of every pair doubles the work).
WITH terms AS (
    SELECT
        order_row, age_days,
        CAST(POWER(0.5, age_days / CAST($half_life_days AS DOUBLE)) AS DECIMAL(18, 9)) AS weight,
        CAST(POWER(0.8, order_rank - 1) AS DECIMAL(18, 9)) AS step_weight,
        CASE WHEN order_rank <= 3 THEN 1 ELSE 0 END AS n_last_3,
        CASE WHEN order_rank = 1 THEN 1 ELSE 0 END AS in_last,
        COUNT(*) OVER (PARTITION BY customer_row, age_days) AS n_that_day
    FROM shop_orders
    WHERE customer_row IS NOT NULL
),
days AS (
    SELECT
        p.customer_row, p.product_row, t.age_days, 1 AS n_orders,
        CAST(p.quantity AS DECIMAL(18, 3)) AS quantity, p.revenue, t.weight, t.step_weight,
        t.n_last_3, t.in_last
    FROM purchases p
    JOIN terms t ON t.order_row = p.order_row
    WHERE t.n_that_day = 1
    UNION ALL
    SELECT
        p.customer_row, p.product_row, t.age_days, CAST(COUNT(*) AS INTEGER),
        CAST(SUM(CAST(p.quantity AS DECIMAL(18, 3))) AS DECIMAL(18, 3)), CAST(SUM(p.revenue) AS BIGINT),
        CAST(SUM(t.weight) AS DECIMAL(18, 9)), CAST(SUM(t.step_weight) AS DECIMAL(18, 9)),
        CAST(SUM(t.n_last_3) AS INTEGER), MAX(t.in_last)
    FROM purchases p
    JOIN terms t ON t.order_row = p.order_row
    WHERE t.n_that_day > 1
    GROUP BY p.customer_row, p.product_row, t.age_days
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
    CAST(SUM(weight) AS DOUBLE) AS weight,
    CAST(SUM(step_weight) AS DOUBLE) AS step_weight,
    CAST(SUM(n_last_3) AS INTEGER) AS n_last_3,
    CAST(MAX(in_last) AS INTEGER) AS in_last
FROM days
GROUP BY customer_row, product_row
ORDER BY customer_row, product_row
