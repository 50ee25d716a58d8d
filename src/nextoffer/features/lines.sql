-- Order lines before as_of with rows in place of ids. A party is whoever can return what was bought: the
-- customer (known_row), or the single order of a guest (a negative number of its own).
SELECT
    CAST(l.row AS BIGINT) AS row,
    CAST(COALESCE(o.known_row, -1 - o.order_row) AS INTEGER) AS party,
    CAST(o.order_row AS INTEGER) AS order_row,
    CAST(p.product_row AS INTEGER) AS product_row,
    CAST(l.ordered_at AS TIMESTAMP) AS ordered_at,
    CAST(l.quantity AS DECIMAL(18, 3)) AS quantity,
    CAST(l.revenue AS BIGINT) AS revenue
FROM orders l
JOIN products_index p ON p.product_id = l.product_id
JOIN orders_known o ON o.order_id = l.order_id AND o.customer_id IS NOT DISTINCT FROM l.customer_id
WHERE l.ordered_at < $as_of
