"""Sources of other packages, by the scheme of their URL; and the contract of sources."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.plugins.conftest import Install

from nextoffer.config import Settings, Source, parse_settings
from nextoffer.errors import PluginError, SourceError
from nextoffer.plugins import SOURCES_GROUP, open_source
from nextoffer.sources.files import Origin
from nextoffer.sources.load import load_history
from nextoffer.sources.opening import open_batches, open_built_in
from nextoffer.testing import check_source

LINES = {
    "order_id": ["1", "2", "2"],
    "customer_id": ["7", "8", "8"],
    "product_id": ["A", "A", "B"],
    "quantity": ["1", "2", "1"],
    "unit_price": ["9.99", "9.50", "3.00"],
    "ordered_at": ["2026-03-01", "2026-03-02", "2026-03-02"],
}
ERP = """
import pyarrow as pa
from nextoffer.sources.opening import open_batches

LINES = {lines}

def open_erp(source, scratch):
    table = pa.table(LINES)
    {first}
    return open_batches("the ERP", table.to_reader(max_chunksize=2), scratch)
"""


def erp(install: Install, first: str = "pass") -> None:
    install(ERP.format(lines=LINES, first=first), {SOURCES_GROUP: {"myerp": "stranger:open_erp"}})


def settings_of(url: str, folder: Path) -> Settings:
    document = {"currency": "EUR", "history": {"orders": {"url": url, "query": "every line"}}}
    return parse_settings(document, "test", folder)


def test_a_strangers_source_is_read_and_checked_like_our_own(install: Install, tmp_path: Path) -> None:
    erp(install)

    history = load_history(settings_of("myerp://host/shop", tmp_path), tmp_path / "out", None, open_source)

    orders = duckdb.sql(
        f"SELECT order_id, row FROM '{history.folder}/orders.parquet' ORDER BY row"
    ).fetchall()
    assert orders == [("1", 1), ("2", 2), ("2", 3)]
    assert history.reports["orders"].accepted == 3


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("raise KeyError('token')", "it raised KeyError: 'token'"),
        ("return table", "it returned Table, not an Origin"),
    ],
)
def test_a_strangers_source_that_fails_is_named(
    install: Install, tmp_path: Path, first: str, fault: str
) -> None:
    erp(install, first)

    with pytest.raises(PluginError, match=f"'myerp' .*'stranger' is refused: {fault}"):
        open_source(Source(url="myerp://host", query="-"), tmp_path)


def test_what_a_source_says_of_the_shops_input_is_passed_on(install: Install, tmp_path: Path) -> None:
    erp(install, "from nextoffer.errors import SourceError; raise SourceError('the ERP is asleep')")

    with pytest.raises(SourceError, match=r"^the ERP is asleep$"):
        open_source(Source(url="myerp://host", query="-"), tmp_path)


def test_files_and_databases_keep_the_contract(tmp_path: Path) -> None:
    table = pa.table(LINES)
    pq.write_table(table, tmp_path / "lines.parquet")
    pa.csv.write_csv(table, tmp_path / "lines.csv")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as db, db:
        db.execute(f"CREATE TABLE lines ({', '.join(f'{name} TEXT' for name in LINES)})")
        db.executemany("INSERT INTO lines VALUES (?, ?, ?, ?, ?, ?)", list(zip(*LINES.values(), strict=True)))

    for source in (
        Source(path=str(tmp_path / "lines.parquet")),
        Source(path=str(tmp_path / "lines.csv")),
        Source(url=f"sqlite:///{tmp_path}/shop.db", query="SELECT * FROM lines"),
    ):
        check_source(open_built_in, source)


def test_each_way_to_break_the_contract_is_noticed(tmp_path: Path) -> None:
    turns: list[int] = []

    def good(source: Source, scratch: Path) -> Origin:
        return open_batches("lines", pa.table(LINES).to_reader(), scratch)

    def restless(source: Source, scratch: Path) -> Origin:
        turns.append(1)
        return open_batches("lines", pa.table(LINES).slice(len(turns) % 2).to_reader(), scratch)

    def empty(source: Source, scratch: Path) -> Origin:
        return open_batches("lines", pa.table(LINES).slice(3).to_reader(), scratch)

    def boastful(source: Source, scratch: Path) -> Origin:
        origin = good(source, scratch)
        return replace(origin, stage=lambda names: replace(origin.stage(names), read=9))

    def unnumbered(source: Source, scratch: Path) -> Origin:
        origin = good(source, scratch)

        def stage(names: list[str]) -> object:
            staged = origin.stage(names)
            return replace(staged, sql=f"SELECT 1 AS row, * EXCLUDE (row) FROM ({staged.sql})")

        return replace(origin, stage=stage)  # type: ignore[arg-type]

    def nonsense(source: Source, scratch: Path) -> Origin:
        table = pa.table({**LINES, "quantity": ["many", "few", "none"]})
        return open_batches("lines", table.to_reader(), scratch)

    check_source(good, Source(path="-"))
    for opener, sentence in {
        restless: "other rows when opened again",
        empty: "it has no row",
        boastful: "says it has 9 rows, and has 3",
        unnumbered: "does not number its rows",
        nonsense: "its rows cannot be read as orders",
    }.items():
        with pytest.raises(AssertionError, match=sentence):
            check_source(opener, Source(path="-"))
