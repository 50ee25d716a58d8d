-- Of the interest of an earlier moment $since (table interest_then), left alone for $abandoned_hours hours, in what
-- the customer had never bought: how much was bought until $as_of, by whether it was in the cart. What was bought
-- before is left out, since habit would be taken for interest.
WITH bought AS (
    SELECT customer_id, product_id, MIN(ordered_at) AS first_at
    FROM orders
    WHERE quantity > 0 AND ordered_at < $as_of
    GROUP BY customer_id, product_id
)
SELECT
    CAST(i.carted AS INTEGER) AS carted,
    CAST(COUNT(*) AS BIGINT) AS n_seen,
    CAST(COUNT(b.product_id) AS BIGINT) AS n_bought
FROM interest_then i
LEFT JOIN bought b ON b.customer_id = i.customer_id AND b.product_id = i.product_id
WHERE i.seen_at <= secs(CAST('1970-01-01' AS TIMESTAMP), $since) - 3600 * $abandoned_hours
    AND (b.first_at IS NULL OR b.first_at >= $since)
GROUP BY i.carted
ORDER BY i.carted
