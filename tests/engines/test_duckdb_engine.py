"""The DuckDB engine keeps the promises of the seam."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import floor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.engines.engine import Engine
from nextoffer.errors import MissingFileError


def test_tables_of_a_folder_and_results_are_readable_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2, 3]}), tmp_path / "numbers.parquet")
    with DuckDBEngine(EngineSettings(), tmp_path / "scratch") as duck:
        engine: Engine = duck
        engine.tables(tmp_path)
        engine.sql(
            "SELECT a * 2 AS b FROM numbers WHERE a >= $least", {"least": 2}, tmp_path / "twice.parquet"
        )
        engine.sql("SELECT SUM(b) AS total FROM twice", {}, tmp_path / "total.parquet")

        assert engine.arrow("SELECT CAST(total AS BIGINT) AS total FROM total").to_pydict() == {"total": [10]}


def test_a_result_is_parquet_in_zstd_in_the_order_asked_for(tmp_path: Path) -> None:
    with DuckDBEngine(EngineSettings(threads=2), tmp_path) as engine:
        text = "SELECT i FROM range(500000) t(i) ORDER BY i % 1000, i -- the last word\n;"
        engine.sql(text, {}, tmp_path / "ordered.parquet")

    written = pq.read_table(tmp_path / "ordered.parquet")["i"].to_pylist()
    assert written == sorted(range(500_000), key=lambda i: (i % 1000, i))
    chunk = pq.read_metadata(tmp_path / "ordered.parquet").row_group(0).column(0)
    assert chunk.compression == "ZSTD"


def test_parameters_a_text_does_not_name_are_ignored_even_in_comments(tmp_path: Path) -> None:
    with DuckDBEngine(EngineSettings(), tmp_path) as engine:
        engine.sql("SELECT $a AS a -- not $b", {"a": 1, "b": 2}, tmp_path / "x.parquet")

        assert engine.arrow("SELECT a FROM x").to_pydict() == {"a": [1]}


def test_a_result_may_replace_an_earlier_one_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with DuckDBEngine(EngineSettings(), tmp_path) as engine:
        engine.sql("SELECT 1 AS a", {}, tmp_path / "x.parquet")
        engine.sql("SELECT 2 AS a, 3 AS b", {}, tmp_path / "other" / "x.parquet")

        assert engine.arrow("SELECT * FROM x").to_pydict() == {"a": [2], "b": [3]}


def test_paths_and_names_with_quotes_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "it's"
    folder.mkdir()
    pq.write_table(pa.table({"a": [1]}), folder / 'odd "name.parquet')
    with DuckDBEngine(EngineSettings(temp_directory=folder / "spill"), tmp_path) as engine:
        engine.tables(folder)

        assert engine.arrow('SELECT a FROM "odd ""name"').num_rows == 1


def test_a_folder_without_tables_is_named(tmp_path: Path) -> None:
    with DuckDBEngine(EngineSettings(), tmp_path) as engine, pytest.raises(MissingFileError, match="nowhere"):
        engine.tables(tmp_path / "nowhere")


def test_settings_reach_the_engine_and_spill_goes_to_the_scratch_folder(tmp_path: Path) -> None:
    settings = EngineSettings(memory_limit="512MiB", threads=1)
    with DuckDBEngine(settings, tmp_path / "scratch") as engine:
        names = ("threads", "memory_limit", "temp_directory")
        query = "SELECT " + ", ".join(
            f"CAST(current_setting('{name}') AS VARCHAR) AS {name}" for name in names
        )
        got = engine.arrow(query).to_pylist()[0]

    assert got == {
        "threads": "1",
        "memory_limit": "512.0 MiB",
        "temp_directory": str(tmp_path / "scratch" / "spill"),
    }


MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - naive UTC is the contract


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(MOMENTS, MOMENTS), min_size=1, max_size=20))
def test_the_prelude_counts_whole_days_rounded_down_and_seconds(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[datetime, datetime]]
) -> None:
    folder = tmp_path_factory.mktemp("prelude")
    pq.write_table(
        pa.table({"a": [a for a, _ in spans], "b": [b for _, b in spans]}), folder / "spans.parquet"
    )
    with DuckDBEngine(EngineSettings(threads=1), folder) as engine:
        engine.tables(folder)
        got = engine.arrow("SELECT days_between(a, b) AS days, secs(a, b) AS seconds FROM spans")

    assert got["days"].to_pylist() == [floor((b - a) / timedelta(days=1)) for a, b in spans]
    assert got["seconds"].to_pylist() == pytest.approx([(b - a).total_seconds() for a, b in spans])
    assert got["days"].type == pa.int32()
