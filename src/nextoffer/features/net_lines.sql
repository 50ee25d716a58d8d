-- What was bought and kept: lines net of returns. A return takes back the party's latest earlier purchases of
-- the product (last in, first out); what was bought before the history begins cannot be taken back.
--
-- With S the running sum of a party's quantities of one product, line i keeps
-- max(0, min(quantity_i, min over t >= i of S_t - S_before_i)): how low the sum sinks afterwards is how deep
-- later returns reached. Only pairs with a return need the windows; the many others pass straight through.
WITH returned AS (
    SELECT party, product_row
    FROM lines
    WHERE quantity < 0
    GROUP BY party, product_row
),
marked AS (
    SELECT l.*, r.party IS NOT NULL AS has_return
    FROM lines l
    LEFT JOIN returned r ON r.party = l.party AND r.product_row = l.product_row
),
summed AS (
    SELECT
        row, party, order_row, product_row, ordered_at, quantity, revenue,
        SUM(quantity) OVER (
            PARTITION BY party, product_row ORDER BY ordered_at, row
            ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW
        ) AS after_line
    FROM marked
    WHERE has_return
),
deepest AS (
    SELECT
        party, order_row, product_row, quantity, revenue,
        LEAST(
            quantity,
            MIN(after_line) OVER (
                PARTITION BY party, product_row ORDER BY ordered_at, row
                ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
            ) - (after_line - quantity)
        ) AS kept
    FROM summed
),
net AS (
    SELECT party, order_row, product_row, quantity, revenue
    FROM marked
    WHERE NOT has_return AND quantity > 0
    UNION ALL
    SELECT
        party, order_row, product_row, CAST(kept AS DECIMAL(18, 3)),
        CAST(ROUND(CAST(revenue AS DOUBLE) * CAST(kept AS DOUBLE) / CAST(quantity AS DOUBLE)) AS BIGINT)
    FROM deepest
    WHERE kept > 0
)
SELECT
    CAST(party AS INTEGER) AS party,
    CAST(order_row AS INTEGER) AS order_row,
    CAST(product_row AS INTEGER) AS product_row,
    CAST(quantity AS DECIMAL(18, 3)) AS quantity,
    CAST(revenue AS BIGINT) AS revenue
FROM net
