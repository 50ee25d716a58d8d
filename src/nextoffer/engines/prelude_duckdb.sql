-- The few functions features/*.sql may call beyond standard SQL, under the same names on every engine.

-- Whole days of 24 hours from moment a to moment b, rounded down.
CREATE OR REPLACE MACRO days_between(a, b) AS
    CAST(FLOOR((epoch_us(b) - epoch_us(a)) / 86400000000) AS INTEGER);

-- Seconds from moment a to moment b.
CREATE OR REPLACE MACRO secs(a, b) AS
    CAST((epoch_us(b) - epoch_us(a)) / 1000000 AS DOUBLE);

-- The shop's calendar day of moment m, as days since 1970-01-01.
CREATE OR REPLACE MACRO local_day(m, zone) AS
    CAST(CAST(timezone(zone, timezone('UTC', m)) AS DATE) - DATE '1970-01-01' AS INTEGER);
