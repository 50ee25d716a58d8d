"""The ledger's queries that are not one line: many ids at once, days of the shop, tables as Arrow columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Select, Table, and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite

from nextoffer.domain.arrays import Ints
from nextoffer.tracking import database, schema
from nextoffer.tracking.columns import arrow_type
from nextoffer.tracking.holdout import Drawn

CHUNK = 5_000  # ids per query: well below every database's limit of parameters
PULL = 50_000  # rows per Arrow batch


def assigned(connection: Connection, experiment: Drawn, units: Sequence[str]) -> dict[str, str]:
    """unit -> group of those units that are assigned."""
    table = schema.assignments
    query = select(table.c.unit_id, table.c.group).where(
        table.c.experiment == experiment.name,
        table.c.version == experiment.version,
        table.c.unit_id.in_(units),
    )
    return {unit: group for unit, group in connection.execute(query)}


def insert(dialect: Dialect, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what to do about rows whose key is there already."""
    return postgresql.insert(table) if dialect.name == "postgresql" else sqlite.insert(table)


def add(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> set[str]:
    """Insert rows whose keys are not there already, all in one statement: the keys of the new ones.

    The key is the first column of the table's. In the order of the keys, so that two writers of the same rows never
    wait for each other in a ring.
    """
    if not rows:
        return set()
    keys = table.primary_key.columns.keys()
    rows = sorted(rows, key=lambda row: [str(row[name]) for name in keys])
    if connection.dialect.name != "postgresql":
        new = insert(connection.dialect, table).on_conflict_do_nothing().returning(table.c[keys[0]])
        return set(connection.execute(new, rows).scalars())
    # A column is one array: as rows, the driver would read a statement of thousands of parameters each time.
    names = list(rows[0])
    kinds = {name: "bigint" if table.c[name].type.python_type is int else "varchar" for name in names}
    arrays = ", ".join(f"CAST(%({name})s AS {kind}[])" for name, kind in kinds.items())
    columns = ", ".join(f'"{name}"' for name in names)
    text = (
        f"INSERT INTO {table.name} ({columns}) SELECT * FROM unnest({arrays}) "
        f"ON CONFLICT DO NOTHING RETURNING {keys[0]}"
    )
    values = {name: [row[name] for row in rows] for name in names}
    return set(connection.exec_driver_sql(text, values).scalars())


def chunks(units: Sequence[str]) -> Iterator[Sequence[str]]:
    """The units in parts that fit one query."""
    return (units[first : first + CHUNK] for first in range(0, len(units), CHUNK))


def narrowed(query: Select[Any], column: ColumnElement[Any], units: Sequence[str]) -> Iterator[Select[Any]]:
    """The query for these units only: by name where they are few, else for everybody at once."""
    if len(units) > 4 * CHUNK:
        yield query
        return
    for chunk in chunks(units):
        yield query.where(column.in_(chunk))


def aligned(unit_ids: Sequence[str], rows: list[tuple[str, int, int]]) -> tuple[Ints, Ints]:
    """Counts per unit, in the order of the units; 0 where there is no row."""
    if not rows:
        return np.zeros(len(unit_ids), dtype=np.int64), np.zeros(len(unit_ids), dtype=np.int64)
    counted: dict[str, tuple[int, int]] = {}
    for unit, day, week in rows:  # a unit asked for twice may come twice
        counted[unit] = (day, week)
    positions = pc.index_in(pa.array(unit_ids, pa.string()), value_set=pa.array(list(counted), pa.string()))
    place = pc.fill_null(positions, -1).to_numpy(zero_copy_only=False)
    counts = np.array([*counted.values(), (0, 0)], dtype=np.int64)  # −1 is the last row: nothing
    return counts[place, 0], counts[place, 1]


def repeated(ids: Sequence[str], new: set[str]) -> tuple[str, ...]:
    """The ids that did not make a new row: known before, or a second time in this batch."""
    left = set(new)
    again = []
    for one in ids:
        if one in left:
            left.discard(one)
        else:
            again.append(one)
    return tuple(again)


def on_days(table: Table, first: date, last: date, zone: tzinfo) -> ColumnElement[bool]:
    """A decision's day is its run's, else the shop-local day it was made on."""
    begins = datetime.combine(first, time(), zone)
    ends = datetime.combine(last + timedelta(days=1), time(), zone)
    return or_(
        and_(table.c.run_on >= first.isoformat(), table.c.run_on <= last.isoformat()),
        and_(
            table.c.run_on.is_(None),
            table.c.at >= schema.to_micros(begins),
            table.c.at < schema.to_micros(ends),
        ),
    )


def run_of(table: Table) -> ColumnElement[str]:
    """What tells the messages of one campaign to one unit apart: the run, of which a message and what experiments
    held back of it are parts; without a run the decision itself."""
    return func.coalesce(table.c.run_on, table.c.decision_id)


def by_bytes(engine: Engine, *columns: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """The columns to order by so that texts come in the same order on every database: that of their bytes."""
    if engine.dialect.name != "postgresql":
        return list(columns)
    return [column.collate("C") if column.type.python_type is str else column for column in columns]


def aware(moment: datetime) -> datetime:
    """The moment with its zone; without one it is UTC."""
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def pull(engine: Engine, query: Select[Any]) -> pa.Table:
    """The rows of a query as Arrow columns, fetched a part at a time."""
    arrow = pa.schema([(column.name, arrow_type(column)) for column in query.selected_columns])
    with database.reading(engine) as connection:
        result = connection.execution_options(yield_per=PULL).execute(query)
        batches = [
            pa.record_batch(
                [pa.array(values, kind) for values, kind in zip(columns, arrow.types, strict=True)],
                schema=arrow,
            )
            for columns in (tuple(zip(*rows, strict=True)) for rows in result.partitions())
        ]
    return pa.Table.from_batches(batches, schema=arrow)


def left_behind(
    seen: Sequence[tuple[str, str, datetime]], bought: frozenset[str], now: datetime
) -> tuple[tuple[str, bool, float], ...]:
    """What was looked at or carted and not bought since: (product, still in the cart, hours ago), newest first.

    Parameters
    ----------
    seen : (product, event type, moment), newest first
    bought : products bought in that time; bought and looked at again is not left behind
    """
    last: dict[str, float] = {}
    cart: dict[str, bool] = {}
    for product, kind, at in seen:
        if kind != "detail-page-view":  # the newest word about the cart counts
            cart.setdefault(product, kind == "add-to-cart")
        last.setdefault(product, (now - at).total_seconds() / 3600)
    return tuple(
        (product, cart.get(product, False), hours) for product, hours in last.items() if product not in bought
    )
