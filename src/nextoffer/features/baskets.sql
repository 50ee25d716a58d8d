-- The newest baskets of customers with two or more, line by line, oldest first: what a next basket is learned
-- from. Of a large shop about 30,000 customers tell enough; at most 12 baskets of each, none beyond 100 products.
WITH sampled AS (
    SELECT customer_row
    FROM shop_orders
    WHERE order_rank = 2
      AND customer_row % (SELECT CAST(FLOOR(COUNT(*) / 30000) AS INTEGER) + 1 FROM customers_index) = 0
)
SELECT
    CAST(o.customer_row AS INTEGER) AS customer_row,
    CAST(o.order_rank AS INTEGER) AS order_rank,
    CAST(o.age_days AS INTEGER) AS age_days,
    CAST(p.product_row AS INTEGER) AS product_row
FROM shop_orders o
JOIN sampled s ON s.customer_row = o.customer_row
JOIN purchases p ON p.order_row = o.order_row
WHERE o.order_rank <= 12 AND o.n_products <= 100
ORDER BY o.customer_row, o.order_rank DESC, p.product_row
