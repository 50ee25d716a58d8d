-- One row per order of which something was kept. order_rank 1 is the customer's newest order, of two at the
-- same moment the one with the lower id; new_day is 1 on the newest order of each of the customer's days, so
-- that its sum counts days without DISTINCT. Both are null for guests.
WITH totals AS (
    SELECT order_row, MIN(customer_row) AS customer_row, COUNT(*) AS n_products, SUM(revenue) AS revenue
    FROM purchases
    GROUP BY order_row
),
ranked AS (
    SELECT
        t.order_row, t.customer_row, t.n_products, t.revenue, o.order_id, o.age_days,
        ROW_NUMBER() OVER (
            PARTITION BY COALESCE(t.customer_row, -1 - t.order_row) ORDER BY o.ordered_at DESC, t.order_row
        ) AS order_rank,
        LAG(o.age_days) OVER (
            PARTITION BY COALESCE(t.customer_row, -1 - t.order_row) ORDER BY o.ordered_at DESC, t.order_row
        ) AS newer_days
    FROM totals t
    JOIN orders_known o ON o.order_row = t.order_row
)
SELECT
    CAST(order_row AS INTEGER) AS order_row,
    CAST(order_id AS STRING) AS order_id,
    CAST(customer_row AS INTEGER) AS customer_row,
    CAST(age_days AS INTEGER) AS age_days,
    CAST(n_products AS INTEGER) AS n_products,
    CAST(revenue AS BIGINT) AS revenue,
    CAST(CASE WHEN customer_row IS NOT NULL THEN order_rank END AS INTEGER) AS order_rank,
    CAST(CASE
        WHEN customer_row IS NULL THEN NULL
        WHEN age_days = newer_days THEN 0
        ELSE 1
    END AS INTEGER) AS new_day
FROM ranked
ORDER BY order_row
