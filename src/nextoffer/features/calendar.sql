-- Days that matter to a customer, as days since 1970-01-01 in the shop's time zone, and the points they hold.
-- A first order is one only if the shop's history goes back $settled_days before it; else there may have been
-- others before the history begins.
WITH firsts AS (
    SELECT customer_id, MIN(ordered_at) AS first_at
    FROM orders
    WHERE customer_id IS NOT NULL AND quantity > 0 AND ordered_at < $as_of
    GROUP BY customer_id
)
SELECT
    CAST(f.customer_id AS STRING) AS customer_id,
    CAST(
        CASE
            WHEN days_between((SELECT MIN(ordered_at) AS first_at FROM orders), f.first_at) >= $settled_days
                THEN local_day(f.first_at, $timezone)
            ELSE 0
        END AS INTEGER
    ) AS first_order_day,
    CAST(days_between(CAST('1970-01-01' AS TIMESTAMP), CAST(c.birth_date AS TIMESTAMP)) AS INTEGER) AS born_day,
    CAST(COALESCE(c.points_balance, 0) AS BIGINT) AS points_balance,
    CAST(COALESCE(local_day(c.points_expire_at, $timezone), 0) AS INTEGER) AS points_expire_day
FROM firsts f
LEFT JOIN customers c ON c.customer_id = f.customer_id
ORDER BY f.customer_id
