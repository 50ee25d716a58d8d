"""Shops on disk with their nextoffer.toml, as a person would have them, and the command run on them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

TABLES = {
    "orders": "order_id customer_id product_id quantity unit_price ordered_at unit_cost",
    "products": "product_id title category brand price unit_cost url image_url stock repeatable "
    "shelf_life_days",
    "customers": "customer_id email first_name locale consent_email",
}
FILES = {
    "orders": "shop/orders/*.parquet",
    "products": "shop/products.parquet",
    "customers": "shop/customers.parquet",
}


def write_config(folder: Path, more: str = "") -> Path:
    """nextoffer.toml over the tables of a synthetic shop in `folder`/shop; `more` comes before its tables."""
    lines = ['currency = "EUR"', 'timezone = "UTC"', more]
    for table, names in TABLES.items():
        lines += [f"[history.{table}]", f'path = "{FILES[table]}"', f"[history.{table}.columns]"]
        lines += [f'{name} = "{name}"' for name in names.split()]
    path = folder / "nextoffer.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_shop() -> Callable[..., Shop]:
    """Write a synthetic shop and its configuration into a folder; the shop can live on from there."""

    def make(folder: Path, more: str = "", **settings: object) -> Shop:
        shop = Shop(ShopSettings(**settings))  # type: ignore[arg-type]
        shop.write_history(folder / "shop")
        write_config(folder, more)
        return shop

    return make


@pytest.fixture(scope="session")
def start() -> Callable[..., subprocess.Popen[str]]:
    """Start `python -m nextoffer …` in a folder; its stages are lines on stderr."""

    def run(folder: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nextoffer", *words],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return run
