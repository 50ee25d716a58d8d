"""The SQL that counts what each customer did in a window; its columns are the measures of `counting`."""

from nextoffer.measurement.observing import BELOW

# A part of an order has the order's points and code.
OF_CATEGORY = f"""
    SELECT b.order_id, b.customer_id, b.ordered_at, b.revenue, b.margin, o.points_spent, o.promo_code
    FROM {BELOW} AS b JOIN orders AS o ON o.order_id = b.order_id
"""
# An order counts if it is worth more than 0 once returns are off; what is returned always lowers revenue. Points given
# with an offer cost when they are spent: `given` leaves them out.
COUNTED = """
WITH bought AS (
    SELECT customer_id,
        COUNT(*) FILTER (WHERE revenue > 0 AND ordered_at < $end) AS ever,
        COUNT(*) FILTER (WHERE revenue > 0 AND ordered_at >= $end) AS later,
        COUNT(*) FILTER (WHERE revenue > 0 AND ordered_at >= $start AND ordered_at < $end) AS orders,
        COUNT(*) FILTER (WHERE revenue > 0 AND ordered_at >= $before AND ordered_at < $start) AS orders_before,
        MIN(ordered_at) FILTER (WHERE revenue > 0 AND ordered_at < $end) AS first_at,
        MAX(ordered_at) FILTER (WHERE revenue > 0 AND ordered_at < $end) AS last_at,
        SUM(revenue) FILTER (WHERE ordered_at >= $start AND ordered_at < $end) AS revenue,
        SUM(margin) FILTER (WHERE ordered_at >= $start AND ordered_at < $end) AS margin,
        SUM(revenue) FILTER (WHERE ordered_at < $end) AS revenue_so_far,
        SUM(margin) FILTER (WHERE ordered_at < $end) AS margin_so_far,
        SUM(points_spent) FILTER (WHERE revenue > 0 AND ordered_at < $end) AS points_so_far,
        SUM(points_spent) FILTER (WHERE revenue > 0 AND ordered_at >= $start AND ordered_at < $end) AS points,
        COUNT(*) FILTER (WHERE revenue > 0 AND points_spent > 0
            AND ordered_at >= $start AND ordered_at < $end) AS points_orders,
        COUNT(*) FILTER (WHERE revenue > 0 AND promo_code <> ''
            AND ordered_at >= $start AND ordered_at < $end) AS promo_orders
    FROM {orders} GROUP BY customer_id
), scored AS (
    SELECT customer_id, kind, TRY_CAST(score AS DECIMAL(12,3)) AS score,
        CAST(COALESCE(map(CAST($aspects AS VARCHAR[]), CAST($weights AS DECIMAL(12,3)[]))[aspect], 1)
            AS DECIMAL(12,3)) AS weight
    FROM surveys
    WHERE answered_at >= $start AND answered_at < $end AND TRY_CAST(score AS DECIMAL(12,3)) IS NOT NULL
), asked AS (
    SELECT customer_id,
        COUNT(*) FILTER (WHERE kind = 'review') AS reviews,
        SUM(score) FILTER (WHERE kind = 'review') AS review_score,
        COUNT(*) FILTER (WHERE kind = 'nps' AND score BETWEEN 0 AND 10) AS nps_answers,
        COUNT(*) FILTER (WHERE kind = 'nps' AND score BETWEEN 9 AND 10)
            - COUNT(*) FILTER (WHERE kind = 'nps' AND score BETWEEN 0 AND 6) AS nps_balance,
        SUM(weight) FILTER (WHERE kind = 'csi') AS csi_weight,
        SUM(weight * score) FILTER (WHERE kind = 'csi') AS csi_score
    FROM scored GROUP BY customer_id
), invitations AS (
    SELECT p.referred_by AS customer_id, COUNT(*) AS brought
    FROM people AS p JOIN bought AS b ON b.customer_id = p.customer_id
    WHERE b.first_at >= $start AND p.referred_by <> p.customer_id AND p.referred_by <> ''
    GROUP BY p.referred_by
), given AS (
    SELECT unit_id AS customer_id, SUM(spent - in_price) AS spent FROM answers
    WHERE type = 'promotion-redeemed' AND incentive <> 'points' AND "at" < $end GROUP BY unit_id
), everybody AS (
    SELECT COALESCE(b.customer_id, p.customer_id) AS customer_id, b.* EXCLUDE (customer_id),
        p.customer_id IS NOT NULL AS is_known, NULLIF(p.programme, '') AS programme, p.joined_at,
        p.referred_by <> p.customer_id AND p.referred_by <> '' AS is_invited
    FROM bought AS b FULL JOIN people AS p ON p.customer_id = b.customer_id
), described AS (
    SELECT COALESCE(e.customer_id, a.customer_id) AS customer_id, e.* EXCLUDE (customer_id),
        a.* EXCLUDE (customer_id), s.segment, COALESCE(i.brought, 0) AS brought, g.spent,
        COALESCE(ever > 0 OR (is_known AND (joined_at < $end OR (joined_at IS NULL AND COALESCE(later, 0) = 0))), FALSE)
            AND e.customer_id IS NOT NULL AS is_customer
    FROM everybody AS e
    FULL JOIN asked AS a ON a.customer_id IS NOT DISTINCT FROM e.customer_id
    LEFT JOIN segments AS s ON s.customer_id = COALESCE(e.customer_id, a.customer_id)
    LEFT JOIN invitations AS i ON i.customer_id = e.customer_id
    LEFT JOIN given AS g ON g.customer_id = e.customer_id
), flagged AS (
    SELECT *, is_customer AND programme IS NOT NULL AND COALESCE(joined_at < $end, TRUE) AS is_member,
        is_customer AND COALESCE(orders, 0) > 0 AS is_buyer,
        is_customer AND COALESCE(orders_before, 0) > 0 AS was_buyer,
        is_customer AND COALESCE(first_at >= $start, FALSE) AS is_new
    FROM described
)
SELECT customer_id, segment, programme, joined_at, first_at, is_customer, is_member,
    CAST(is_customer AS INTEGER) AS customers,
    CAST(is_member AS INTEGER) AS members,
    CAST(is_member AND COALESCE(joined_at >= $start, FALSE) AS INTEGER) AS joined,
    CAST(COALESCE(orders, 0) AS BIGINT) AS orders,
    CAST(COALESCE(revenue, 0) AS BIGINT) AS revenue,
    CAST(COALESCE(margin, 0) AS BIGINT) AS margin,
    CASE WHEN is_customer THEN CAST(COALESCE(orders, 0) AS BIGINT) ELSE 0 END AS customer_orders,
    CASE WHEN is_customer THEN CAST(COALESCE(revenue, 0) AS BIGINT) ELSE 0 END AS customer_revenue,
    CASE WHEN is_customer THEN CAST(COALESCE(margin, 0) AS BIGINT) ELSE 0 END AS customer_margin,
    CAST(is_buyer AS INTEGER) AS buyers,
    CAST(is_buyer AND orders >= 2 AS INTEGER) AS repeaters,
    CASE WHEN is_buyer THEN orders - CAST(is_new AS BIGINT) ELSE 0 END AS repeat_orders,
    CAST(was_buyer AS INTEGER) AS buyers_before,
    CAST(was_buyer AND is_buyer AS INTEGER) AS stayed,
    CAST(was_buyer AND NOT is_buyer AS INTEGER) AS gone,
    CAST(is_new AS INTEGER) AS newcomers,
    CAST(is_new AND COALESCE(is_invited, FALSE) AS INTEGER) AS invited,
    CAST(is_customer AND brought > 0 AS INTEGER) AS referrers,
    CAST(is_customer AND COALESCE(ever, 0) > 0 AS INTEGER) AS customers_so_far,
    CASE WHEN is_customer AND ever > 0 THEN CAST(revenue_so_far AS BIGINT) ELSE 0 END AS revenue_so_far,
    CASE WHEN is_customer AND ever > 0
        THEN CAST(margin_so_far - ROUND(COALESCE(points_so_far, 0) * $point_value) - COALESCE(spent, 0) AS BIGINT)
        ELSE 0 END AS profit_so_far,
    CASE WHEN is_customer AND ever > 0 THEN date_diff('day', first_at, last_at) ELSE 0 END AS days_so_far,
    CAST(COALESCE(points_orders, 0) AS BIGINT) AS points_orders,
    CAST(ROUND(COALESCE(points, 0) * $point_value) AS BIGINT) AS points_value,
    CAST(COALESCE(promo_orders, 0) AS BIGINT) AS promo_orders,
    CAST(COALESCE(reviews, 0) AS BIGINT) AS reviews,
    COALESCE(review_score, 0) AS review_score,
    CAST(COALESCE(nps_answers, 0) AS BIGINT) AS nps_answers,
    CAST(COALESCE(nps_balance, 0) AS BIGINT) AS nps_balance,
    COALESCE(csi_weight, 0) AS csi_weight,
    COALESCE(csi_score, 0) AS csi_score
FROM flagged WHERE $segment IS NULL OR segment = $segment
"""
