"""Small canonical folders, and the features built from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import build_features
from nextoffer.features.interactions import Features

START = datetime.fromisoformat("2026-01-01")


@dataclass(frozen=True, slots=True)
class Line:
    """One order line; `at` is naive UTC, `revenue` minor units."""

    order_id: str
    customer_id: str | None
    product_id: str
    at: datetime
    quantity: Decimal = Decimal(1)
    revenue: int = 100


def line(
    order_id: str, customer_id: str | None, product_id: str, at: str, quantity: float = 1, revenue: int = 100
) -> Line:
    """A line with its moment as ISO text and its quantity as a number."""
    moment = datetime.fromisoformat(at).replace(tzinfo=None)
    return Line(order_id, customer_id, product_id, moment, Decimal(str(quantity)), revenue)


def write(folder: Path, lines: Sequence[Line], products: Sequence[str] = (), row_group: int = 50) -> Path:
    """A canonical folder; products that no line names are in the range, too."""
    folder.mkdir(parents=True, exist_ok=True)
    orders = pa.table(
        {
            "order_id": pa.array([a.order_id for a in lines], pa.string()),
            "customer_id": pa.array([a.customer_id for a in lines], pa.string()),
            "product_id": pa.array([a.product_id for a in lines], pa.string()),
            "quantity": pa.array([a.quantity for a in lines], pa.decimal128(18, 3)),
            "ordered_at": pa.array([a.at for a in lines], pa.timestamp("us")),
            "row": pa.array(range(1, len(lines) + 1), pa.int64()),
            "revenue": pa.array([a.revenue for a in lines], pa.int64()),
        }
    )
    pq.write_table(orders, folder / "orders.parquet", row_group_size=row_group)
    # Not in the order of ids: rows must come from the ids alone.
    ids = sorted({a.product_id for a in lines} | set(products), reverse=True)
    pq.write_table(pa.table({"product_id": pa.array(ids, pa.string())}), folder / "products.parquet")
    return folder


def random_lines(seed: int, n_orders: int = 120, n_products: int = 12) -> list[Line]:
    """A dirty little shop: guests, returns, repeated lines, orders at the same moment."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(n_orders):
        who = int(rng.integers(0, 12))
        customer_id = None if who >= 10 else f"c{who}"
        at = START + int(rng.integers(0, 800)) * timedelta(hours=3)
        for product in rng.integers(0, n_products, rng.integers(1, 6)):
            quantity = int(rng.choice([-2, -1, 1, 2, 3], p=[0.1, 0.1, 0.5, 0.2, 0.1]))
            units = Decimal(quantity) / (2 if rng.random() < 0.2 else 1)
            revenue = int(quantity * rng.integers(1, 400))
            lines.append(Line(f"o{number}", customer_id, f"p{product}", at, units, revenue))
    return [lines[i] for i in rng.permutation(len(lines))]


Build = Callable[..., Features]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Lines -> features at midnight UTC of `as_of`; the tables stay in `tmp_path/out<n>`."""
    numbers = count()

    def run(
        lines: Sequence[Line],
        as_of: str = "2026-04-01",
        *,
        threads: int = 2,
        products: Sequence[str] = (),
        row_group: int = 50,
        stride: int = 1,
        half_life_days: float = 90.0,
    ) -> Features:
        number = next(numbers)
        folder = write(tmp_path / f"history{number}", lines, products, row_group)
        moment = datetime.fromisoformat(as_of).replace(tzinfo=UTC)
        with DuckDBEngine(EngineSettings(threads=threads), tmp_path / "scratch") as engine:
            return build_features(engine, folder, tmp_path / f"out{number}", moment, stride, half_life_days)

    return run


@pytest.fixture(name="line")
def line_maker() -> Callable[..., Line]:
    """Makes one order line from plain texts and numbers."""
    return line


@pytest.fixture
def random_shop() -> Callable[..., list[Line]]:
    """Makes the lines of a random little shop from a seed."""
    return random_lines
