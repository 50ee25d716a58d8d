"""Spoilt orders: every defect is listed, every listed row has it, and the rest is untouched."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pyarrow.compute as pc

from nextoffer.simulation.dirt import BAD_DATES, DEFECTS
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.words import FEES

SETTINGS = {"customers": 1_500, "products": 300, "weeks": 52}


def test_dirt_equals_its_list(tmp_path: Path, write_shop: Any) -> None:
    clean = write_shop(tmp_path / "clean", ShopSettings(**SETTINGS)).table("orders")
    shop = write_shop(tmp_path / "dirty", ShopSettings(**SETTINGS, dirty=True))
    with shop.paths.orders.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    listed: dict[str, list[int]] = {name: [] for name in DEFECTS}
    for row in shop.table("truth/dirt").to_pylist():
        assert row["table"] == "orders"
        listed[row["defect"]].append(row["row"] - 1)
    known = set(shop.table("products")["product_id"].to_pylist())

    assert shop.paths.orders.name == "orders.csv" and not (tmp_path / "dirty" / "orders").exists()
    assert len(rows) == shop.paths.order_lines
    assert len(rows) == clean.num_rows + len(listed["duplicate"]) + len(listed["fee"])
    assert listed["zero_price"] == [n for n, row in enumerate(rows) if float(row["unit_price"]) == 0]
    assert listed["fee"] == [n for n, row in enumerate(rows) if row["product_id"] in FEES]
    assert listed["bad_date"] == [n for n, row in enumerate(rows) if row["ordered_at"] in BAD_DATES]
    assert listed["id_case"] == [n for n, row in enumerate(rows) if row["product_id"].startswith("p")]
    unknown = [n for n, row in enumerate(rows) if row["product_id"].startswith("X")]
    assert listed["unknown_product"] == unknown
    assert listed["duplicate"] == [n for n in range(1, len(rows)) if rows[n] == rows[n - 1]]
    assert all(rows[n]["product_id"] not in known for n in unknown)
    sold = pc.sum(pc.greater(clean["quantity"], 0)).as_py()
    for name, share in DEFECTS.items():
        expected = share * sold
        assert abs(len(listed[name]) - expected) < 5 * expected**0.5, name


def test_dirt_is_the_same_every_time(tmp_path: Path, write_shop: Any) -> None:
    settings = ShopSettings(customers=300, products=100, weeks=10, dirty=True)
    first, second = (write_shop(tmp_path / name, settings).paths.orders for name in ("a", "b"))

    assert first.read_bytes() == second.read_bytes()
