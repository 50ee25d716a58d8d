-- What each customer bought before $as_of and sent back entirely: it is not offered to them again.
WITH balance AS (
    SELECT customer_id, product_id, SUM(quantity) AS kept, MIN(quantity) AS smallest
    FROM orders
    WHERE customer_id IS NOT NULL AND ordered_at < $as_of
    GROUP BY customer_id, product_id
)
SELECT
    CAST(customer_id AS STRING) AS customer_id,
    CAST(product_id AS STRING) AS product_id
FROM balance
WHERE kept <= 0 AND smallest < 0
ORDER BY customer_id, product_id
