-- Every product of the shop and its row: 0, 1, 2, … in the byte order of the ids.
SELECT
    CAST(ROW_NUMBER() OVER (ORDER BY product_id) - 1 AS INTEGER) AS product_row,
    CAST(product_id AS STRING) AS product_id
FROM products
ORDER BY product_id
