"""What every assigned customer bought, cost and brought after being assigned: one look at one experiment.

Everybody assigned is counted, bought or not; who opened or used an offer never defines who is. Only customers with
something to tell are rows, the many others are counts, so that millions fit. Sums are of exact minor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from nextoffer.config import Campaign, Trial
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.measurement import observing
from nextoffer.measurement.observing import BELOW as BELOW
from nextoffer.measurement.observing import OF_EXPERIMENT as OF_EXPERIMENT
from nextoffer.measurement.records import Records
from nextoffer.measurement.records import naive as naive
from nextoffer.texts import Said, said, said_many

METRICS: tuple[str, ...] = (
    "conversion",  # 1 for whoever ordered
    "orders",  # worth more than 0 after returns
    "units",
    "revenue",  # net of discounts at the till and of returns
    "margin",
    "incentive_cost",  # what uses cost the shop
    "contact_cost",
    "profit",  # margin − contacts − incentives the margin does not bear already
    "repeat",  # 1 for whoever ordered at least twice
)
OF_A_CATEGORY = (
    "conversion",
    "orders",
    "units",
    "revenue",
    "margin",
    "repeat",
)  # costs belong to no category
GIANT = 0.1  # share of the revenue from which the largest customer is told of
_KIND_BIT = {kind: 1 << place for place, kind in enumerate(KINDS)}
_EARLY_BIT = 1 << 30  # exposed within a day of assignment, before offers can change who comes back


@dataclass(frozen=True, slots=True)
class Look:
    """What is asked: an experiment's version over [start, end).

    Parameters
    ----------
    window_days : None = from assignment (or `start`, if later) until `end`, for the permanent holdout; else so many
        days from each assignment that falls into the look, closed windows only
    before_days : the past spend that steadies the comparison, counted back from assignment
    kinds, campaigns : the offers a trial keeps back (both: those kinds in those campaigns); empty = all
    category : only what was bought below this path, as in Food > Tea
    """

    name: str
    version: int
    start: datetime
    end: datetime
    window_days: int | None = None
    before_days: int = 91
    kinds: tuple[str, ...] = ()
    campaigns: tuple[str, ...] = ()
    category: str | None = None

    @property
    def key(self) -> str:
        """`name:version`, as decisions name the trial that kept their offers back."""
        return f"{self.name}:{self.version}"


def window_of(trial: Trial, campaigns: Mapping[str, Campaign], windows: Mapping[str, int]) -> int:
    """The days after assignment in which an order counts: the longest window of the kinds a trial keeps back."""
    kinds: set[str] = set(trial.kinds)
    if not kinds:
        kinds = {
            kind for name in trial.campaigns if name in campaigns for kind in campaigns[name].kinds or KINDS
        }
    return max(windows[kind] for kind in kinds or KINDS)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Everybody assigned, counted: customers with the same stratum, group and exposure are one row."""

    stratum: Ints
    treated: Bools
    exposure: Ints
    n: Ints

    def take(self, rows: Bools) -> Cells:
        """The rows chosen by a mask."""
        return Cells(self.stratum[rows], self.treated[rows], self.exposure[rows], self.n[rows])


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """One look's outcomes: K customers with something to tell, sorted by id; everybody else has 0 of everything.

    Parameters
    ----------
    treated : (K,) False for the holdout
    stratum : (K,) row of `strata`, the segment at assignment ("" if it was not known)
    exposure : (K,) bits of the kinds they were offered in the window, or would have been offered if held out
    values : metric -> (K,), in currency units or counts
    before : metric -> (K,) the same over `before_days` before assignment; without costs
    cells : everybody, counted
    n_open : assigned too late for their window to be closed: not counted
    n_early_orders : orders of the look that came before their customer's assignment: not counted
    n_guest_orders : orders of the look without a customer
    n_crossed : customers whose other ids (as a visitor) were put in the other group
    """

    look: Look
    treated: Bools
    stratum: Ints
    exposure: Ints
    values: Mapping[str, Floats]
    before: Mapping[str, Floats]
    strata: tuple[str, ...]
    cells: Cells
    n_open: int = 0
    n_early_orders: int = 0
    n_guest_orders: int = 0
    n_crossed: int = 0

    @property
    def sizes(self) -> Ints:
        """(S, 2) everybody treated and held out in each stratum."""
        sizes = np.zeros((len(self.strata), 2), dtype=np.int64)
        np.add.at(sizes, (self.cells.stratum, np.where(self.cells.treated, 0, 1)), self.cells.n)
        return sizes

    @property
    def n_treated(self) -> int:
        """Everybody treated."""
        return int(self.cells.n[self.cells.treated].sum())

    @property
    def n_holdout(self) -> int:
        """Everybody held out."""
        return int(self.cells.n[~self.cells.treated].sum())

    def matrix(self, names: Iterable[str]) -> Floats:
        """(K, M) the values of several metrics side by side."""
        return np.column_stack([self.values[name] for name in names])

    def matrix_before(self, names: Iterable[str]) -> Floats | None:
        """(K, M) the same before assignment; zeros where a metric has no past, None if nothing has."""
        if not self.before:
            return None
        return np.column_stack([self.before.get(name, np.zeros(len(self.treated))) for name in names])

    def triggered(self, kind: str | None = None) -> Observed:
        """Only who was offered something (of a kind), or would have been: not by what they did with it."""
        wanted = _KIND_BIT[kind] if kind is not None else _EARLY_BIT - 1
        return self._only(self.exposure & wanted != 0, self.cells.exposure & wanted != 0)

    def segment(self, name: str) -> Observed:
        """Only who was of that segment when assigned."""
        place = self.strata.index(name) if name in self.strata else -1
        return self._only(self.stratum == place, self.cells.stratum == place)

    def exposed(self, early: bool = False) -> tuple[int, int]:
        """Treated who were offered something, held out who would have been; `early`: within a day of assignment."""
        wanted = _EARLY_BIT if early else _EARLY_BIT - 1
        met = self.cells.exposure & wanted != 0
        treated = self.cells.treated
        return int(self.cells.n[met & treated].sum()), int(self.cells.n[met & ~treated].sum())

    @property
    def largest_share(self) -> float:
        """Share of the revenue that the largest customer brought; 0 if there is none."""
        revenue = self.values["revenue"]
        total = float(revenue.sum())
        return float(revenue.max()) / total if total > 0 else 0.0

    @property
    def excluded(self) -> dict[str, int]:
        """What was not counted, by cause."""
        return {
            "still_open": self.n_open,
            "orders_before_assignment": self.n_early_orders,
            "guest_orders": self.n_guest_orders,
            "in_both_groups": self.n_crossed,
        }

    @property
    def notes(self) -> tuple[Said, ...]:
        """What a reader must know about who and what was counted."""
        told = [
            said_many(one, many, n)
            for n, one, many in (
                (
                    self.n_open,
                    "{n} customer was assigned too lately: their window is still open",
                    "{n} customers were assigned too lately: their window is still open",
                ),
                (
                    self.n_early_orders,
                    "{n} order came before its customer was assigned: not counted",
                    "{n} orders came before their customers were assigned: not counted",
                ),
                (
                    self.n_guest_orders,
                    "{n} order of a guest belongs to no group: not counted",
                    "{n} orders of guests belong to no group: not counted",
                ),
                (
                    self.n_crossed,
                    "{n} customer was in the other group as a visitor: they count in their own",
                    "{n} customers were in the other group as visitors: they count in their own",
                ),
            )
            if n
        ]
        if (share := self.largest_share) > GIANT:
            shown = said("{percent}%", percent=round(100 * share, 1))
            told.append(
                said("one customer brought {share} of all revenue: a single order may decide", share=shown)
            )
        return tuple(told)

    def _only(self, rows: Bools, cells: Bools) -> Observed:
        kept = self.cells.take(cells)
        places = np.unique(kept.stratum)
        return replace(
            self,
            treated=self.treated[rows],
            stratum=np.searchsorted(places, self.stratum[rows]),
            exposure=self.exposure[rows],
            values={name: column[rows] for name, column in self.values.items()},
            before={name: column[rows] for name, column in self.before.items()},
            strata=tuple(self.strata[place] for place in places.tolist()),
            cells=replace(kept, stratum=np.searchsorted(places, kept.stratum)),
        )


def observe(records: Records, look: Look) -> Observed:
    """The outcomes of one look."""
    open_ended = look.window_days is None
    asked: dict[str, Any] = {
        "name": look.name,
        "version": look.version,
        "key": look.key,
        "start": look.start,
        "end": look.end,
        "days": look.window_days or 0,
        "before": look.before_days,
        "kinds": list(look.kinds),
        "campaigns": list(look.campaigns),
        "all_kinds": list(KINDS),
        "early": _EARLY_BIT,
        "category": look.category,
        "contacts_cost": records.costs.contact > 0,
    }
    records.rows(observing.STRATA, asked)
    records.rows(
        observing.UNITS.format(
            shown=observing.SHOWN_PERMANENT if open_ended else observing.SHOWN_TRIAL,
            **observing.SPANS[open_ended],
        ),
        asked,
    )
    strata = tuple(name for (name,) in records.rows("SELECT name FROM strata ORDER BY place"))
    cells = records.arrow(observing.CELLS)
    bought = records.arrow(
        observing.BOUGHT.format(orders=observing.BELOW if look.category else "orders"), asked
    )
    values, before = _values(records, look, bought)
    return Observed(
        look,
        _column(bought, "treated").astype(np.bool_),
        _column(bought, "stratum"),
        _column(bought, "exposure"),
        values,
        before,
        strata,
        Cells(
            _column(cells, "stratum"),
            _column(cells, "treated").astype(np.bool_),
            _column(cells, "exposure"),
            _column(cells, "n"),
        ),
        *records.row(observing.COUNTS.format(**observing.SPANS[open_ended]), asked),
    )


def _values(records: Records, look: Look, bought: pa.Table) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """metric -> (K,) in the window, and before assignment."""
    unit = 10.0 ** minor_digits(records.currency)
    found = {name: _column(bought, name) for name in bought.column_names if name != "unit_id"}
    orders, revenue, margin = found["orders"], found["revenue"], found["margin"]
    values: dict[str, Floats] = {
        "conversion": (orders > 0).astype(np.float64),
        "orders": orders.astype(np.float64),
        "units": found["units"],
        "revenue": revenue / unit,
        "margin": margin / unit,
        "repeat": (orders > 1).astype(np.float64),
    }
    if look.category is None:
        contacts = found["contacts"] * float(records.costs.contact)
        values["incentive_cost"] = found["spent"] / unit
        values["contact_cost"] = contacts
        values["profit"] = (margin - (found["spent"] - found["in_price"])) / unit - contacts
    if not look.before_days:
        return values, {}
    orders, margin = found["orders_before"], found["margin_before"] / unit
    before: dict[str, Floats] = {
        "conversion": (orders > 0).astype(np.float64),
        "orders": orders.astype(np.float64),
        "units": found["units_before"],
        "revenue": found["revenue_before"] / unit,
        "margin": margin,
        "repeat": (orders > 1).astype(np.float64),
    }
    return values, before if look.category else before | {"profit": margin}


def _column(table: pa.Table, name: str) -> Any:
    return table.column(name).combine_chunks().to_numpy(zero_copy_only=False)


# -- what report.py reads until it asks the records

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
