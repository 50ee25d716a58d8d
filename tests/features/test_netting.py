"""Returns against purchases: the SQL must do what a stack of purchases, popped by returns, would do."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import sql_text

START = datetime.fromisoformat("2026-01-01")
UNITS = st.integers(-6, 6).map(lambda halves: Decimal(halves) / 2)
LINES = st.lists(
    st.tuples(st.integers(-2, 1), st.integers(0, 1), st.integers(0, 4), UNITS, st.integers(0, 999)),
    max_size=25,
)
Drawn = list[tuple[int, int, int, Decimal, int]]


def netted(folder: Path, lines: Drawn) -> list[tuple[int, int, Decimal, int]]:
    """What net_lines.sql makes of (party, product, hour, quantity, revenue); the order row is the line."""
    party, product, hour, quantity, revenue = zip(*lines, strict=True) if lines else ((),) * 5
    table = {
        "row": pa.array(range(len(lines)), pa.int64()),
        "party": pa.array(party, pa.int32()),
        "order_row": pa.array(range(len(lines)), pa.int32()),
        "product_row": pa.array(product, pa.int32()),
        "ordered_at": pa.array([START + timedelta(hours=h) for h in hour], pa.timestamp("us")),
        "quantity": pa.array(quantity, pa.decimal128(18, 3)),
        "revenue": pa.array(revenue, pa.int64()),
    }
    pq.write_table(pa.table(table), folder / "lines.parquet")
    with DuckDBEngine(EngineSettings(threads=1), folder) as engine:
        engine.tables(folder)
        engine.sql(sql_text("net_lines"), {}, folder / "net" / "net_lines.parquet")
        net = engine.arrow("SELECT party, product_row, order_row, quantity, revenue FROM net_lines")
    return sorted(
        (row["order_row"], row["party"], row["quantity"], row["revenue"]) for row in net.to_pylist()
    )


def by_stack(lines: Drawn) -> list[tuple[int, int, Decimal, int]]:
    """The same, one line after the other."""
    stacks: dict[tuple[int, int], list[list[object]]] = {}
    for at in sorted(range(len(lines)), key=lambda i: (lines[i][2], i)):
        party, product, _, quantity, _ = lines[at]
        stack = stacks.setdefault((party, product), [])
        if quantity > 0:
            stack.append([at, quantity])
        while quantity < 0 and stack:
            taken = min(-quantity, stack[-1][1])
            quantity += taken
            stack[-1][1] -= taken
            if stack[-1][1] == 0:
                stack.pop()
    kept = [(at, left) for stack in stacks.values() for at, left in stack]
    return sorted((at, lines[at][0], left, half_up(lines[at][4] * left / lines[at][3])) for at, left in kept)


def half_up(amount: Decimal) -> int:
    return int(amount + Decimal("0.5"))


@settings(max_examples=40, deadline=None)
@given(lines=LINES)
def test_net_lines_are_what_a_stack_of_purchases_keeps(
    tmp_path_factory: pytest.TempPathFactory, lines: Drawn
) -> None:
    folder = tmp_path_factory.mktemp("net")
    (folder / "net").mkdir()

    assert netted(folder, lines) == by_stack(lines)
