"""What offers really caused: the same weeks lived with and without them, customer by customer."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.simulation.shop import StepRows

_SUMS = ("orders", "revenue", "margin")


def planted(with_offers: Sequence[StepRows], without: Sequence[StepRows]) -> pa.Table:
    """Orders, revenue and margin caused per customer, by customer_id; exact, since luck is the same.

    `without` are the weeks of a `fork` that was sent nothing. Revenue and margin are in currency units, as
    the shop's own order lines say, returns netted; customers whose lines did not change have zeros.
    """
    table = pa.concat_tables(
        [_totals(step.orders, 1) for step in with_offers] + [_totals(step.orders, -1) for step in without]
    )
    summed = table.group_by("customer_id").aggregate([(name, "sum") for name in _SUMS])
    named = summed.rename_columns(
        [name.replace("_sum", "_caused") if name.endswith("_sum") else name for name in summed.column_names]
    )
    return named.sort_by("customer_id")


def _totals(orders: pa.Table, sign: int) -> pa.Table:
    """Distinct orders, revenue and margin per known customer, times `sign`."""
    known = orders.filter(pc.is_valid(orders["customer_id"]))
    quantity = known["quantity"].cast(pa.float64())
    price, cost = (known[name].cast(pa.float64()) for name in ("unit_price", "unit_cost"))
    placed = pc.if_else(pc.greater(known["quantity"], 0), known["order_id"], None)
    lines = pa.table(
        {
            "customer_id": known["customer_id"],
            "orders": placed,
            "revenue": pc.multiply(quantity, price),
            "margin": pc.multiply(quantity, pc.subtract(price, cost)),
        }
    )
    totals = lines.group_by("customer_id").aggregate(
        [("orders", "count_distinct"), ("revenue", "sum"), ("margin", "sum")]
    )
    columns = {"customer_id": totals["customer_id"]}
    for name, kind in zip(_SUMS, ("orders_count_distinct", "revenue_sum", "margin_sum"), strict=True):
        columns[name] = pc.multiply(totals[kind].cast(pa.float64()), float(sign))
    return pa.table(columns)
