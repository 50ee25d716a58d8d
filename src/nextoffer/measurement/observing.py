"""The SQL that counts the outcomes of one look: who is assigned, what they were offered, what they bought."""

from __future__ import annotations

# Tables without the name of an experiment hold one only.
OF_EXPERIMENT = "COALESCE(experiment, $name) = $name AND COALESCE(version, $version) = $version"
SPANS = {
    True: {
        "starts": "GREATEST(assigned_at, CAST($start AS TIMESTAMP))",
        "ends": "CAST($end AS TIMESTAMP)",
        "chosen": f"{OF_EXPERIMENT} AND assigned_at < $end",
        "open": "FALSE",
    },
    False: {
        "starts": "assigned_at",
        "ends": "assigned_at + to_days(CAST($days AS INTEGER))",
        "chosen": f"{OF_EXPERIMENT} AND assigned_at >= $start AND assigned_at < $end",
        "open": "assigned_at + to_days(CAST($days AS INTEGER)) > $end",
    },
}
STRATA = f"""
CREATE OR REPLACE TEMP TABLE strata AS
SELECT name, CAST(row_number() OVER (ORDER BY name) - 1 AS INTEGER) AS place
FROM (SELECT DISTINCT COALESCE(stratum, '') AS name FROM assigned WHERE {OF_EXPERIMENT})
"""
# Whatever left the house or was held back; of the other group's decisions only a visitor's could be here.
SHOWN_PERMANENT = 'o.withheld_by IS NOT NULL OR o."group" = c."group"'
SHOWN_TRIAL = """(o."group" = 'treated' OR o.withheld_by IS NOT NULL)
    AND (len($kinds) = 0 OR list_contains($kinds, o.kind))
    AND (len($campaigns) = 0 OR list_contains($campaigns, o.campaign))"""
# Exposure: a bit for each kind offered in the window (or kept back), and $early bits above it another one for each
# kind offered within a day of assignment, whenever that was: before offers can change who comes back, and for what.
UNITS = """
CREATE OR REPLACE TEMP TABLE units AS
WITH chosen AS (
    SELECT unit_id, "group", COALESCE(stratum, '') AS name, assigned_at, {starts} AS starts, {ends} AS ends
    FROM assigned WHERE {chosen} AND NOT {open}
), told AS (
    SELECT c.unit_id, o."at" >= c.starts AS now, o."at" < c.assigned_at + INTERVAL 1 DAY AS early,
        1 << CAST(COALESCE(list_position($all_kinds, o.kind) - 1, len($all_kinds)) AS INTEGER) AS bit
    FROM chosen AS c JOIN offered AS o ON o.unit_id = c.unit_id AND o."at" >= c.assigned_at AND o."at" < c.ends
    WHERE {shown}
), shown AS (
    SELECT unit_id,
        BIT_OR(CASE WHEN now THEN bit ELSE 0 END | CASE WHEN early THEN bit << $early ELSE 0 END) AS exposure
    FROM told WHERE now OR early GROUP BY unit_id
)
SELECT c.unit_id, c."group" = 'treated' AS treated, s.place AS stratum,
    CAST(COALESCE(shown.exposure, 0) AS INTEGER) AS exposure, c.assigned_at, c.starts, c.ends
FROM chosen AS c JOIN strata AS s ON s.name = c.name LEFT JOIN shown ON shown.unit_id = c.unit_id
"""
CELLS = """
SELECT stratum, treated, exposure, COUNT(*) AS n FROM units GROUP BY ALL ORDER BY ALL
"""
PATH = r"regexp_replace(trim({}), '\s*>\s*', ' > ', 'g')"
# A path is made of a category once, not of each line.
BELOW = f"""(
    SELECT o.order_id, o.customer_id, o.ordered_at, CAST(SUM(l.revenue) AS BIGINT) AS revenue,
        CAST(SUM(l.margin) AS BIGINT) AS margin, CAST(SUM(COALESCE(l.quantity, 0)) AS DOUBLE) AS units
    FROM lines AS l JOIN orders AS o ON o.order_id = l.order_id
    WHERE l.category IN (
        SELECT category FROM (SELECT DISTINCT category FROM given_catalogue)
        WHERE {PATH.format("category")} = {PATH.format("$category")}
            OR starts_with({PATH.format("category")}, {PATH.format("$category")} || ' > '))
    GROUP BY o.order_id, o.customer_id, o.ordered_at
)"""
BOUGHT = """
WITH told AS (
    SELECT u.unit_id, o.ordered_at >= u.starts AS now, o.ordered_at < u.assigned_at AS before,
        o.revenue, o.margin, CAST(o.units AS DECIMAL(18,3)) AS units, 0 AS spent, 0 AS in_price, 0 AS contacts
    FROM units AS u JOIN {orders} AS o ON o.customer_id = u.unit_id
        AND o.ordered_at >= u.assigned_at - to_days(CAST($before AS INTEGER)) AND o.ordered_at < u.ends
    UNION ALL
    SELECT u.unit_id, TRUE, FALSE, 0, 0, 0, a.spent, a.in_price, 0
    FROM units AS u JOIN answers AS a ON a.unit_id = u.unit_id AND a."at" >= u.starts AND a."at" < u.ends
    WHERE a.counts AND (a.spent <> 0 OR a.in_price <> 0)
    UNION ALL
    SELECT u.unit_id, TRUE, FALSE, 0, 0, 0, 0, 0, 1
    FROM units AS u JOIN contacts AS m ON m.unit_id = u.unit_id AND m."at" >= u.starts AND m."at" < u.ends
    WHERE $contacts_cost
), summed AS (
    SELECT unit_id,
        COUNT(*) FILTER (WHERE now AND revenue > 0) AS orders,
        COUNT(*) FILTER (WHERE before AND revenue > 0) AS orders_before,
        CAST(COALESCE(SUM(units) FILTER (WHERE now), 0) AS DOUBLE) AS units,
        CAST(COALESCE(SUM(units) FILTER (WHERE before), 0) AS DOUBLE) AS units_before,
        CAST(COALESCE(SUM(revenue) FILTER (WHERE now), 0) AS BIGINT) AS revenue,
        CAST(COALESCE(SUM(revenue) FILTER (WHERE before), 0) AS BIGINT) AS revenue_before,
        CAST(COALESCE(SUM(margin) FILTER (WHERE now), 0) AS BIGINT) AS margin,
        CAST(COALESCE(SUM(margin) FILTER (WHERE before), 0) AS BIGINT) AS margin_before,
        CAST(SUM(spent) AS BIGINT) AS spent, CAST(SUM(in_price) AS BIGINT) AS in_price,
        CAST(SUM(contacts) AS BIGINT) AS contacts
    FROM told WHERE now OR before GROUP BY unit_id
)
SELECT s.* EXCLUDE (unit_id), u.treated, u.stratum, u.exposure
FROM summed AS s JOIN units AS u ON u.unit_id = s.unit_id ORDER BY s.unit_id
"""
COUNTS = """
SELECT (SELECT COUNT(*) FROM assigned WHERE {chosen} AND {open}),
    (SELECT COUNT(*) FROM orders AS o JOIN units AS u ON u.unit_id = o.customer_id
        WHERE o.revenue > 0 AND o.ordered_at >= $start AND o.ordered_at < u.assigned_at),
    (SELECT COUNT(*) FROM orders WHERE customer_id IS NULL AND revenue > 0
        AND ordered_at >= $start AND ordered_at < $end),
    (SELECT COUNT(*) FROM assigned WHERE {chosen} AND NOT {open} AND crossed)
"""
