-- What each known customer bought from $as_of until $until: distinct pairs, returns inside the window netted.
-- Reads the index tables of the features built at $as_of, so rows mean the same there.
SELECT
    CAST(c.customer_row AS INTEGER) AS customer_row,
    CAST(p.product_row AS INTEGER) AS product_row
FROM orders AS o
JOIN customers_index AS c ON c.customer_id = o.customer_id
JOIN products_index AS p ON p.product_id = o.product_id
WHERE o.ordered_at >= $as_of AND o.ordered_at < $until
GROUP BY c.customer_row, p.product_row
HAVING SUM(o.quantity) > 0
ORDER BY customer_row, product_row
