-- In how many orders, guests' included, two products stand together; both directions.
-- Only orders of 2 to 60 products: a wholesale order of 500 says little of any one pair and costs 250,000 rows.
-- Only pairs seen together at least twice: once is chance, and most pairs there are were seen once.
WITH baskets AS (
    SELECT p.order_row, p.product_row
    FROM purchases p
    JOIN shop_orders o ON o.order_row = p.order_row
    WHERE o.n_products BETWEEN 2 AND 60
),
together AS (
    SELECT a.product_row AS low_row, b.product_row AS high_row, COUNT(*) AS n_orders
    FROM baskets a
    JOIN baskets b ON b.order_row = a.order_row AND b.product_row > a.product_row
    GROUP BY a.product_row, b.product_row
    HAVING COUNT(*) >= 2
),
directed AS (
    SELECT low_row AS product_row, high_row AS other_row, n_orders FROM together
    UNION ALL
    SELECT high_row AS product_row, low_row AS other_row, n_orders FROM together
)
SELECT
    CAST(product_row AS INTEGER) AS product_row,
    CAST(other_row AS INTEGER) AS other_row,
    CAST(n_orders AS INTEGER) AS n_orders
FROM directed
ORDER BY product_row, other_row
