"""The records a measurement reads, as tables of one DuckDB connection: exact, each order once, each person once.

    lines     order_id, customer_id, ordered_at, product_id, category, quantity, revenue, cost, promo_code,
              points_spent, channel, margin; a view, read anew by each query
    orders    order_id, customer_id, ordered_at, revenue, margin, units, points_spent, promo_code
    people    customer_id, programme, joined_at, referred_by
    segments  customer_id, segment; as it is today
    surveys   customer_id, kind, aspect, product_id, score, answered_at
    assigned  experiment, version, unit_id, "group", assigned_at, stratum, crossed
    decided   decision_id, unit_id, "group", "at", campaign, placement, run_on, slate, withheld_by
    offered   one row per offer of a decision: decision_id, unit_id, "group", "at", campaign, placement,
              withheld_by, offer_id, kind, product_id, incentive, incentive_name, list_price, final_price, rank
    answers   clicks and redemptions with the offer they are about: event_id, unit_id, type, "at", decision_id,
              offer_id, kind, campaign, placement, incentive, incentive_name, order_id, days (the kind's window),
              counts (a use, each once), spent (what it costs the shop), in_price (what revenue nets already)
    contacts  messages: decision_id, unit_id, "at", campaign, kind (of its first offer)
    happened  event_id, decision_id, offer_id, unit_id, product_id, type, "at", payload
    identities visitor_id, customer_id; of visitors who became exactly one customer and are none themselves

Money is BIGINT minor units, moments are UTC without zone. A visitor counts as the customer they became. An order
that the shop's history and the ledger both hold is the history's; the ledger only says who bought where the history
does not. What is returned is taken off the order it was bought with, at the moment of that order: negative lines of
the same order, and live orders that say which order they take back (unless that order has negative lines in the
history, and the history reaches beyond the return: then it holds it already).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa

from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.errors import MeasurementError
from nextoffer.measurement import merging
from nextoffer.measurement.costs import Costs, price_answers

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Rows: TypeAlias = Path | pa.Table | None

_VALUE = re.compile(r"[\"'(]| [-\d]")  # where what DuckDB says may begin to quote what it read
_PARAMETER = re.compile(r"\$([a-z_]\w*)")
# How long after being assigned an order counts in an experiment, and how long after an opened offer it is attributed:
# what refills or wins back takes as long as an order does.
WINDOW_DAYS: Mapping[str, int] = {
    kind: {"replenishment": 28, "renewal": 28, "win_back": 56}.get(kind, 14) for kind in KINDS
}
NO_COSTS = Costs()
NO_WINDOWS: Mapping[str, int] = {}


def windows(given: Mapping[str, int]) -> dict[str, int]:
    """The window of every kind, in days: as given, else the usual one."""
    return {**WINDOW_DAYS, **given}


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """An open connection with the tables above; use it as a context manager.

    Parameters
    ----------
    con : the connection; queries may add TEMP tables of their own
    costs : what is given away, as `answers` are priced
    window_days : of every kind: how long after an offer an order may be put down to it
    knows_people : whether a table of customers was given, so that membership is known
    n_merged : visitors who count as the customer they became
    n_ambiguous : visitors who were linked to several customers, or whose id is a customer's own: they stay who they are
    """

    con: DuckDBPyConnection
    currency: str
    costs: Costs
    window_days: Mapping[str, int]
    knows_people: bool
    n_merged: int
    n_ambiguous: int

    @classmethod
    def open(
        cls,
        *,
        orders: Rows,
        currency: str,
        margin_share: float,
        products: Rows = None,
        live_orders: Rows = None,
        assignments: Rows = None,
        decisions: Rows = None,
        events: Rows = None,
        identities: Rows = None,
        customers: Rows = None,
        surveys: Rows = None,
        segments: Rows = None,
        costs: Costs = NO_COSTS,
        window_days: Mapping[str, int] = NO_WINDOWS,
        memory_limit: str | None = None,
        temp_directory: Path | None = None,
        threads: int | None = None,
    ) -> Records:
        """Make the tables. Each is given as a Parquet file, an Arrow table, or not at all.

        Parameters
        ----------
        orders, products, customers, surveys : the canonical tables; orders are never read whole into memory
        live_orders, assignments, decisions, events, identities : the ledger's; assignments of any experiments
        segments : customer_id, segment
        margin_share : margin as a share of revenue where no cost is known
        window_days : by kind, where it is not the usual one (WINDOW_DAYS)
        memory_limit, temp_directory, threads : DuckDB's; with a limit, what does not fit is spilled

        Raises
        ------
        MeasurementError : a slate is no JSON, a file cannot be read, or memory and disk do not suffice
        """
        con = _connected(memory_limit, temp_directory, threads)
        given = {
            "shop": orders,
            "catalogue": products,
            "live": live_orders,
            "assigned": assignments,
            "decided": decisions,
            "happened": events,
            "identities": identities,
            "people": customers,
            "segments": segments,
            "surveys": surveys,
        }
        days = windows(window_days)
        try:
            with _explained():
                for name, rows in given.items():
                    _view(con, name, rows)
                _merge(con, 10 ** minor_digits(currency), margin_share)
                price_answers(con, currency, costs, margin_share, days)
                merged, ambiguous = con.sql(merging.N_VISITORS).fetchall()[0]
        except MeasurementError:
            con.close()
            raise
        return cls(con, currency, costs, days, customers is not None, merged, ambiguous)

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; what it spilled goes with it."""
        self.con.close()

    def rows(self, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The answer of a query of few rows; parameters it does not name are ignored.

        Raises
        ------
        MeasurementError : memory and disk do not suffice, or a row cannot be read; also of `row` and `arrow`
        """
        with _explained():
            found: list[tuple[Any, ...]] = self.con.execute(query, _named(query, parameters)).fetchall()
        return found

    def row(self, query: str, parameters: Mapping[str, Any] | None = None) -> tuple[Any, ...]:
        """The only row of an answer."""
        (only,) = self.rows(query, parameters)
        return only

    def arrow(self, query: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The answer of a query as Arrow columns."""
        with _explained():
            return self.con.sql(query, params=_named(query, parameters)).to_arrow_table()


def naive(moment: datetime) -> datetime:
    """The moment as canonical tables hold it: UTC, without zone."""
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _named(query: str, parameters: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The parameters a query names (DuckDB refuses others), moments without zone."""
    named = set(_PARAMETER.findall(query))
    used = {name: value for name, value in (parameters or {}).items() if name in named}
    return {
        name: naive(value) if isinstance(value, datetime) else value for name, value in used.items()
    } or None


def _connected(
    memory_limit: str | None, temp_directory: Path | None, threads: int | None
) -> DuckDBPyConnection:
    import duckdb

    con = duckdb.connect(":memory:")
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET preserve_insertion_order = false")
    options = {"memory_limit": memory_limit, "temp_directory": temp_directory, "threads": threads}
    for name, value in options.items():
        if value is not None:
            con.execute(f"SET {name} = '{_quoted(str(value))}'")
    return con


@contextmanager
def _explained() -> Iterator[None]:
    """What cannot be counted is said in one sentence, which quotes nothing of what customers did."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise MeasurementError(
            "memory and disk do not suffice to measure: raise engine.memory_limit, or free disk space where "
            "engine.temp_directory lies"
        ) from error
    except duckdb.IOException as error:
        raise MeasurementError(
            f"a file needed to measure cannot be read or written: {_first_line(error)}. Is it there, is the disk full?"
        ) from error
    except duckdb.Error as error:
        reason = _VALUE.split(_first_line(error), maxsplit=1)[0].strip(" :,=-")
        raise MeasurementError(
            f"the shop's history and the ledger cannot be measured: {reason}. Were rows of the ledger changed by hand?"
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200].rstrip(".")


def _merge(con: DuckDBPyConnection, scale: int, margin_share: float) -> None:
    """The tables, in the order in which they rest on each other."""
    con.execute(merging.IDENTITIES)
    for statement in (merging.ASSIGNED, merging.DECIDED, merging.HAPPENED, merging.OFFERED, merging.LIVE):
        con.execute(statement)
    con.execute(merging.LIVE_LINES, {"scale": scale})
    con.execute(merging.LINES.format(share=float(margin_share)))
    con.execute(merging.ORDERS)
    for name in ("people", "segments", "surveys"):
        con.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM given_{name}")


def _view(con: DuckDBPyConnection, name: str, rows: Rows) -> None:
    """`given_<name>`: its columns, whatever was given."""
    wanted = merging.GIVEN[name]
    if rows is None:
        cells = ", ".join(f'CAST(NULL AS {kind}) AS "{column}"' for column, kind in wanted.items())
        con.execute(f"CREATE TEMP VIEW given_{name} AS SELECT {cells} WHERE FALSE")
        return
    if isinstance(rows, Path):
        source = f"read_parquet('{_quoted(str(rows))}')"
    else:
        source = f"source_{name}"
        con.register(source, rows)
    there = set(con.sql(f"SELECT * FROM {source} LIMIT 0").columns)
    cell = {column: f'"{column}"' if column in there else "NULL" for column in wanted}
    cells = ", ".join(f'CAST({cell[column]} AS {kind}) AS "{column}"' for column, kind in wanted.items())
    con.execute(f"CREATE TEMP VIEW given_{name} AS SELECT {cells} FROM {source}")


def _quoted(text: str) -> str:
    return text.replace("'", "''")
