"""The SQL that makes the tables of `records` from what is given: people merged, each order once, offers unpacked."""

from __future__ import annotations

# The columns read of each table, and their types; a table or column that is not given is empty.
GIVEN: dict[str, dict[str, str]] = {
    "shop": {
        "order_id": "VARCHAR",
        "customer_id": "VARCHAR",
        "ordered_at": "TIMESTAMP",
        "product_id": "VARCHAR",
        "quantity": "DECIMAL(18,3)",
        "revenue": "BIGINT",
        "cost": "BIGINT",
        "promo_code": "VARCHAR",
        "points_spent": "BIGINT",
        "channel": "VARCHAR",
    },
    "catalogue": {
        "product_id": "VARCHAR",
        "category": "VARCHAR",
        "price": "DECIMAL(18,4)",
        "unit_cost": "DECIMAL(18,4)",
    },
    "live": {
        "order_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "at": "TIMESTAMP",
        "revenue": "BIGINT",
        "cost": "BIGINT",
        "lines": "VARCHAR",
        "returns_of": "VARCHAR",
    },
    "assigned": {
        "experiment": "VARCHAR",
        "version": "INTEGER",
        "unit_id": "VARCHAR",
        "group": "VARCHAR",
        "assigned_at": "TIMESTAMP",
        "stratum": "VARCHAR",
    },
    "decided": {
        "decision_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "group": "VARCHAR",
        "at": "TIMESTAMP",
        "campaign": "VARCHAR",
        "placement": "VARCHAR",
        "run_on": "VARCHAR",
        "slate": "VARCHAR",
        "withheld_by": "VARCHAR",
    },
    "happened": {
        "event_id": "VARCHAR",
        "decision_id": "VARCHAR",
        "offer_id": "VARCHAR",
        "unit_id": "VARCHAR",
        "product_id": "VARCHAR",
        "type": "VARCHAR",
        "at": "TIMESTAMP",
        "payload": "VARCHAR",
    },
    "identities": {"visitor_id": "VARCHAR", "customer_id": "VARCHAR"},
    "people": {
        "customer_id": "VARCHAR",
        "programme": "VARCHAR",
        "joined_at": "TIMESTAMP",
        "referred_by": "VARCHAR",
    },
    "segments": {"customer_id": "VARCHAR", "segment": "VARCHAR"},
    "surveys": {
        "customer_id": "VARCHAR",
        "kind": "VARCHAR",
        "aspect": "VARCHAR",
        "product_id": "VARCHAR",
        "score": "DOUBLE",
        "answered_at": "TIMESTAMP",
    },
}

# Whoever sends events names the visitor, so anybody may claim any id as their visitor's. One that is a customer's own
# (known to the shop, in its history, or what another visitor became: then also no chain) stays that customer's: nobody
# takes over another's orders and group.
IDENTITIES = """
CREATE TEMP TABLE identities AS
SELECT visitor_id, MIN(customer_id) AS customer_id FROM given_identities AS g
WHERE visitor_id <> customer_id AND NOT EXISTS (FROM (
    SELECT customer_id FROM given_people UNION ALL SELECT customer_id FROM given_shop
    UNION ALL SELECT customer_id FROM given_identities WHERE visitor_id <> customer_id
) AS own WHERE own.customer_id = g.visitor_id)
GROUP BY visitor_id HAVING COUNT(DISTINCT customer_id) = 1
"""
N_VISITORS = """
SELECT (SELECT COUNT(*) FROM identities),
    (SELECT COUNT(DISTINCT visitor_id) FROM given_identities WHERE visitor_id <> customer_id)
    - (SELECT COUNT(*) FROM identities)
"""
# A person has one group: that of the customer if the customer was assigned, else that of their first visit.
# `crossed`: another of their ids was put in the other group.
ASSIGNED = """
CREATE TEMP TABLE assigned AS
SELECT experiment, version, unit_id, "group", assigned_at, stratum, FALSE AS crossed FROM given_assigned;
CREATE TEMP TABLE moved AS
SELECT a.experiment, a.version, i.customer_id AS unit_id,
    arg_min(a."group", (a.assigned_at, a.unit_id)) AS "group", MIN(a.assigned_at) AS assigned_at,
    arg_min(a.stratum, (a.assigned_at, a.unit_id)) AS stratum, COUNT(DISTINCT a."group") > 1 AS crossed
FROM assigned AS a JOIN identities AS i ON i.visitor_id = a.unit_id
GROUP BY a.experiment, a.version, i.customer_id;
DELETE FROM assigned USING identities WHERE identities.visitor_id = assigned.unit_id;
UPDATE assigned SET crossed = moved.crossed OR moved."group" <> assigned."group" FROM moved
WHERE moved.experiment IS NOT DISTINCT FROM assigned.experiment
    AND moved.version IS NOT DISTINCT FROM assigned.version AND moved.unit_id = assigned.unit_id;
INSERT INTO assigned SELECT m.* FROM moved AS m WHERE NOT EXISTS (
    SELECT 1 FROM assigned AS a WHERE a.unit_id = m.unit_id
    AND a.experiment IS NOT DISTINCT FROM m.experiment AND a.version IS NOT DISTINCT FROM m.version);
DROP TABLE moved
"""
DECIDED = """
CREATE TEMP VIEW decided AS
SELECT d.* REPLACE (COALESCE(i.customer_id, d.unit_id) AS unit_id)
FROM given_decided AS d LEFT JOIN identities AS i ON i.visitor_id = d.unit_id
"""
# An event that names no customer is its decision's.
HAPPENED = """
CREATE TEMP VIEW happened AS
SELECT h.* REPLACE (COALESCE(i.customer_id, h.unit_id, d.unit_id) AS unit_id)
FROM given_happened AS h LEFT JOIN identities AS i ON i.visitor_id = h.unit_id
LEFT JOIN decided AS d ON d.decision_id = h.decision_id
"""
OFFERED = """
CREATE TEMP TABLE offered AS
SELECT * EXCLUDE (offer), offer.offer_id, offer.kind, offer.product_id, offer.incentive, offer.incentive_name,
    offer.list_price, offer.final_price
FROM (
    SELECT * EXCLUDE (offers), UNNEST(offers) AS offer, generate_subscripts(offers, 1) AS rank
    FROM (SELECT decision_id, unit_id, "group", "at", campaign, placement, withheld_by, from_json(slate,
        '[{"offer_id":"VARCHAR","kind":"VARCHAR","product_id":"VARCHAR","incentive":"JSON",
           "incentive_name":"VARCHAR","list_price":"VARCHAR","final_price":"VARCHAR"}]') AS offers
        FROM decided WHERE slate <> '[]')
);
CREATE TEMP VIEW contacts AS
SELECT decision_id, unit_id, "at", campaign, kind FROM offered
WHERE rank = 1 AND campaign IS NOT NULL AND "group" = 'treated' AND withheld_by IS NULL
"""
# What an order was worth and cost is shared over its lines by their prices (its cost by their costs), by cumulative
# rounding: the shares sum to it exactly. Without lines it is one line of no product.
LIVE = """
CREATE TEMP TABLE live AS
SELECT o.* REPLACE (COALESCE(i.customer_id, o.unit_id) AS unit_id)
FROM given_live AS o LEFT JOIN identities AS i ON i.visitor_id = o.unit_id;
CREATE TEMP TABLE live_known AS
SELECT order_id, BOOL_OR(COALESCE(quantity, revenue) < 0) AS returned FROM given_shop
WHERE order_id IN (SELECT order_id FROM live UNION ALL SELECT returns_of FROM live WHERE returns_of IS NOT NULL)
GROUP BY order_id
"""
# 38 digits, as products have the digits of both factors: 12 behind the point and 26 before it.
_AMOUNT = (
    "CAST(ROUND(CAST(line.quantity AS DECIMAL(38,6)) * CAST(line.{} AS DECIMAL(38,6)) * $scale) AS HUGEINT)"
)
LIVE_LINES = f"""
CREATE TEMP TABLE live_lines AS
WITH parts AS (
    SELECT * EXCLUDE (lines, found), UNNEST(found) AS line, generate_subscripts(found, 1) AS n
    FROM (SELECT *, CASE WHEN len(parsed) > 0 THEN parsed ELSE [NULL] END AS found
        FROM (SELECT *, from_json(lines, '[{{"product_id":"VARCHAR","quantity":"VARCHAR","unit_price":"VARCHAR",
            "line_discount":"VARCHAR","unit_cost":"VARCHAR"}}]') AS parsed FROM live))
    WHERE order_id NOT IN (SELECT order_id FROM live_known)
        AND NOT ("at" <= (SELECT MAX(ordered_at) FROM given_shop)
            AND COALESCE(returns_of IN (SELECT order_id FROM live_known WHERE returned), FALSE))
), weighed AS (
    SELECT *, COALESCE({_AMOUNT.format("unit_price")}
        - CAST(ROUND(CAST(COALESCE(line.line_discount, '0') AS DECIMAL(38,6)) * $scale) AS HUGEINT), 0) AS worth,
        {_AMOUNT.format("unit_cost")} AS spent
    FROM parts
), known AS (
    SELECT *, COUNT(*) OVER whole = COUNT(spent) OVER whole AS all_spent, SUM(ABS(worth)) OVER whole AS total_worth,
        SUM(ABS(spent)) OVER whole AS total_spent
    FROM weighed WINDOW whole AS (PARTITION BY order_id)
), weights AS (
    SELECT *, CASE WHEN total_worth = 0 THEN 1 ELSE ABS(worth) END AS by_worth,
        CASE WHEN all_spent AND total_spent > 0 THEN ABS(spent) WHEN total_worth = 0 THEN 1 ELSE ABS(worth) END
            AS by_cost
    FROM known
), sums AS (
    SELECT *, SUM(by_worth) OVER sofar AS worth_upto, SUM(by_worth) OVER whole AS worth_all,
        SUM(by_cost) OVER sofar AS cost_upto, SUM(by_cost) OVER whole AS cost_all
    FROM weights WINDOW whole AS (PARTITION BY order_id), sofar AS (PARTITION BY order_id ORDER BY n)
)
SELECT COALESCE(returns_of, order_id) AS order_id, unit_id AS customer_id, "at" AS ordered_at,
    line.product_id AS product_id, CAST(line.quantity AS DECIMAL(18,3)) AS quantity,
    CAST(sign(revenue) * ((ABS(CAST(revenue AS HUGEINT)) * worth_upto) // worth_all
        - (ABS(CAST(revenue AS HUGEINT)) * (worth_upto - by_worth)) // worth_all) AS BIGINT) AS revenue,
    CAST(sign(cost) * ((ABS(CAST(cost AS HUGEINT)) * cost_upto) // cost_all
        - (ABS(CAST(cost AS HUGEINT)) * (cost_upto - by_cost)) // cost_all) AS BIGINT) AS cost
FROM sums
"""
LINES = """
CREATE TEMP VIEW lines AS
SELECT *, COALESCE(revenue - cost, CAST(ROUND(revenue * CAST('{share}' AS DOUBLE)) AS BIGINT)) AS margin FROM (
SELECT COALESCE(v.returns_of, s.order_id) AS order_id, COALESCE(s.customer_id, v.unit_id) AS customer_id, s.ordered_at,
    s.product_id, c.category, s.quantity, s.revenue, s.cost, s.promo_code, s.points_spent, s.channel
FROM given_shop AS s LEFT JOIN live AS v ON v.order_id = s.order_id
LEFT JOIN given_catalogue AS c ON c.product_id = s.product_id
UNION ALL
SELECT l.order_id, l.customer_id, l.ordered_at, l.product_id, c.category, l.quantity, l.revenue, l.cost,
    NULL AS promo_code, NULL AS points_spent, NULL AS channel
FROM live_lines AS l LEFT JOIN given_catalogue AS c ON c.product_id = l.product_id)
"""
# Rounding is per line, so that sums do not depend on the order of lines. An order's moment and buyer are those of its
# purchase, whoever brings it back.
ORDERS = """
CREATE TEMP TABLE orders AS
SELECT order_id,
    COALESCE(MAX(customer_id) FILTER (WHERE COALESCE(quantity, revenue) >= 0), MAX(customer_id)) AS customer_id,
    COALESCE(MIN(ordered_at) FILTER (WHERE COALESCE(quantity, revenue) >= 0), MIN(ordered_at)) AS ordered_at,
    CAST(SUM(revenue) AS BIGINT) AS revenue,
    CAST(SUM(margin) AS BIGINT) AS margin,
    CAST(SUM(COALESCE(quantity, 0)) AS DOUBLE) AS units,
    MAX(points_spent) AS points_spent, MAX(promo_code) AS promo_code
FROM lines GROUP BY order_id
"""
