"""Every KPI, defined once: a sum, or one sum over another, of what `counting` counts for each customer.

Whoever shows a KPI, of a window, a segment, a programme or a matched group, asks its definition here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from nextoffer.measurement.sheet import Cell, Format
from nextoffer.texts import text

Totals = Mapping[str, int | Decimal]  # sums by name; one that is not known is not there


@dataclass(frozen=True, slots=True)
class Kpi:
    """One figure: the sum `top`, or `top` over the sum `bottom`, times `scale`.

    `better` : +1 more is better, −1 less is better, 0 neither by itself
    """

    name: str
    heading: str
    format: Format
    top: str
    bottom: str | None = None
    scale: int = 1
    better: int = 1

    def exact(self, totals: Totals) -> Fraction | None:
        """The figure without rounding; None where a sum is not known or there is nothing below the line."""
        if self.top not in totals or (self.bottom is not None and not totals.get(self.bottom)):
            return None
        bottom = Fraction(1) if self.bottom is None else Fraction(totals[self.bottom])
        return Fraction(totals[self.top]) * self.scale / bottom

    def cell(self, totals: Totals) -> Cell:
        """The figure as a cell of a sheet."""
        return as_cell(self.exact(totals), self.format)


def as_cell(figure: Fraction | None, format: Format) -> Cell:
    """Counts and sums of money are whole, everything else a float."""
    if figure is None:
        return None
    return int(figure) if format in ("count", "money") and figure.denominator == 1 else float(figure)


KPIS: tuple[Kpi, ...] = (
    Kpi("customers", text("customers"), "count", "customers"),
    Kpi("members", text("members of the programme"), "count", "members"),
    Kpi("participation", text("participation rate"), "share", "members", "customers"),
    Kpi("joined", text("joined the programme"), "count", "joined"),
    Kpi("buyers", text("customers who bought"), "count", "buyers"),
    Kpi("conversion", text("share of customers who bought"), "share", "buyers", "customers"),
    Kpi("orders", text("orders"), "count", "orders"),
    Kpi("revenue", text("revenue"), "money", "revenue"),
    Kpi("margin", text("margin"), "money", "margin"),
    Kpi("average_order", text("average order"), "average", "revenue", "orders"),
    Kpi("frequency", text("orders per buyer"), "number", "customer_orders", "buyers"),
    Kpi("revenue_per_customer", text("revenue per customer"), "average", "customer_revenue", "customers"),
    Kpi("margin_per_customer", text("margin per customer"), "average", "customer_margin", "customers"),
    Kpi("repeat_orders", text("repeat purchases"), "count", "repeat_orders"),
    Kpi("repeat_share", text("bought twice or more"), "share", "repeaters", "buyers"),
    Kpi("retention", text("retention"), "share", "stayed", "buyers_before"),
    Kpi("churn", text("churn"), "share", "gone", "buyers_before", better=-1),
    Kpi("new_customers", text("new customers"), "count", "newcomers"),
    Kpi("invited", text("new customers who were invited"), "count", "invited"),
    Kpi("referrers", text("customers who brought a new one"), "count", "referrers"),
    Kpi(
        "lifetime_profit",
        text("lifetime value so far, profit"),
        "average",
        "profit_so_far",
        "customers_so_far",
    ),
    Kpi(
        "lifetime_revenue",
        text("lifetime value so far, revenue"),
        "average",
        "revenue_so_far",
        "customers_so_far",
    ),
    Kpi(
        "relationship_days", text("days from first to last order"), "days", "days_so_far", "customers_so_far"
    ),
    Kpi("points_orders", text("share of orders paid with points"), "share", "points_orders", "orders"),
    Kpi("points_value", text("share of revenue paid with points"), "share", "points_value", "revenue"),
    Kpi("promo_orders", text("promo codes used"), "count", "promo_orders"),
    Kpi("reviews", text("reviews"), "count", "reviews"),
    Kpi("rating", text("mean rating of the reviews"), "number", "review_score", "reviews"),
    Kpi("nps", text("NPS"), "number", "nps_balance", "nps_answers", scale=100),
    Kpi("csi", text("CSI"), "number", "csi_score", "csi_weight"),
    Kpi("programme_cost", text("cost of the programme"), "money", "programme_cost", better=0),
    Kpi("roi_attributed", text("ROI, attributed"), "change", "attributed_net", "attributed_cost"),
    Kpi("roi_incremental", text("ROI, incremental"), "change", "incremental_profit", "programme_cost"),
)
_BY_NAME = {kpi.name: kpi for kpi in KPIS}


def kpi(name: str) -> Kpi:
    """The definition of a KPI (one of config's KPI_NAMES)."""
    return _BY_NAME[name]


def roi_attributed(revenue: int, cost: int) -> float | None:
    """(revenue − cost) / cost: 0.5 is 50 %; None where nothing was spent. Attributed, not caused."""
    return float(Fraction(revenue - cost, cost)) if cost > 0 else None


def roi_incremental(
    profit: float, low: float | None, high: float | None, cost: float
) -> tuple[float, float | None, float | None] | None:
    """What a unit of cost brought back on top, with its interval: 0.5 is 50 %; None where nothing was spent.

    Parameters
    ----------
    profit : caused in total: margin at the prices paid, less contacts and programme; hence *after* `cost`, so
        that (profit + cost − cost) / cost = profit / cost
    low, high : its interval; None where it has no end
    """
    if cost <= 0:
        return None
    return profit / cost, None if low is None else low / cost, None if high is None else high / cost
