-- What each customer looked at or put in the cart in the $interest_days days before $as_of and has not bought
-- since, newest first, at most 50. A purchase of the day before counts too: shops report views late.
WITH touched AS (
    SELECT
        customer_id,
        product_id,
        MAX(CASE WHEN event <> 'remove-from-cart' THEN occurred_at END) AS seen_at,
        MAX(CASE WHEN event = 'add-to-cart' THEN occurred_at END) AS carted_at,
        MAX(CASE WHEN event = 'remove-from-cart' THEN occurred_at END) AS removed_at
    FROM interactions
    WHERE customer_id IS NOT NULL AND occurred_at < $as_of AND secs(occurred_at, $as_of) <= 86400 * $interest_days
    GROUP BY customer_id, product_id
),
bought AS (
    SELECT customer_id, product_id, MAX(ordered_at) AS bought_at
    FROM orders
    WHERE quantity > 0 AND ordered_at < $as_of AND secs(ordered_at, $as_of) <= 86400 * ($interest_days + 1)
    GROUP BY customer_id, product_id
),
unbought AS (
    SELECT
        t.customer_id,
        t.product_id,
        t.seen_at,
        CASE WHEN t.carted_at IS NULL OR t.removed_at >= t.carted_at THEN 0 ELSE 1 END AS carted,
        ROW_NUMBER() OVER (PARTITION BY t.customer_id ORDER BY t.seen_at DESC, t.product_id) AS place
    FROM touched t
    LEFT JOIN bought b ON b.customer_id = t.customer_id AND b.product_id = t.product_id
    WHERE t.seen_at IS NOT NULL AND (b.bought_at IS NULL OR secs(b.bought_at, t.seen_at) > 86400)
)
SELECT
    CAST(customer_id AS STRING) AS customer_id,
    CAST(product_id AS STRING) AS product_id,
    CAST(FLOOR(secs(CAST('1970-01-01' AS TIMESTAMP), seen_at)) AS BIGINT) AS seen_at,
    CAST(carted AS INTEGER) AS carted
FROM unbought
WHERE place <= 50
ORDER BY customer_id, place
