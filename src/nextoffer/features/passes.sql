-- Every subscription started before $as_of, and the day it was renewed on (0 = not yet): by another one of the
-- same product that runs on, also one that begins later, or by buying the product in its last fortnight (its
-- second half, if it is shorter) or afterwards. Days since 1970-01-01 in the shop's time zone.
WITH held AS (
    SELECT
        customer_id,
        product_id,
        started_at,
        ends_at,
        MAX(CASE WHEN auto_renew THEN 1 ELSE 0 END) AS auto_renew
    FROM subscriptions
    GROUP BY customer_id, product_id, started_at, ends_at
),
followed AS (
    SELECT h.customer_id, h.product_id, h.started_at, h.ends_at, MIN(n.started_at) AS next_at
    FROM held h
    JOIN held n ON n.customer_id = h.customer_id AND n.product_id = h.product_id
    WHERE n.ends_at > h.ends_at AND n.started_at >= h.started_at
    GROUP BY h.customer_id, h.product_id, h.started_at, h.ends_at
),
bought AS (
    SELECT h.customer_id, h.product_id, h.started_at, h.ends_at, MIN(o.ordered_at) AS bought_at
    FROM held h
    JOIN orders o ON o.customer_id = h.customer_id AND o.product_id = h.product_id
    WHERE o.quantity > 0 AND o.ordered_at < $as_of AND o.ordered_at > h.started_at
        AND secs(o.ordered_at, h.ends_at) <= LEAST(1209600, secs(h.started_at, h.ends_at) / 2)
    GROUP BY h.customer_id, h.product_id, h.started_at, h.ends_at
)
SELECT
    CAST(h.customer_id AS STRING) AS customer_id,
    CAST(h.product_id AS STRING) AS product_id,
    CAST(local_day(h.started_at, $timezone) AS INTEGER) AS started_day,
    CAST(local_day(h.ends_at, $timezone) AS INTEGER) AS ends_day,
    CAST(h.auto_renew AS INTEGER) AS auto_renew,
    CAST(
        COALESCE(
            LEAST(
                COALESCE(local_day(f.next_at, $timezone), local_day(b.bought_at, $timezone)),
                COALESCE(local_day(b.bought_at, $timezone), local_day(f.next_at, $timezone))
            ),
            0
        ) AS INTEGER
    ) AS renewed_day
FROM held h
LEFT JOIN followed f ON f.customer_id = h.customer_id AND f.product_id = h.product_id
    AND f.started_at = h.started_at AND f.ends_at = h.ends_at
LEFT JOIN bought b ON b.customer_id = h.customer_id AND b.product_id = h.product_id
    AND b.started_at = h.started_at AND b.ends_at = h.ends_at
WHERE h.started_at < $as_of
ORDER BY h.customer_id, h.ends_at, h.product_id, h.started_at
