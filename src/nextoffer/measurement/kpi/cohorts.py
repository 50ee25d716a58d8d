"""Do those who came in one month come back? One row per month of first orders."""

from __future__ import annotations

from collections.abc import Mapping

from nextoffer.measurement.kpi.counting import Filter, Terms, parameters, sold
from nextoffer.measurement.kpi.windows import Window
from nextoffer.measurement.records import Records
from nextoffer.measurement.sheet import Cell, Column, Sheet
from nextoffer.texts import said, text

MONTHS = 12


def cohorts(
    records: Records,
    window: Window,
    terms: Terms | None = None,
    filter: Filter | None = None,
    n_months: int = MONTHS,
) -> Sheet:
    """Customers by the shop's month of their first order, and the share who ordered again 1 … n months later.

    Cohorts of the last `n_months` whole and begun months before the window's end. A month that is not over yet
    has no share. "Again in month 3" is an order in the third calendar month after that of the first order.
    """
    terms, filter = terms or Terms(), filter or Filter()
    query = _COHORTS.format(orders=sold(filter))
    asked = {**parameters(window, terms, filter), "n_months": n_months}
    sizes: dict[int, dict[int, int]] = {}
    for came, later, n in records.rows(query, asked):
        sizes.setdefault(came, {})[later] = n
    (last,) = records.row(_LAST_WHOLE, asked)
    rows = tuple(_row(came, found, last - came, n_months) for came, found in sizes.items())
    return Sheet(
        name="cohorts",
        title=text("Who comes back: customers by the month of their first order"),
        columns=(
            Column("month", text("first order in")),
            Column("customers", text("customers"), "count"),
            *(Column(f"month_{n}", f"+{n}", "share") for n in range(1, n_months + 1)),
        ),
        rows=rows,
        notes=(
            said(
                "+1 is the month after that of the first order: the share of these customers who ordered in it."
            ),
            said("Guests cannot be followed and are left out."),
            *filter.notes(),
        ),
    )


def _row(came: int, found: Mapping[int, int], n_over: int, n_months: int) -> tuple[Cell, ...]:
    size = found[0]
    shares = [found.get(n, 0) / size if n <= n_over else None for n in range(1, n_months + 1)]
    return f"{came // 12}-{came % 12 + 1:02d}", size, *shares


_MONTH = "timezone($zone, timezone('UTC', {0}))"
_COUNT = f"(year({_MONTH}) * 12 + month({_MONTH}) - 1)"  # months since year 0
_LAST_WHOLE = f"SELECT {_COUNT.format('CAST($end AS TIMESTAMP)')} - 1"
_COHORTS = f"""
WITH kept AS (
    SELECT o.customer_id, {_COUNT.format("o.ordered_at")} AS month
    FROM {{orders}} AS o LEFT JOIN segments AS s ON s.customer_id = o.customer_id
    WHERE o.customer_id IS NOT NULL AND o.revenue > 0 AND o.ordered_at < $end
        AND ($segment IS NULL OR s.segment = $segment)
), months AS (
    SELECT DISTINCT customer_id, month FROM kept
), since AS (
    SELECT customer_id, MIN(month) OVER (PARTITION BY customer_id) AS came, month FROM months
)
SELECT came, month - came AS later, COUNT(*) FROM since
WHERE came > {_COUNT.format("CAST($end AS TIMESTAMP)")} - $n_months - 1
GROUP BY ALL ORDER BY ALL
"""
