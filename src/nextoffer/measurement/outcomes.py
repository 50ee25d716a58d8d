"""What every assigned customer bought after being assigned: the shop's history and live orders together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.money import minor_digits

# One row per order, each order once: the history's lines win over the live order of the same id, which only
# says who bought where the history does not. Rounding is per line, so that sums do not depend on their order.
_MERGED = """
CREATE TEMP TABLE merged AS
WITH shop AS (
    SELECT order_id, MAX(customer_id) AS customer_id, MIN(ordered_at) AS ordered_at,
        CAST(SUM(revenue) AS BIGINT) AS revenue,
        CAST(SUM(COALESCE(revenue - cost, CAST(ROUND(revenue * $share) AS BIGINT))) AS BIGINT) AS margin
    FROM history GROUP BY order_id
)
SELECT COALESCE(shop.order_id, live.order_id) AS order_id,
    COALESCE(shop.customer_id, live.unit_id) AS customer_id,
    COALESCE(shop.ordered_at, live."at") AS ordered_at,
    CASE WHEN shop.order_id IS NULL THEN live.revenue ELSE shop.revenue END AS revenue,
    CASE WHEN shop.order_id IS NULL
        THEN COALESCE(live.revenue - live.cost, CAST(ROUND(live.revenue * $share) AS BIGINT))
        ELSE shop.margin END AS margin
FROM shop FULL OUTER JOIN live ON shop.order_id = live.order_id
"""
_PER_UNIT = """
SELECT a.unit_id, a."group" = 'treated' AS treated,
    COUNT(m.order_id) FILTER (WHERE m.revenue > 0) AS n_orders,
    CAST(COALESCE(SUM(m.revenue), 0) AS BIGINT) AS revenue,
    CAST(COALESCE(SUM(m.margin), 0) AS BIGINT) AS margin
FROM assigned AS a
LEFT JOIN merged AS m ON m.customer_id = a.unit_id
    AND m.ordered_at >= GREATEST(a.assigned_at, $start) AND m.ordered_at < $end
WHERE a.assigned_at < $end
GROUP BY a.unit_id, a."group"
ORDER BY a.unit_id
"""


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """One row per assigned customer, bought or not, sorted by id.

    Parameters
    ----------
    treated : (n,) False for the holdout
    n_orders : (n,) orders worth more than 0
    revenue, margin : (n,) in currency units, net of returns; sums of exact minor units
    """

    treated: Bools
    n_orders: Ints
    revenue: Floats
    margin: Floats

    def __len__(self) -> int:
        return len(self.treated)


def outcomes(
    orders: pa.Table,
    live_orders: pa.Table,
    assignments: pa.Table,
    start: datetime,
    end: datetime,
    margin_share: float,
    currency: str,
) -> Outcomes:
    """Orders, revenue and margin of each customer between their assignment, or `start` if later, and `end`.

    Everybody assigned before `end` is a row: who opened or used an offer never defines who is counted.

    Parameters
    ----------
    orders : canonical order lines: order_id, customer_id, ordered_at, revenue, cost (minor units)
    live_orders : the ledger's orders: order_id, unit_id, at, revenue, cost (minor units)
    assignments : the ledger's: unit_id, group, assigned_at
    margin_share : margin as a share of revenue where no cost is known
    """
    con = merged_orders(orders, live_orders, margin_share)
    con.register("assigned", assignments)
    found = con.sql(_PER_UNIT, params={"start": naive(start), "end": naive(end)}).to_arrow_table()
    unit = 10.0 ** minor_digits(currency)
    return Outcomes(
        _column(found, "treated").astype(np.bool_),
        _column(found, "n_orders"),
        _column(found, "revenue") / unit,
        _column(found, "margin") / unit,
    )


def merged_orders(orders: pa.Table, live_orders: pa.Table, margin_share: float) -> duckdb.DuckDBPyConnection:
    """A connection with the table `merged`: order_id, customer_id, ordered_at, revenue, margin; each order
    once, in minor units."""
    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    wanted = ["order_id", "customer_id", "ordered_at", "revenue", "cost"]
    con.register("history", orders.select(wanted))
    con.register("live", live_orders.select(["order_id", "unit_id", "at", "revenue", "cost"]))
    con.execute(_MERGED, {"share": margin_share})
    return con


def naive(moment: datetime) -> datetime:
    """The moment as canonical tables hold it: UTC, without zone."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _column(table: pa.Table, name: str) -> Ints:
    column: Ints = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return column
