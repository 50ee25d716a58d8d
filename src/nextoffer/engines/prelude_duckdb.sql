-- The few functions features/*.sql may call beyond standard SQL, under the same names on every engine.

-- Whole days of 24 hours from moment a to moment b, rounded down.
CREATE OR REPLACE MACRO days_between(a, b) AS
    CAST(FLOOR((epoch_us(b) - epoch_us(a)) / 86400000000) AS INTEGER);

-- Seconds from moment a to moment b.
CREATE OR REPLACE MACRO secs(a, b) AS
    CAST((epoch_us(b) - epoch_us(a)) / 1000000 AS DOUBLE);
