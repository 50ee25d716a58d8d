"""nextoffer from Python, in pandas, for notebooks: what the command line does, as DataFrames.

    shop = nextoffer.open("nextoffer.toml")
    shop.train()
    shop.recommend(["17850"])

Nothing here reads the clock: `as_of` is given, or it is the day after the newest order.
"""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.config import Settings, load_settings, parse_settings, read_secrets
from nextoffer.domain.history import History
from nextoffer.domain.money import minor_digits
from nextoffer.domain.offers import KIND, KINDS, REASONS, Slates
from nextoffer.domain.tables import ORDERS
from nextoffer.errors import BadColumnError, MeasurementError, RequestError
from nextoffer.measurement.frames import effects_frame, sheet_frame
from nextoffer.measurement.kpi import Filter, Preset
from nextoffer.measurement.report import Measurement
from nextoffer.offers.choosing import Context
from nextoffer.offers.recommend import choose_stored
from nextoffer.pipeline import (
    OpenShop,
    TrainReport,
    asked_filter,
    asked_preset,
    check,
    measure_shop,
    open_shop,
    segment_columns,
    train,
)
from nextoffer.tracking.ledger import open_ledger

if TYPE_CHECKING:
    import pandas as pd

Day = date | datetime | str


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Shop:
    """One shop: its settings and, for a shop without files, the temporary folder that goes with it."""

    settings: Settings
    _folder: Path | None = None

    def train(self, as_of: Day | None = None, *, dry_run: bool = False) -> TrainReport:
        """Learn from what was ordered before `as_of` and put the bundle in service.

        Parameters
        ----------
        as_of : the first day that is not known, in the shop's time zone (a date, or a moment); default: the
            day after the newest order, which takes one more reading of the files to find out
        dry_run : do everything, but publish nothing

        Raises
        ------
        SourceError, TrainingError, BusyError, GateRefusedError : as `nextoffer train` would say
        """
        moment = self._day_after_newest() if as_of is None else _moment(self.settings, as_of)
        return train(self.settings, moment, signing_key=read_secrets().signing_key, dry_run=dry_run)

    def recommend(
        self,
        customer_ids: Iterable[str] | None = None,
        n: int | None = None,
        kinds: Iterable[str] | None = None,
    ) -> pd.DataFrame:
        """The offers of these customers (default: of all), best first, one row each.

        Like `nextoffer recommend` it is for analysis: it ignores holdout, consent and caps, and records
        nothing. Columns: customer_id, rank, kind, product_id, title, list_price, final_price (currency
        units), incentive, p_buy, expected_profit (currency units), reason_code. A customer to whom nothing is
        worth offering has no row.

        Raises
        ------
        RequestError : the bundle does not know a customer, or there is no such kind
        NoBundleError : nothing is trained yet
        """
        shop = self._open()
        rows = _rows(shop, customer_ids)
        slates = choose_stored(shop.bundle, rows, shop.policy, Context(n=n, kinds=_codes(kinds)))
        return _frame(_offers(shop, rows, slates))

    def segments(self) -> pd.DataFrame:
        """One row per customer: customer_id, segment, recency_days, frequency, monetary, p_buy_28, p_buy_90,
        p_lapsed (chances, 0 to 1), expected_value (currency units)."""
        return _frame(segment_columns(self._open()))

    def measure(
        self,
        start: Day | None = None,
        until: Day | None = None,
        *,
        segment: str | None = None,
        kind: str | None = None,
        category: str | None = None,
    ) -> pd.DataFrame:
        """What the offers caused: one row per experiment and outcome, per customer.

        Columns: experiment, outcome (profit, revenue, orders, …), treated, holdout (means per customer), difference,
        low, high (95 % interval), p, verdict, n_treated, n_holdout, buyers_treated, buyers_holdout, n_more (about
        how many customers are missing for an answer). What cannot be said is missing.

        Parameters
        ----------
        start : first day; default: the first assignment
        until : first day that does not count; default: the day after the newest order, of the files or live
        segment, kind, category : only these customers, those this kind was or would be offered to, what was bought
            in this category

        Raises
        ------
        MeasurementError : nobody is assigned, the window is empty, or the groups cannot be compared
        """
        measured = self._measured(start, until, asked_filter(segment, kind, category))
        if measured.main.checks.blocked is not None:
            raise MeasurementError(f"no readout: {measured.main.checks.blocked}")
        return effects_frame(measured.readouts)

    def tables(
        self,
        start: Day | None = None,
        until: Day | None = None,
        *,
        segment: str | None = None,
        kind: str | None = None,
        category: str | None = None,
        against: str = "previous",
    ) -> dict[str, pd.DataFrame]:
        """The KPI tables by name: periods, segments, members, cohorts, …; counted, not caused.

        Parameters
        ----------
        against : what the window is held against: previous, year_ago; or compare quarter, half_year, year
        """
        asked = asked_filter(segment, kind, category)
        measured = self._measured(start, until, asked, asked_preset(against))
        return {sheet.name: sheet_frame(sheet, measured.currency) for sheet in measured.sheets}

    def _measured(
        self, start: Day | None, until: Day | None, asked: Filter, preset: Preset = "previous"
    ) -> Measurement:
        ledger = open_ledger(self.settings.store)
        try:
            last = max(ledger.orders(only=("at",))["at"].to_pylist(), default=None)
            live = None if last is None else last.replace(tzinfo=UTC)
            end = self._day_after_newest(live) if until is None else _moment(self.settings, until)
            first = None if start is None else _moment(self.settings, start)
            return measure_shop(self.settings, ledger, first, end, filter=asked, preset=preset)
        finally:
            ledger.close()

    def close(self) -> None:
        """Remove the temporary folder of a shop without files; otherwise nothing."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _open(self) -> OpenShop:
        return open_shop(self.settings, read_secrets().signing_key)

    def _day_after_newest(self, live: datetime | None = None) -> datetime:
        with check(self.settings) as history:
            newest = _newest(history, live)
        day = newest.astimezone(self.settings.zone).date() + timedelta(days=1)
        return datetime.combine(day, time(), tzinfo=self.settings.zone)


def open(path: str | Path = "nextoffer.toml") -> Shop:
    """A shop by its configuration file.

    Raises
    ------
    ConfigError : the file is missing or has faults; all are listed
    """
    return Shop(load_settings(Path(path)))


def fit(
    orders: pd.DataFrame,
    as_of: Day | None = None,
    *,
    products: pd.DataFrame | None = None,
    customers: pd.DataFrame | None = None,
    currency: str = "EUR",
    timezone: str = "UTC",
    **settings: Any,
) -> Shop:
    """A trained shop from order lines in memory, without any file of one's own.

    Parameters
    ----------
    orders : one row per order line, with the canonical column names: order_id, customer_id (missing for a
        guest), product_id, quantity (negative for a return), unit_price, ordered_at; more are understood
        (unit_cost, line_discount, title, category, …). Ids become text.
    as_of : the first day that is not known; default: the day after the newest order
    products, customers : likewise, optional
    currency : ISO 4217 code of all amounts; timezone : of moments that do not say theirs
    settings : further keys of nextoffer.toml, as in `horizon_days=14, margin={"default_share": 0.4}`

    The shop lives in a temporary folder, which goes with it (`Shop.close`, or when it is forgotten).

    Raises
    ------
    BadColumnError : a required column is missing
    ConfigError, SourceError, TrainingError : as `nextoffer train` would say
    """
    if missing := [name for name in ORDERS.required if name not in orders.columns]:
        rule = f"a column of the DataFrame (it has {', '.join(map(str, orders.columns))})"
        raise BadColumnError("orders", missing[0], rule, {})
    folder = Path(mkdtemp(prefix="nextoffer-"))
    with ExitStack() as if_it_fails:
        if_it_fails.callback(shutil.rmtree, folder, ignore_errors=True)
        tables = {"orders": orders, "products": products, "customers": customers}
        history = {
            name: _keep(frame, folder / f"{name}.parquet")
            for name, frame in tables.items()
            if frame is not None
        }
        document = {"currency": currency, "timezone": timezone, "history": history, **settings}
        shop = Shop(parse_settings(document, "fit", folder), folder)
        shop.train(as_of)
        if_it_fails.pop_all()
    weakref.finalize(shop, shutil.rmtree, folder, ignore_errors=True)
    return shop


def _keep(frame: pd.DataFrame, path: Path) -> dict[str, str]:
    """Write a DataFrame as Parquet, ids as text; the source of nextoffer.toml that reads it."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for at, field in enumerate(table.schema):
        if field.name.endswith("_id") and not pa.types.is_string(field.type):
            table = table.set_column(at, field.name, _text(table[field.name]))
    pq.write_table(table, path)
    return {"path": str(path)}


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Ids as text: pandas turns whole numbers with gaps into 17850.0, which means 17850."""
    if pa.types.is_floating(column.type) and pc.all(pc.equal(column, pc.round(column))).as_py():
        column = column.cast(pa.int64())
    return column.cast(pa.string())


def _moment(settings: Settings, day: Day) -> datetime:
    """A date is midnight in the shop's zone; so is a moment without a zone a moment of the shop."""
    try:
        given = datetime.fromisoformat(day) if isinstance(day, str) else day
    except ValueError:
        raise RequestError(f"{day!r} is not a date; write it as 2026-11-22", "as_of") from None
    if not isinstance(given, datetime):
        given = datetime.combine(given, time())
    return given if given.tzinfo is not None else given.replace(tzinfo=settings.zone)


def _newest(history: History, live: datetime | None) -> datetime:
    return history.last_order_at if live is None else max(history.last_order_at, live)


def _rows(shop: OpenShop, customer_ids: Iterable[str] | None) -> np.ndarray:
    if customer_ids is None:
        return np.arange(len(shop.bundle.customer_ids.ids))
    if isinstance(customer_ids, str):
        customer_ids = [customer_ids]
    asked = [str(customer_id) for customer_id in customer_ids]
    known = shop.bundle.customer_ids.ids.to_arrow()
    at = pc.index_in(pa.array(asked, known.type), value_set=known)
    if at.null_count:
        first = asked[pc.indices_nonzero(at.is_null())[0].as_py()]
        raise RequestError(
            f"{at.null_count} of {len(asked)} customers, such as {first!r}, have no purchase before "
            f"{shop.bundle.as_of:%Y-%m-%d}; ids of known customers: shop.segments().customer_id",
            "customer_ids",
        )
    return np.asarray(at.to_numpy(zero_copy_only=False), dtype=np.int64)


def _codes(kinds: Iterable[str] | None) -> tuple[int, ...] | None:
    if kinds is None:
        return None
    asked = [kinds] if isinstance(kinds, str) else list(kinds)
    if unknown := [kind for kind in asked if kind not in KIND]:
        raise RequestError(f"there is no kind {unknown[0]!r}; there are: {', '.join(KIND)}", "kinds")
    return tuple(KIND[kind] for kind in asked)


def _prices(minor: np.ndarray, unit: float) -> pa.Array:
    """Currency units; null where there is no product."""
    return pa.array(minor / unit, mask=minor < 0)


def _offers(shop: OpenShop, rows: np.ndarray, slates: Slates) -> pa.Table:
    bundle = shop.bundle
    unit = 10.0 ** minor_digits(bundle.catalogue.currency)
    ids = bundle.customer_ids.ids.to_arrow()
    products = pa.array(slates.product, mask=slates.product < 0)
    prices = {name: _prices(getattr(slates, name), unit) for name in ("list_price", "final_price")}
    menu = shop.policy.menu
    return pa.table(
        {
            "customer_id": ids.take(pa.array(rows[slates.customer])),
            "rank": slates.rank,
            "kind": _words(KINDS, slates.kind),
            "product_id": bundle.catalogue.ids.to_arrow().take(products),
            "title": bundle.catalogue.title.to_arrow().take(products),
            **prices,
            "incentive": pa.array([menu.text(row) for row in range(len(menu))]).take(
                pa.array(slates.incentive)
            ),
            "p_buy": slates.p_buy,
            "expected_profit": slates.expected_profit,
            "reason_code": _words(REASONS, slates.reason),
        }
    )


def _words(names: Iterable[str], codes: np.ndarray) -> pa.Array:
    return pa.array(list(names), pa.string()).take(pa.array(codes.astype(np.int64)))


def _frame(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame
