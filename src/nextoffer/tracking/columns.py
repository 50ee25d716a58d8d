"""Whole tables of the ledger as Arrow columns, in bounded memory and little time.

What a database's driver makes of a row, a tuple of Python objects, costs more than the row. So the database itself
packs a column of some thousand rows into one JSON array, which is decoded at once: on both databases three to ten
times as fast, and nothing has to be installed. Rows come a stretch of the table at a time, as they lie there, without
an index or a sort on the server; one read transaction spans them all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Engine, Table

from nextoffer.tracking import database
from nextoffer.tracking.database import Statements

_MOMENTS = frozenset(
    {"at", "assigned_at", "rolled_back_at", "valid_from", "valid_until", "registered_at", "received_at"}
)
_ROWS, _BLOCKS = 5_000, 64  # of one stretch, on SQLite and on PostgreSQL (8 KiB each)
_LARGE = 2**31 - 1  # bytes of text that the offsets of one Arrow array can reach


def arrow_type(column: ColumnElement[Any]) -> pa.DataType:
    """The Arrow type of a column of the ledger: moments are microseconds of UTC, without zone."""
    if column.name in _MOMENTS:
        return pa.timestamp("us")
    return pa.int64() if column.type.python_type is int else pa.string()


def schema_of(table: Table, names: Sequence[str]) -> pa.Schema:
    """The Arrow schema of some columns of a table."""
    return pa.schema([(name, arrow_type(table.c[name])) for name in names])


def stream(
    engine: Engine,
    table: Table,
    names: Sequence[str],
    where: str = "",
    values: Mapping[str, Any] | None = None,
) -> Iterator[pa.RecordBatch]:
    """Some columns of the rows for which a condition holds, in the order they lie there.

    Parameters
    ----------
    where : SQL both databases understand; parameters are written `:name`
    """
    arrow = schema_of(table, names)
    with database.snapshot(engine) as statements:
        packed, stretches = _plan(statements, table)
        columns = ", ".join(packed.format(name) for name in names)
        condition = f"AND ({where})" if where else ""
        for stretch, bounds in stretches:
            query = f"SELECT count(*), {columns} FROM {table.name} {stretch} {condition}"
            found = statements.one(query, {**(values or {}), **bounds})
            if found is not None and found[0]:
                yield pa.record_batch(
                    [
                        pa.array(orjson.loads(column), kind)
                        for column, kind in zip(found[1:], arrow.types, strict=True)
                    ],
                    schema=arrow,
                )


def whole(
    engine: Engine,
    table: Table,
    names: Sequence[str],
    where: str = "",
    values: Mapping[str, Any] | None = None,
    order: Sequence[str] = (),
) -> pa.Table:
    """The same as one table, sorted by some columns: texts by their bytes, whatever the database's language."""
    read = [*names, *(name for name in order if name not in names)]
    found = pa.Table.from_batches(stream(engine, table, read, where, values), schema_of(table, read))
    return in_order(found, order).select(list(names))


def in_order(table: pa.Table, by: Sequence[str]) -> pa.Table:
    """The table sorted by some columns, ascending."""
    if len(table) < 2 or not by:
        return table
    positions = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in by])
    return pa.table([_taken(column, positions) for column in table.columns], schema=table.schema)


def _taken(column: pa.ChunkedArray, positions: pa.Array) -> pa.ChunkedArray:
    """The values at some positions, also where all texts together are too long for one array."""
    if column.type != pa.string() or column.nbytes < _LARGE:
        return column.take(positions)
    large = column.cast(pa.large_string()).take(positions)
    parts = range(0, len(large), _ROWS)
    return pa.chunked_array(
        [chunk for first in parts for chunk in large.slice(first, _ROWS).cast(pa.string()).chunks]
    )


def _plan(statements: Statements, table: Table) -> tuple[str, Iterator[tuple[str, dict[str, Any]]]]:
    """How to pack a column, and the stretches of the table: a condition each, with its bounds."""
    if statements.locks_rows:  # PostgreSQL: its blocks
        size = statements.one("SELECT pg_relation_size(CAST(:name AS regclass)) / 8192", {"name": table.name})
        for way in (
            "indexscan",
            "bitmapscan",
        ):  # without statistics it would look everything up for each stretch
            statements.one(f"SET LOCAL enable_{way} = off")
        among = "WHERE ctid >= CAST(:first AS tid) AND ctid < CAST(:last AS tid)"
        blocks = range(0, int(size[0]) + 1 if size else 0, _BLOCKS)
        return 'CAST(json_agg("{}") AS text)', (
            (among, {"first": f"({first},0)", "last": f"({first + _BLOCKS},0)"}) for first in blocks
        )
    last = statements.one(f"SELECT max(rowid) FROM {table.name}")
    rows = range(0, int(last[0]) if last and last[0] else 0, _ROWS)
    return 'json_group_array("{}")', (
        ("NOT INDEXED WHERE rowid > :first AND rowid <= :last", {"first": first, "last": first + _ROWS})
        for first in rows
    )
