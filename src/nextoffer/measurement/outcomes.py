"""What every assigned customer bought, cost and brought after being assigned: one look at one experiment.

Everybody assigned is counted, bought or not; who opened or used an offer never defines who is. Only customers with
something to tell are rows, the many others are counts, so that millions fit. Sums are of exact minor units.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

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
from nextoffer.texts import Said, said, said_many, texts

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
_EARLY = len(KINDS) + 1  # bits of exposure within a day of assignment stand above those of the window
_ANY = (1 << _EARLY) - 1
_NOTES = (
    texts(
        "{n} customer was assigned too lately: their window is still open",
        "{n} customers were assigned too lately: their window is still open",
    ),
    texts(
        "{n} order came before its customer was assigned: not counted",
        "{n} orders came before their customers were assigned: not counted",
    ),
    texts(
        "{n} order of a guest belongs to no group: not counted",
        "{n} orders of guests belong to no group: not counted",
    ),
    texts(
        "{n} customer was in the other group as a visitor: they count in their own",
        "{n} customers were in the other group as visitors: they count in their own",
    ),
)


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
    ends : from then on a trial keeps nothing back
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
    ends: datetime | None = None

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
    exposure : (K,) bits of the kinds they were offered in the window, or would have been if held out, and above them
        those of the kinds offered within a day of assignment
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
        """Only who was offered something in the window, or would have been: not by what they did with it.

        With a kind: who was offered it within a day of being assigned. Later offers of a kind rest on what was bought
        since, so that the groups would no longer be alike.
        """
        wanted = _ANY if kind is None else _KIND_BIT[kind] << _EARLY
        return self._only(self.exposure & wanted != 0, self.cells.exposure & wanted != 0)

    def segment(self, name: str) -> Observed:
        """Only who was of that segment when assigned."""
        place = self.strata.index(name) if name in self.strata else -1
        return self._only(self.stratum == place, self.cells.stratum == place)

    def exposed(self, early: bool = False) -> tuple[int, int]:
        """Treated who were offered something, held out who would have been; `early`: within a day of assignment."""
        wanted = _ANY << _EARLY if early else _ANY
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
        counts = (self.n_open, self.n_early_orders, self.n_guest_orders, self.n_crossed)
        told = [said_many(*note, n) for note, n in zip(_NOTES, counts, strict=True) if n]
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
        "early": _EARLY,
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
