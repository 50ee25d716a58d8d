"""What each customer did in a window, counted once: one scan of the orders, from which every KPI is summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from hashlib import sha256

from nextoffer.domain.wording import kind_name, segment_name
from nextoffer.measurement.kpi.registry import Totals
from nextoffer.measurement.kpi.statements import COUNTED, OF_CATEGORY
from nextoffer.measurement.kpi.windows import Window
from nextoffer.measurement.records import Records
from nextoffer.texts import Said, said

# Sums over customers, by name. `orders`, `revenue` and `margin` are the shop's, guests included; what is counted per
# customer leaves guests out. "So far" is from a customer's first order until the end of the window.
MEASURES = (
    "customers",
    "members",
    "joined",
    "orders",
    "revenue",
    "margin",
    "customer_orders",
    "customer_revenue",
    "customer_margin",
    "buyers",
    "repeaters",
    "repeat_orders",
    "buyers_before",
    "stayed",
    "gone",
    "newcomers",
    "invited",
    "referrers",
    "customers_so_far",
    "revenue_so_far",
    "profit_so_far",
    "days_so_far",
    "points_orders",
    "points_value",
    "promo_orders",
    "reviews",
    "review_score",
    "nps_answers",
    "nps_balance",
    "csi_weight",
    "csi_score",
)
_OF_PEOPLE = frozenset(("members", "joined", "invited", "referrers"))
_OF_WHOLE_ORDERS = frozenset(
    {
        *("points_value", "profit_so_far", "reviews", "review_score"),
        *("nps_answers", "nps_balance", "csi_weight", "csi_score"),
    }
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which part of the shop a report is about: one segment of customers, one kind of offer, one category.

    A category stands for everything below it. The period is the window.
    """

    segment: str | None = None
    kind: str | None = None
    category: str | None = None

    def notes(self, *, category: bool = True, kind: bool = False) -> tuple[Said, ...]:
        """What a table was narrowed to; and what does not narrow it (`category` and `kind` say what does)."""
        said_: list[Said] = []
        if self.segment is not None:
            said_.append(
                said(
                    "Only customers who are in the segment {name} today.",
                    name=said(segment_name(self.segment)),
                )
            )
        if self.category is not None:
            said_.append(
                said(
                    "Only lines of {name}: an order, and a first order, is one of this category.",
                    name=self.category,
                )
                if category
                else said("The filter by category does not narrow this table.")
            )
        if self.kind is not None:
            said_.append(
                said("Only offers of the kind {name}.", name=said(kind_name(self.kind)))
                if kind
                else said("The filter by kind of offer does not narrow this table.")
            )
        return tuple(said_)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the configuration says about the figures.

    Parameters
    ----------
    point_value : what one point buys, minor units
    csi_weights : how much more than once an answer about an aspect counts in the CSI; 1 if not named
    zone : the shop's time zone, an IANA name: months are its months
    """

    point_value: Decimal = Decimal(1)
    csi_weights: Mapping[str, float] = field(default_factory=dict)
    zone: str = "UTC"


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The customers of a shop over a window: `table` has a row per customer, and one of all guests.

    `extra` : sums that are not counted from orders: programme_cost, attributed_cost, attributed_net
        (revenue − that cost) and incremental_profit, minor units
    """

    records: Records
    window: Window
    filter: Filter
    terms: Terms
    table: str
    extra: Totals = field(default_factory=dict)

    @property
    def totals(self) -> Totals:
        """The sums of the whole shop, or of the part the filter leaves."""
        ((_, totals),) = self.by("1")
        return {**totals, **self.extra}

    def by(self, group: str, where: str = "TRUE") -> list[tuple[str | None, Totals]]:
        """The sums of each group: an SQL expression over the table's columns; sorted, None last."""
        names = self.known
        sums = ", ".join(f"SUM({name})" for name in names)
        rows = self.records.rows(
            f"SELECT {group} AS part, {sums} FROM {self.table} WHERE {where} GROUP BY part ORDER BY part NULLS LAST"
        )
        if not rows and group == "1":
            rows = [(1, *[None] * len(names))]
        return [
            (
                None if part is None else str(part),
                {name: value or 0 for name, value in zip(names, sums_, strict=True)},
            )
            for part, *sums_ in rows
        ]

    @property
    def known(self) -> tuple[str, ...]:
        """The measures that can be said here: membership must be known, and some do not split by category."""
        out: set[str] = set()
        if not self.records.knows_people:
            out |= _OF_PEOPLE
        if self.filter.category is not None:
            out |= _OF_WHOLE_ORDERS
        return tuple(name for name in MEASURES if name not in out)


def count(
    records: Records,
    window: Window,
    terms: Terms | None = None,
    filter: Filter | None = None,
    extra: Totals | None = None,
) -> Counted:
    """Count what every customer did in a window: a temporary table of the records' connection."""
    terms, filter = terms or Terms(), filter or Filter()
    asked = repr((window, terms, filter)).encode()
    table = f"counted_{sha256(asked).hexdigest()[:12]}"
    records.con.execute(f"DROP TABLE IF EXISTS {table}")
    records.rows(
        f"CREATE TEMP TABLE {table} AS {COUNTED.format(orders=sold(filter))}",
        parameters(window, terms, filter),
    )
    return Counted(records, window, filter, terms, table, extra or {})


def sold(filter: Filter) -> str:
    """The orders a filter leaves, as a FROM item; needs $category if one is asked for."""
    return "orders" if filter.category is None else f"({OF_CATEGORY})"


def parameters(window: Window, terms: Terms, filter: Filter) -> dict[str, object]:
    """What the queries of this package may ask for."""
    before = window.before.parameters
    moments: dict[str, datetime] = {**window.parameters, "before": before["start"]}
    weights: Sequence[tuple[str, float]] = sorted(terms.csi_weights.items())
    return {
        **moments,
        "segment": filter.segment,
        "category": filter.category,
        "point_value": terms.point_value,
        "aspects": [name for name, _ in weights],
        "weights": [Decimal(str(weight)) for _, weight in weights],
        "zone": terms.zone,
    }
