"""What the shop's other tables tell of its customers: their days and points, their passes, what they looked at.

And what they sent back. Each part is small where the shop gives nothing. Customers and products are rows in the
order of their sorted ids; what customers nobody knows did is left out, a product nobody knows has row −1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Floats, Ints, Strings, ranges
from nextoffer.engines.engine import Engine
from nextoffer.features.build import sql_text

SETTLED_DAYS = 90  # of history before an order that is called a customer's first
EARLIEST_BIRTH = (date(1910, 1, 1) - date(1970, 1, 1)).days  # earlier: what a form fills in, no birthday
# What comes of interest left alone, before the shop's own history says so: a guess, counted as ENOUGH cases.
CARTED_SHARE, VIEWED_SHARE, ENOUGH = 0.10, 0.02, 20.0


def _none() -> Ints:
    return np.zeros(0, np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Days that matter, one row per customer; a column nobody has anything in is empty.

    Parameters
    ----------
    birth_month, birth_day : (n,) int8, 0 unknown; the year is not kept
    first_order_day, points_expire_day : (n,) int32 days since 1970-01-01 in the shop's time zone, 0 unknown
    points_balance : (n,) int32 points held
    """

    birth_month: Ints = field(default_factory=_none)
    birth_day: Ints = field(default_factory=_none)
    first_order_day: Ints = field(default_factory=_none)
    points_balance: Ints = field(default_factory=_none)
    points_expire_day: Ints = field(default_factory=_none)

    def of(self, column: str, rows: Ints) -> Ints:
        """A column at some customers, 0 where it is empty."""
        values: Ints = getattr(self, column)
        return values[rows] if len(values) else np.zeros(len(rows), np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """Subscriptions and passes, sorted by customer and last day; days since 1970-01-01 in the shop's time zone.

    Parameters
    ----------
    customer, product : (n,) int32 rows; product −1 if it is not in the catalogue
    started_day, ends_day : (n,) int32 first and last day
    auto_renew : (n,) bool
    renewed_day : (n,) int32 first day of the next one, or on which the product was bought again; 0 not yet
    """

    customer: Ints = field(default_factory=_none)
    product: Ints = field(default_factory=_none)
    started_day: Ints = field(default_factory=_none)
    ends_day: Ints = field(default_factory=_none)
    auto_renew: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    renewed_day: Ints = field(default_factory=_none)

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Positions in `rows` and entries of those customers."""
        return _entries(self.customer, rows)


@dataclass(frozen=True, slots=True, eq=False)
class Interest:
    """Products seen lately and not bought since, sorted by customer, newest first.

    Parameters
    ----------
    customer, product : (n,) int32 rows
    seen_at : (n,) int64 seconds since 1970, UTC, of the last view or cart event
    carted : (n,) bool in the cart and not taken out
    carted_share, viewed_share : of such interest, how much was bought within the horizon, by the shop's history
    """

    customer: Ints = field(default_factory=_none)
    product: Ints = field(default_factory=_none)
    seen_at: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    carted: Bools = field(default_factory=lambda: np.zeros(0, np.bool_))
    carted_share: float = CARTED_SHARE
    viewed_share: float = VIEWED_SHARE

    def of(self, rows: Ints) -> tuple[Ints, Ints]:
        """Positions in `rows` and entries of those customers."""
        return _entries(self.customer, rows)

    def share(self, carted: Bools) -> Floats:
        """(n,) chance that interest alone leads to a purchase within the horizon."""
        return np.where(carted, self.carted_share, self.viewed_share)


@dataclass(frozen=True, slots=True, eq=False)
class Returned:
    """Products a customer sent back entirely, (n,) int32 rows each, sorted by customer and product."""

    customer: Ints = field(default_factory=_none)
    product: Ints = field(default_factory=_none)

    def holds(self, rows: Ints, product: Ints) -> Bools:
        """(n,) whether each customer sent each product back."""
        held = np.zeros(len(rows), dtype=np.bool_)
        runs = np.flatnonzero(np.diff(rows, prepend=-2))  # rows of a customer stand together: few searches
        _, at = _entries(self.customer, np.unique(rows[runs]))
        if len(at):
            some = np.flatnonzero(np.isin(rows, np.unique(self.customer[at])))
            have, want = _keys(self.customer[at], self.product[at]), _keys(rows[some], product[some])
            held[some] = have[np.minimum(np.searchsorted(have, want), len(have) - 1)] == want
        return held


@dataclass(frozen=True, slots=True, eq=False)
class Diary:
    """The parts together; the empty diary is that of a shop which gives nothing of all this."""

    calendar: Calendar = field(default_factory=Calendar)
    passes: Passes = field(default_factory=Passes)
    interest: Interest = field(default_factory=Interest)
    returned: Returned = field(default_factory=Returned)


def read_diary(
    engine: Engine,
    out: Path,
    customers: Strings,
    products: Strings,
    as_of: datetime,
    timezone: str,
    horizon_days: int,
    abandoned_days: int = 14,
    abandoned_hours: int = 24,
) -> Diary:
    """Read what is known before `as_of`; the canonical tables are registered with the engine.

    Parameters
    ----------
    out : folder for the tables made on the way, made if missing
    customers, products : sorted ids, which give the rows
    timezone : IANA name; in it days begin
    abandoned_days, abandoned_hours : how far back interest is looked for, and how long it has been left alone
    """
    out.mkdir(parents=True, exist_ok=True)
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    since = moment - timedelta(days=horizon_days)
    params = {
        "as_of": moment,
        "since": since,
        "timezone": timezone,
        "settled_days": SETTLED_DAYS,
        "interest_days": abandoned_days,
        "abandoned_hours": abandoned_hours,
    }

    def run(name: str, target: str = "", **changed: object) -> pa.Table:
        stem = target or name
        engine.sql(sql_text(name), params | changed, out / f"{stem}.parquet")
        return engine.arrow(f"SELECT * FROM {stem}")  # written in its order

    run("interest", "interest_then", as_of=since)
    return Diary(
        _calendar(run("calendar"), customers),
        _passes(run("passes"), customers, products),
        _interest(run("interest"), run("interest_outcome"), customers, products),
        _returned(run("returned"), customers, products),
    )


def _calendar(table: pa.Table, customers: Strings) -> Calendar:
    at = _rows(customers, table["customer_id"])
    known = np.flatnonzero(at >= 0)

    def column(name: str, missing: int = 0) -> npt.NDArray[np.int64]:
        full = np.full(len(customers), missing, np.int64)
        full[at[known]] = pc.fill_null(table[name], missing).to_numpy()[known]
        return full

    born = column("born_day", EARLIEST_BIRTH - 1)
    month, day = _month_and_day(born)
    columns: dict[str, Ints] = {
        "birth_month": np.where(born >= EARLIEST_BIRTH, month, 0).astype(np.int8),
        "birth_day": np.where(born >= EARLIEST_BIRTH, day, 0).astype(np.int8),
        "first_order_day": column("first_order_day").astype(np.int32),
        "points_balance": np.clip(column("points_balance"), 0, np.iinfo(np.int32).max).astype(np.int32),
        "points_expire_day": column("points_expire_day").astype(np.int32),
    }
    return Calendar(**{name: values if values.any() else values[:0] for name, values in columns.items()})


def _month_and_day(days: npt.NDArray[np.int64]) -> tuple[Ints, Ints]:
    """Months 1 to 12 and days of the month of days since 1970-01-01."""
    dates = days.astype("M8[D]")
    months = dates.astype("M8[M]")
    return months.astype(np.int64) % 12 + 1, (dates - months.astype("M8[D]")).astype(np.int64) + 1


def _passes(table: pa.Table, customers: Strings, products: Strings) -> Passes:
    at = _rows(customers, table["customer_id"])
    known = np.flatnonzero(at >= 0)
    named = {
        name: table[name].to_numpy()[known].astype(np.int32)
        for name in ("started_day", "ends_day", "renewed_day")
    }
    return Passes(
        customer=at[known],
        product=_rows(products, table["product_id"])[known],
        auto_renew=table["auto_renew"].to_numpy()[known] > 0,
        **named,
    )


def _interest(table: pa.Table, outcome: pa.Table, customers: Strings, products: Strings) -> Interest:
    at, product = _rows(customers, table["customer_id"]), _rows(products, table["product_id"])
    known = np.flatnonzero((at >= 0) & (product >= 0))
    cases = {row["carted"]: (row["n_bought"], row["n_seen"]) for row in outcome.to_pylist()}
    share = {
        carted: (cases.get(carted, (0, 0))[0] + ENOUGH * guess) / (cases.get(carted, (0, 0))[1] + ENOUGH)
        for carted, guess in ((1, CARTED_SHARE), (0, VIEWED_SHARE))
    }
    return Interest(
        customer=at[known],
        product=product[known],
        seen_at=table["seen_at"].to_numpy()[known],
        carted=table["carted"].to_numpy()[known] > 0,
        carted_share=float(share[1]),
        viewed_share=float(share[0]),
    )


def _returned(table: pa.Table, customers: Strings, products: Strings) -> Returned:
    at, product = _rows(customers, table["customer_id"]), _rows(products, table["product_id"])
    known = np.flatnonzero((at >= 0) & (product >= 0))
    known = known[np.lexsort((product[known], at[known]))]
    return Returned(at[known], product[known])


def _keys(customer: Ints, product: Ints) -> npt.NDArray[np.int64]:
    return (customer.astype(np.int64) << 32) | product.astype(np.int64)


def _rows(ids: Strings, column: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Row of each id, −1 for one that is not there."""
    at = pc.index_in(column.cast(pa.large_string()), ids.to_arrow())
    return np.asarray(pc.fill_null(at, -1).to_numpy(), dtype=np.int32)


def _entries(customer: Ints, rows: Ints) -> tuple[Ints, Ints]:
    wanted = np.asarray(rows, customer.dtype)  # of another type, numpy would convert the whole column first
    start, end = np.searchsorted(customer, wanted, "left"), np.searchsorted(customer, wanted, "right")
    return np.repeat(np.arange(len(rows)), end - start), ranges(start, end - start)
