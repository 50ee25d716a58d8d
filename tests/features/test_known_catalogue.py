"""A shop without a product table: its list prices are those of the date, not of the newest line."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import known_catalogue


def test_a_derived_price_is_the_last_one_paid_before_the_date(tmp_path: Path) -> None:
    history = tmp_path / "history"
    history.mkdir()
    days = [1, 5, 9, 5]
    orders = {
        "row": [1, 2, 3, 4],
        "product_id": ["tea", "tea", "tea", "mug"],
        "quantity": [Decimal(1), Decimal(1), Decimal(1), Decimal(-1)],
        "unit_price": [Decimal("2.00"), Decimal("2.50"), Decimal("9.00"), Decimal("7.00")],
        "ordered_at": [datetime(2026, 3, day, tzinfo=UTC).replace(tzinfo=None) for day in days],
    }
    pq.write_table(pa.table(orders), history / "orders.parquet")
    texts = {name: ["x", "x"] for name in ("title", "url", "image_url", "category", "brand")}
    nothing = {name: pa.nulls(2, pa.float64()) for name in ("unit_cost", "stock", "shelf_life_days")}
    flags = {name: pa.nulls(2, pa.bool_()) for name in ("repeatable", "restricted", "hidden")}
    products = {"product_id": ["mug", "tea"], "price": [7.0, 9.0], **texts, **nothing, **flags}
    pq.write_table(pa.table(products), history / "products.parquet")

    with DuckDBEngine(EngineSettings(), tmp_path) as engine:
        engine.tables(history)
        as_of = datetime(2026, 3, 9, tzinfo=UTC)
        derived = known_catalogue(engine, tmp_path, as_of, "EUR", 0.3, derived=True)
        given = known_catalogue(engine, tmp_path, as_of, "EUR", 0.3, derived=False)

    assert derived.price.tolist() == [0, 250]
    assert derived.unit_cost.tolist() == [0, 175]
    assert given.price.tolist() == [700, 900]
