"""The shop's tables, read and checked once: canonical Parquet, rejects, and a report of every row.

A table passes through four SQL views, each over the one before, so that nothing larger than memory is held:
cells (numbered, trimmed) -> values (parsed) -> judged (first rule that a row breaks) -> the Parquet file.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from nextoffer.config import Settings, Source
from nextoffer.domain.events import ALIASES
from nextoffer.domain.history import History, TableReport
from nextoffer.domain.tables import TABLES, Column, Table
from nextoffer.errors import BadColumnError, EmptyTableError, SourceError, TooManyRejectsError
from nextoffer.sources import cells, checks, warn, write
from nextoffer.sources.checks import Rule
from nextoffer.sources.files import Origin, Staged, name_of, quoted
from nextoffer.sources.mapping import PRODUCT_EXTRAS, mapping_of
from nextoffer.sources.opening import Opener, open_built_in
from nextoffer.texts import said

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

# Said once for an order, wherever it is said.
OF_THE_ORDER = ("customer_id", "ordered_at", "status")
Progress = Callable[[str], None]
# Products first: their costs complete the lines. Orders next: a fault there matters most.
ORDER = ("products", "orders", "customers", "interactions", "subscriptions", "surveys")


@dataclass(frozen=True, slots=True)
class Judged:
    """One table, parsed and judged: the view `judged_<table>` and what is to be said about it."""

    table: Table
    origin: Origin
    staged: Staged
    mapping: dict[str, str]
    rules: tuple[Rule, ...]
    notes: tuple[str, ...]


def load_history(
    settings: Settings,
    folder: Path,
    progress: Progress | None = None,
    open_source: Opener = open_built_in,
) -> History:
    """Read every configured table, check it once, and write canonical Parquet and `rejects.parquet`.

    Parameters
    ----------
    folder : where `orders.parquet`, `products.parquet`, … go; made if absent
    progress : told in a few words what is being read
    open_source : opens each table; `plugins.open_source` knows sources of other packages too

    Raises
    ------
    SourceError : a file or column is missing or wrong, a table is empty, or too many rows are bad: their list is
        then in `rejects.parquet` of the work folder, or of `folder` where there is none.
    ConfigError : the mapping has faults, all listed at once.
    """
    with _connection(settings, folder) as (con, scratch):
        return _load_tables(con, settings, folder, scratch, progress or (lambda _: None), open_source)


def load_table(
    settings: Settings, name: str, folder: Path, open_source: Opener = open_built_in
) -> TableReport:
    """Read and check one configured table alone, as `load_history` would, into `folder`."""
    with _connection(settings, folder) as (con, scratch):
        source = getattr(settings.history, name)
        return _load_one(con, name, source, open_source(source, scratch), settings, folder)[1]


@contextmanager
def _connection(settings: Settings, folder: Path) -> Iterator[tuple[DuckDBPyConnection, Path]]:
    """A DuckDB of its own with the macros of this stage, and scratch space that is gone afterwards."""
    import duckdb

    scratch = (settings.engine.temp_directory or folder) / ".scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with duckdb.connect(config=_engine(settings, scratch)) as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute(cells.MACROS)
            con.execute(
                'CREATE TABLE rejects ("table" VARCHAR, "row" BIGINT, rule VARCHAR, "column" VARCHAR, '
                "value VARCHAR)"
            )
            yield con, scratch
    except (duckdb.IOException, duckdb.InvalidInputException, duckdb.OutOfMemoryException) as error:
        raise SourceError(f"the history cannot be read: {str(error).strip().splitlines()[0]}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _load_one(
    con: DuckDBPyConnection, name: str, source: Source, origin: Origin, settings: Settings, folder: Path
) -> tuple[Judged, TableReport]:
    newest = _newest(con, folder) if name == "customers" else None
    judged = _judge(con, TABLES[name], source, origin, settings, newest)
    report = _count(con, judged, settings, folder)
    mapped = frozenset(judged.mapping)
    return judged, write.accepted(con, judged.table, mapped, settings, folder / f"{name}.parquet", report)


def _engine(settings: Settings, scratch: Path) -> dict[str, str | int | bool]:
    """DuckDB settings: nothing is downloaded, and the present time zone of the machine plays no part."""
    config: dict[str, str | int | bool] = {
        "temp_directory": str(scratch / "spill"),
        "autoinstall_known_extensions": False,
    }
    if settings.engine.memory_limit:
        config["memory_limit"] = settings.engine.memory_limit
    if settings.engine.threads:
        config["threads"] = settings.engine.threads
    return config


def _load_tables(
    con: DuckDBPyConnection,
    settings: Settings,
    folder: Path,
    scratch: Path,
    say: Progress,
    open_source: Opener,
) -> History:
    sources = {name: getattr(settings.history, name) for name in ORDER}
    reports: dict[str, TableReport] = {}
    notes: list[str] = []
    judged_orders: Judged | None = None
    for name in ORDER:
        target = folder / f"{name}.parquet"
        source = sources[name]
        if source is None:
            write.empty(con, TABLES[name], target)
            continue
        say(f"{name}: reading {source.path or 'the database'}")
        origin = open_source(source, _room(scratch, name))
        judged, reports[name] = _load_one(con, name, source, origin, settings, folder)
        say(f"{name}: {reports[name].read:,} rows read, {reports[name].accepted:,} accepted")
        notes += [said("{table}.{note}", table=name, note=note) for note in judged.notes]
        judged_orders = judged if name == "orders" else judged_orders
    extras = [name for name in PRODUCT_EXTRAS if judged_orders and name in judged_orders.mapping]
    given = frozenset(name for name, source in sources.items() if source is not None)
    say("products: one row for each product sold")
    write.complete_products(con, folder, extras, "products" in given)
    rejects = _write_rejects(con, folder)
    first, last = _span(con, folder)
    history = History(folder, settings.currency, reports, given, first, last, rejects)
    return replace(history, warnings=(*notes, *warn.warnings_of(con, history)))


def _room(scratch: Path, name: str) -> Path:
    room = scratch / name
    room.mkdir()
    return room


def _judge(
    con: DuckDBPyConnection,
    table: Table,
    source: Source,
    origin: Origin,
    settings: Settings,
    newest: date | None,
) -> Judged:
    """Make the views cells_, values_ and judged_<table>."""
    mapping = mapping_of(table, source, origin)
    staged = origin.stage(list(dict.fromkeys(mapping.values())))
    if staged.read == 0:
        raise EmptyTableError(f"{table.name}: {origin.name} has no row; it needs one per {table.per_row}")
    raw = f"cells_{table.name}"
    kinds = _make_cells(con, raw, staged, mapping)
    if table.name == "orders" and origin.delimiter is not None:
        raw = _carry_down(con, raw, mapping)
    columns = {f"raw_{name}": (_column(table, name), kinds[f"raw_{name}"]) for name in mapping}
    reading = cells.decide(con, raw, columns, source, origin.delimiter, settings.timezone)
    values = []
    for cell, (column, kind) in columns.items():
        parsed = cells.value(column, cell, kind, reading, settings.currency, settings.timezone)
        values.append(f"{_canonical(table, column, parsed)} AS {column.name}")
        if column.type in ("price", "quantity", "money"):
            size = cells.value(replace(column, type="number"), cell, kind, reading, settings.currency, "UTC")
            values.append(f"{size} AS size_{column.name}")
    con.execute(f"CREATE VIEW values_{table.name} AS SELECT *, {', '.join(values)} FROM {raw}")
    rules = checks.rules_of(table, frozenset(mapping), settings.exclude_products, newest)
    con.execute(
        f"CREATE VIEW judged_{table.name} AS SELECT *, {checks.verdict(rules)} AS verdict "
        f"FROM values_{table.name}"
    )
    return Judged(table, origin, staged, mapping, rules, reading.notes)


def _carry_down(con: DuckDBPyConnection, view: str, mapping: dict[str, str]) -> str:
    """Some CSV exports fill the cells of an order on its first line only: its other lines get them too."""
    once = [name for name in OF_THE_ORDER if name in mapping]
    if not once or "order_id" not in mapping:
        return view
    mixed = ", ".join(f"bool_or(some_{name} BETWEEN 1 AND lines - 1)" for name in once)
    counts = ", ".join(f"count(raw_{name}) AS some_{name}" for name in once)
    orders = (
        f"SELECT count(*) AS lines, {counts} FROM {view} WHERE raw_order_id IS NOT NULL GROUP BY raw_order_id"
    )
    found = con.execute(f"SELECT {mixed} FROM ({orders})").fetchall()[0]
    carried = [name for name, some in zip(once, found, strict=True) if some]
    if carried in ([], ["customer_id"]):  # a guest line in an order otherwise whole stays a guest's
        return view
    filled = ", ".join(
        f"CASE WHEN raw_order_id IS NULL THEN raw_{name} ELSE "
        f"coalesce(raw_{name}, max(raw_{name}) OVER (PARTITION BY raw_order_id)) END AS raw_{name}"
        for name in carried
    )
    con.execute(f"CREATE VIEW whole_{view} AS SELECT * REPLACE ({filled}) FROM {view}")
    return f"whole_{view}"


def _column(table: Table, name: str) -> Column:
    return table.column(name) or Column(name, "text", "describes the product")


def _canonical(table: Table, column: Column, parsed: str) -> str:
    """Events under their canonical names."""
    if (table.name, column.name) != ("interactions", "event"):
        return parsed
    cases = " ".join(f"WHEN '{alias}' THEN '{name}'" for alias, name in ALIASES.items())
    return f"CASE {parsed} {cases} ELSE {parsed} END"


def _make_cells(
    con: DuckDBPyConnection, view: str, staged: Staged, mapping: dict[str, str]
) -> dict[str, str]:
    """The view of trimmed cells `raw_<column>`, and the SQL type of each."""
    described = con.execute(f"DESCRIBE {staged.sql}").fetchall()
    kinds = {str(name): str(kind) for name, kind, *_ in described}
    texts = [name_of(column) for column in dict.fromkeys(mapping.values()) if kinds[column] == "VARCHAR"]
    clean = cells.clean_texts(con, staged.sql, texts)
    listed = ", ".join(
        f"{cells.filled(name_of(column), kinds[column], name_of(column) in clean)} AS raw_{name}"
        for name, column in mapping.items()
    )
    con.execute(f"CREATE VIEW {view} AS SELECT row, {listed} FROM ({staged.sql})")
    return {str(name): str(kind) for name, kind, *_ in con.execute(f"DESCRIBE {view}").fetchall()}


def _count(con: DuckDBPyConnection, judged: Judged, settings: Settings, folder: Path) -> TableReport:
    """Collect what is left out, row by row; refuse a table that is mostly wrong."""
    name, rules = judged.table.name, judged.rules
    values = " ".join(
        f"WHEN {place} THEN CAST(raw_{rule.column} AS VARCHAR)"
        for place, rule in enumerate(rules)
        if rule.column in judged.mapping
    )
    value = f"CASE verdict {values} END" if values else "NULL"
    con.execute(
        f"CREATE TABLE faulty_{name} AS SELECT row, verdict, {value} AS value FROM judged_{name} "
        "WHERE verdict IS NOT NULL"
    )
    found = dict(con.execute(f"SELECT verdict, count(*) FROM faulty_{name} GROUP BY 1").fetchall())
    counts = {place: int(found.get(place, 0)) for place in range(len(rules))}
    rejected = {rules[place].code: count for place, count in counts.items() if count and rules[place].rejects}
    excluded = {
        rules[place].code: count for place, count in counts.items() if count and not rules[place].rejects
    }
    _keep_rejects(con, judged, rejected)
    report = TableReport(
        read=judged.staged.read,
        accepted=judged.staged.read - sum(rejected.values()) - sum(excluded.values()),
        rejected=sum(rejected.values()),
        excluded=sum(excluded.values()),
        rejected_by_rule=rejected,
        excluded_by_rule=excluded,
    )
    _refuse_wrong_type(con, judged, report)
    if report.rejected > settings.max_reject_share * report.read:
        # the job's own folder goes with the job
        lasting = settings.work_dir if settings.work_dir.is_dir() else folder
        listed = _write_rejects(con, lasting)
        raise TooManyRejectsError(_too_many(con, judged, report, settings, listed))
    if name == "orders" and report.accepted == 0:
        raise EmptyTableError(f"orders: {judged.origin.name} has {report.read:,} rows, all of them excluded")
    return report


def _keep_rejects(con: DuckDBPyConnection, judged: Judged, rejected: dict[str, int]) -> None:
    name = judged.table.name
    for place, rule in enumerate(judged.rules):
        if rule.code in rejected:
            con.execute(
                f"INSERT INTO rejects SELECT ?, row, ?, ?, value FROM faulty_{name} WHERE verdict = {place}",
                [name, rule.code, rule.column],
            )
    if judged.staged.malformed:
        import pyarrow as pa

        rows, texts = zip(*judged.staged.malformed, strict=True)
        malformed = pa.table({"row": pa.array(rows, pa.int64()), "value": pa.array(texts, pa.string())})
        con.register("malformed", malformed)
        con.execute(
            f"INSERT INTO rejects SELECT ?, row, '{checks.MALFORMED}', '', value FROM malformed", [name]
        )
        con.unregister("malformed")
        rejected[checks.MALFORMED] = len(rows)


def _refuse_wrong_type(con: DuckDBPyConnection, judged: Judged, report: TableReport) -> None:
    """A column most of whose values cannot be read is the wrong column, not many bad rows."""
    for rule in judged.rules:
        count = report.rejected_by_rule.get(rule.code, 0)
        column = judged.table.column(rule.column)
        if not rule.code.startswith("unparsable-") or not column or 2 * count <= report.read:
            continue
        examples = con.execute(
            'SELECT "row", value FROM rejects WHERE "table" = ? AND rule = ? ORDER BY "row" LIMIT 3',
            [judged.table.name, rule.code],
        ).fetchall()
        wanted = f"{checks.expected(column)}, but it is mapped to the column {judged.mapping[rule.column]!r}"
        raise BadColumnError(judged.table.name, rule.column, wanted, dict(examples), count)


def _too_many(
    con: DuckDBPyConnection, judged: Judged, report: TableReport, settings: Settings, listed: Path
) -> str:
    name = judged.table.name
    lines = [
        f"{name}: {report.rejected:,} of {report.read:,} rows of {judged.origin.name} are bad "
        f"({report.rejected / report.read:.1%}); max_reject_share allows {settings.max_reject_share:.1%}."
    ]
    top = sorted(report.rejected_by_rule.items(), key=lambda item: (-item[1], item[0]))[:4]
    for code, count in top:
        row, column, value = con.execute(
            'SELECT "row", "column", value FROM rejects WHERE "table" = ? AND rule = ? '
            'ORDER BY "row" LIMIT 1',
            [name, code],
        ).fetchall()[0]
        what = f"{column} is {value!r}" if column else repr(value)
        lines.append(
            f"  - {count:,} × {code}; row {row}: {what if value is not None else f'{column} is empty'}"
        )
    lines.append(
        f"All of them are listed in {listed}. Mend the source or its mapping, or raise "
        f"max_reject_share in nextoffer.toml."
    )
    return "\n".join(lines)


def _write_rejects(con: DuckDBPyConnection, folder: Path) -> Path:
    path = folder / "rejects.parquet"
    order = 'ORDER BY "table", "row", rule'
    con.execute(f"COPY (SELECT * FROM rejects {order}) TO '{quoted(path)}' (FORMAT parquet)")
    return path


def _newest(con: DuckDBPyConnection, folder: Path) -> date | None:
    """Day of the newest order; None where customers are read alone (their birthdays were judged at night)."""
    return _span(con, folder)[1].date() if (folder / "orders.parquet").is_file() else None


def _span(con: DuckDBPyConnection, folder: Path) -> tuple[datetime, datetime]:
    orders = quoted(folder / "orders.parquet")
    first, last = con.execute(
        f"SELECT min(ordered_at), max(ordered_at) FROM read_parquet('{orders}')"
    ).fetchall()[0]
    return first.replace(tzinfo=UTC), last.replace(tzinfo=UTC)
