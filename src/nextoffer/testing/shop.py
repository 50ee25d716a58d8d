"""A made-up shop, small enough to learn from in seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nextoffer.bundle.bundle import Bundle, CustomerIds, StoredCandidates
from nextoffer.config import Settings, parse_settings
from nextoffer.features.catalogue import read_catalogue
from nextoffer.features.diary import read_diary
from nextoffer.models.recipe import Kitchen, Past, learn_all
from nextoffer.models.taught import fit_taught
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.sources.load import load_history


@cache
def small_bundle() -> Bundle:
    """A made-up shop of 120 customers and 60 products after a year, learned from as the nightly job does."""
    from nextoffer.engines.duckdb import DuckDBEngine

    with TemporaryDirectory() as name:
        folder = Path(name)
        settings, as_of = _made_up(folder)
        history = load_history(settings, folder / "history")
        with DuckDBEngine(settings.engine, folder) as engine:
            engine.tables(history.folder)
            catalogue = read_catalogue(engine, settings.currency, settings.margin.default_share)
            kitchen = Kitchen(engine, history.folder, folder, catalogue, 28, 0)
            past = Past(kitchen, history.first_order_at, stride=1, n_cuts=1)
            lesson = past.cut(as_of - timedelta(days=28)).lesson
            learned = learn_all(kitchen, as_of, None)
            ids = learned.customer_ids
            diary = read_diary(engine, folder / "diary", ids, catalogue.ids, as_of, "UTC", 28)
        taught = fit_taught([lesson], as_of, 28, 0)
    no_rows: Any = np.zeros(0, np.int64)
    none = StoredCandidates(np.zeros(len(ids) + 1, np.int64), *[no_rows] * 5)
    parts = CustomerIds(ids), catalogue, learned.knowledge, taught, none
    return Bundle.make("small", as_of, *parts, diary=diary)


def _made_up(folder: Path) -> tuple[Settings, datetime]:
    made = ShopSettings(
        customers=120, products=60, weeks=52, rate=0.16, interactions=True, subscriptions=True
    )
    shop = Shop(made)
    shop.write_history(folder)
    names = ("products", "customers", "interactions", "subscriptions")
    tables = {name: {"path": f"{name}.parquet"} for name in names}
    document = {"currency": "EUR", "history": {"orders": {"path": "orders/*.parquet"}, **tables}}
    return parse_settings(document, "nextoffer.toml", folder), shop.end
