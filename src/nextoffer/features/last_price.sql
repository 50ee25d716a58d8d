-- What each product was last sold for before $as_of: the list price of a shop that gives no product table.
WITH sold AS (
    SELECT
        product_id,
        unit_price,
        ROW_NUMBER() OVER (PARTITION BY product_id ORDER BY ordered_at DESC, row DESC) AS newest
    FROM orders
    WHERE ordered_at < $as_of AND quantity > 0
)
SELECT
    CAST(product_id AS STRING) AS product_id,
    CAST(unit_price AS DOUBLE) AS unit_price
FROM sold
WHERE newest = 1
ORDER BY product_id
