"""Canonical Parquet: accepted rows with exact amounts, and one row for every product."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from nextoffer.config import Settings
from nextoffer.domain.history import TableReport
from nextoffer.domain.money import minor_digits
from nextoffer.domain.tables import ORDERS, PRODUCTS, SQL_TYPES, Table
from nextoffer.sources.checks import SUPERSEDED
from nextoffer.sources.files import quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEYS = {"products": "product_id", "customers": "customer_id"}
_CONSENTS = ("consent_email", "consent_push", "consent_sms", "consent_ads")


def accepted(
    con: DuckDBPyConnection,
    table: Table,
    mapped: frozenset[str],
    settings: Settings,
    target: Path,
    report: TableReport,
) -> TableReport:
    """Write the good rows of `judged_<table>`; the report completed by what only shows now."""
    if table.name == "orders":
        _orders(con, mapped, settings, target)
        _put_in_order(con, target)
        return _orders_report(con, mapped, target, report)
    columns = ", ".join(_cell(table, column.name, mapped) for column in table.columns)
    rows = f"SELECT row, {columns} FROM judged_{table.name} WHERE verdict IS NULL"
    key = _KEYS.get(table.name)
    if key is None:
        _copy(con, f"SELECT * EXCLUDE (row) FROM ({rows}) ORDER BY row", target)
        return report
    last = f"SELECT {key}, max(row) AS row FROM ({rows}) GROUP BY {key}"
    _copy(con, f"SELECT * EXCLUDE (row) FROM ({rows}) SEMI JOIN ({last}) USING (row) ORDER BY {key}", target)
    kept = con.execute(f"SELECT count(*) FROM read_parquet('{quoted(target)}')").fetchall()[0][0]
    older = report.accepted - kept
    if not older:
        return report
    return replace(
        report,
        accepted=kept,
        excluded=report.excluded + older,
        excluded_by_rule={**report.excluded_by_rule, SUPERSEDED: older},
    )


def empty(con: DuckDBPyConnection, table: Table, target: Path) -> None:
    """A table the shop does not keep: all its columns, no row."""
    columns = ", ".join(
        f"CAST(NULL AS {SQL_TYPES[column.type]}) AS {column.name}" for column in table.columns
    )
    _copy(con, f"SELECT {columns} LIMIT 0", target)


def _cell(table: Table, name: str, mapped: frozenset[str]) -> str:
    column = table.column(name)
    kind = SQL_TYPES[column.type] if column else "VARCHAR"
    if name not in mapped:
        return f"CAST({'FALSE' if name in _CONSENTS else 'NULL'} AS {kind}) AS {name}"
    value = f"coalesce({name}, FALSE)" if name in _CONSENTS else name
    value = f"lower({value})" if (table.name, name) == ("surveys", "kind") else value
    return f"CAST({value} AS {kind}) AS {name}"


def _copy(con: DuckDBPyConnection, query: str, target: Path) -> None:
    con.execute(f"COPY ({query}) TO '{quoted(target)}' (FORMAT parquet)")


def _orders(con: DuckDBPyConnection, mapped: frozenset[str], settings: Settings, target: Path) -> None:
    """Lines with `revenue` and `cost` in whole minor units, ties of rounding away from zero.

    An order's discount is shared over its positive lines by cumulative rounding: shares sum to it exactly.
    """
    scale = 10 ** minor_digits(settings.currency)
    columns = ", ".join(_cell(ORDERS, column.name, mapped) for column in ORDERS.columns)
    amount = (
        f"TRY_CAST(CAST(quantity AS DECIMAL(12,3)) * CAST({{}} AS DECIMAL(13,4)) * "
        f"CAST({scale} AS DECIMAL(4,0)) AS BIGINT)"
    )
    discount = f"coalesce({_or_null('line_discount', mapped)}, 0)"
    lines = f"SELECT {columns}, row, {amount.format('unit_price')} - {discount} AS net FROM judged_orders"
    lines = f"{lines} WHERE verdict IS NULL"
    share = "0"
    if "order_discount" in mapped:
        share = "coalesce(sign(discount) * ((2 * abs(discount) * upto + total) // (2 * total) "
        share += "- (2 * abs(discount) * (upto - weight) + total) // (2 * total)), 0)"
        lines = (
            "SELECT *, sum(weight) OVER (PARTITION BY order_id ORDER BY weight, product_id, row) AS upto, "
            "nullif(sum(weight) OVER (PARTITION BY order_id), 0) AS total, "
            "max_by(order_discount, abs(order_discount)) OVER (PARTITION BY order_id) AS discount FROM ("
            f"SELECT *, CAST(CASE WHEN quantity > 0 AND net > 0 THEN net ELSE 0 END AS HUGEINT) AS weight "
            f"FROM ({lines}))"
        )
    cost, join = "line.unit_cost", ""
    if settings.history.products is not None:
        products = quoted(target.parent / "products.parquet")
        costs = f"SELECT product_id, unit_cost AS cost FROM read_parquet('{products}')"
        join = f"LEFT JOIN ({costs}) USING (product_id)"
        cost = "coalesce(line.unit_cost, cost)"
    names = ", ".join(f"line.{column.name}" for column in ORDERS.columns)
    order = "ORDER BY row" if join or "order_discount" in mapped else ""
    _copy(
        con,
        f"SELECT {names}, row, CAST(net - {share} AS BIGINT) AS revenue, {amount.format(cost)} AS cost "
        f"FROM ({lines}) AS line {join} {order}",
        target,
    )


def _put_in_order(con: DuckDBPyConnection, target: Path) -> None:
    """Sort the file by row if threads wrote it out of turn (seen rarely, with several input files)."""
    last = 0
    with pq.ParquetFile(target) as file:
        for batch in file.iter_batches(batch_size=1 << 20, columns=["row"]):
            rows = batch.column(0).to_numpy()
            if rows[0] < last or (np.diff(rows) < 0).any():
                break
            last = rows[-1]
        else:
            return
    sorted_ = target.with_suffix(".sorted")
    _copy(con, f"SELECT * FROM read_parquet('{quoted(target)}') ORDER BY row", sorted_)
    sorted_.replace(target)


def _or_null(name: str, mapped: frozenset[str]) -> str:
    return name if name in mapped else "NULL"


def _orders_report(
    con: DuckDBPyConnection, mapped: frozenset[str], target: Path, report: TableReport
) -> TableReport:
    """Guests, and lines that repeat another exactly."""
    columns = ", ".join(column.name for column in ORDERS.columns if column.name in mapped)
    guests, kinds = con.execute(
        f"SELECT count(*) FILTER (customer_id IS NULL), count(DISTINCT hash({columns})) "
        f"FROM read_parquet('{quoted(target)}')"
    ).fetchall()[0]
    return replace(report, guests=guests, duplicates=report.accepted - kinds)


def complete_products(con: DuckDBPyConnection, folder: Path, extras: list[str], given: bool) -> None:
    """Rewrite products.parquet with one row per product that is given or was sold, sorted by id.

    A product sold but not in a given table is hidden: it trains, and is never recommended.
    """
    target, orders = folder / "products.parquet", quoted(folder / "orders.parquet")
    named = _names(con, extras)
    # The last line by second and row, packed in one number; any purchase comes after any return.
    order = "(CAST(epoch(ordered_at) AS BIGINT) << 30) + row % (1 << 30)"
    order = f"CASE WHEN quantity > 0 THEN {order} ELSE {order} - 9000000000000000000 END"
    con.execute(
        f"CREATE TABLE sold AS SELECT product_id, arg_max(unit_price, {order}) AS last_price "
        f"FROM read_parquet('{orders}') GROUP BY 1"
    )
    con.execute(f"CREATE TABLE known AS SELECT *, TRUE AS known FROM read_parquet('{quoted(target)}')")
    cells = {
        "title": f"coalesce(title, {_named('title', extras)}, product_id)",
        "price": "coalesce(price, last_price)",
        "hidden": f"CASE WHEN known IS NULL THEN {'TRUE' if given else 'NULL'} ELSE hidden END",
        **{name: f"coalesce({name}, {_named(name, extras)})" for name in PRODUCT_TEXTS},
    }
    listed = ", ".join(
        f"CAST({cells.get(column.name, column.name)} AS {SQL_TYPES[column.type]}) AS {column.name}"
        for column in PRODUCTS.columns
    )
    _copy(
        con,
        f"SELECT {listed} FROM known FULL JOIN sold USING (product_id) {named} ORDER BY product_id",
        target,
    )


PRODUCT_TEXTS = ("category", "brand", "url", "image_url")


def _named(name: str, extras: list[str]) -> str:
    return f"named_{name}" if name in extras else "NULL"


def _names(con: DuckDBPyConnection, extras: list[str]) -> str:
    """Joins that bring the most frequent text of each product's lines; ties go to the first by value."""
    joins = []
    for name in extras:
        con.execute(
            f"CREATE TABLE named_by_{name} AS SELECT product_id, "
            f"arg_min({name}, (-n, {name})) AS named_{name} FROM ("
            f"SELECT product_id, {name}, count(*) AS n FROM judged_orders "
            f"WHERE verdict IS NULL AND {name} IS NOT NULL GROUP BY 1, 2) GROUP BY 1"
        )
        joins.append(f"LEFT JOIN named_by_{name} USING (product_id)")
    return " ".join(joins)
