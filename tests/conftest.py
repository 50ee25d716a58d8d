"""One small shop for all tests: its history on disk, and a bundle learned from it, made once a session."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import hypothesis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.bundle.bundle import LANGUAGES, Bundle, CustomerIds, StoredCandidates
from nextoffer.config import Settings, parse_settings
from nextoffer.domain.arrays import Strings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.catalogue import read_catalogue, read_languages
from nextoffer.features.diary import read_diary
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.recipe import Cut, Kitchen, Past, learn_all
from nextoffer.models.taught import Taught, fit_taught
from nextoffer.offers.choosing import Policy
from nextoffer.offers.recommend import score
from nextoffer.plugins import OFFER_KINDS
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.sources.load import load_history

# No test asserts how long it takes: a busy machine is no fault of the code.
hypothesis.settings.register_profile("any-machine", deadline=None, max_examples=50)
hypothesis.settings.load_profile("any-machine")

HORIZON = timedelta(days=28)


@dataclass(frozen=True)
class SmallShop:
    """Settings, canonical tables, and everything learned on the way to the bundle."""

    settings: Settings
    as_of: datetime
    past: Past
    earlier: Cut
    cut: Cut
    bundle: Bundle

    @property
    def kitchen(self) -> Kitchen:
        return self.past.kitchen


def bundle_of(
    kitchen: Kitchen, as_of: datetime, ids: Strings, knowledge: Knowledge, taught: Taught
) -> Bundle:
    """The bundle with every customer's candidates, scored in one batch."""
    zone, horizon = "Europe/London", kitchen.horizon_days
    products = kitchen.catalogue.ids
    diary = read_diary(kitchen.engine, kitchen.scratch / "diary", ids, products, as_of, zone, horizon)
    language = read_languages(kitchen.engine, ids, LANGUAGES)
    parts = (CustomerIds(ids, language), kitchen.catalogue, knowledge, taught)
    empty = StoredCandidates(np.zeros(len(ids) + 1, np.int64), *(np.zeros(0, np.int64) for _ in range(5)))
    bare = Bundle.make("", as_of, *parts, empty, diary=diary)
    stored = StoredCandidates.of(score(bare, np.arange(len(ids)), OFFER_KINDS), len(ids))
    return Bundle.make("small-shop", as_of, *parts, stored, diary=diary)


@pytest.fixture(scope="session")
def small_history(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, datetime]:
    """400 customers, 150 products, a year; some products may not be offered, some customers are Russian."""
    folder = tmp_path_factory.mktemp("small-shop")
    shop = Shop(ShopSettings(customers=400, products=150, weeks=52, rate=0.16, interactions=True))
    paths = shop.write_history(folder)
    spoil_products(paths.products)
    speak_russian(paths.customers)
    keep_days(paths.customers, shop.end)
    sell_passes(paths.orders, folder / "subscriptions.parquet", shop.end)
    names = {
        "orders": "order_id customer_id product_id quantity unit_price ordered_at unit_cost",
        "products": "product_id title category brand price unit_cost url image_url stock repeatable "
        "shelf_life_days restricted hidden",
        "customers": "customer_id email first_name locale consent_email consent_push birth_date points_balance "
        "points_expire_at",
        "interactions": "customer_id product_id event occurred_at",
        "subscriptions": "customer_id product_id started_at ends_at auto_renew",
    }
    where = {table: f"{table}.parquet" for table in names} | {"orders": "orders/*.parquet"}
    history = {
        table: {"path": where[table], "columns": {name: name for name in columns.split()}}
        for table, columns in names.items()
    }
    document = {"currency": "GBP", "timezone": "Europe/London", "history": history, "seed": 3}
    return parse_settings(document, "nextoffer.toml", folder), shop.end


@pytest.fixture(scope="session")
def small_shop_learned(small_history: tuple[Settings, datetime]) -> Iterator[SmallShop]:
    settings, as_of = small_history
    scratch = settings.models_dir / "scratch"
    history = load_history(settings, scratch / "history")
    with DuckDBEngine(settings.engine, scratch) as engine:
        engine.tables(history.folder)
        catalogue = read_catalogue(engine, settings.currency, settings.margin.default_share)
        kitchen = Kitchen(engine, history.folder, scratch, catalogue, settings.horizon_days, settings.seed)
        past = Past(kitchen, history.first_order_at, stride=1, n_cuts=1)
        earlier, cut = (past.cut(as_of - n * HORIZON) for n in (2, 1))
        learned = learn_all(kitchen, as_of, None)
        taught = fit_taught([cut.lesson], as_of, kitchen.horizon_days, kitchen.seed)
        bundle = bundle_of(kitchen, as_of, learned.customer_ids, learned.knowledge, taught)
        yield SmallShop(settings, as_of, past, earlier, cut, bundle)


@pytest.fixture(scope="session")
def shop_bundle(small_shop_learned: SmallShop) -> Bundle:
    """The small shop's bundle, with stored candidates of every customer."""
    return small_shop_learned.bundle


@pytest.fixture(scope="session")
def shop_settings(small_history: tuple[Settings, datetime]) -> Settings:
    """The small shop's settings; its history lies beside them."""
    return small_history[0]


@pytest.fixture(scope="session")
def shop_policy(shop_settings: Settings) -> Policy:
    return Policy.of(shop_settings)


def spoil_products(path: Path) -> None:
    """Every 20th product hidden, restricted, out of stock or sold at cost."""
    table = pq.read_table(path)
    turn = np.arange(len(table)) % 20
    stock = np.where(turn == 7, 0.0, table["stock"].to_numpy(zero_copy_only=False))
    prices = [table[name].to_pylist() for name in ("price", "unit_cost")]
    cost = [price if at == 11 else paid for at, price, paid in zip(turn, *prices, strict=True)]
    for name, column in {
        "stock": pa.array(stock, from_pandas=True),
        "unit_cost": pa.array(cost, table.schema.field("unit_cost").type),
    }.items():
        table = table.set_column(table.column_names.index(name), name, column)
    table = table.append_column("hidden", pa.array(turn == 3)).append_column(
        "restricted", pa.array(turn == 5)
    )
    pq.write_table(table, path)


def speak_russian(path: Path) -> None:
    table = pq.read_table(path)
    locale = pa.array(
        ["ru-RU" if row % 3 == 0 else None if row % 3 == 1 else "en" for row in range(len(table))]
    )
    pq.write_table(table.set_column(table.column_names.index("locale"), "locale", locale), path)


def keep_days(path: Path, end: datetime) -> None:
    """One customer in three told their birthday, one in four holds points, some of which expire soon."""
    table = pq.read_table(path)
    rows = range(len(table))
    first = date(1972, 1, 1)
    columns = {
        "birth_date": [first + timedelta(days=11 * row) if row % 3 == 0 else None for row in rows],
        "points_balance": [10 * row if row % 4 == 0 else None for row in rows],
        "points_expire_at": [end + timedelta(days=row % 90) if row % 4 == 0 else None for row in rows],
    }
    kept = table.drop_columns([name for name in columns if name in table.column_names])
    for name, values in columns.items():
        kept = kept.append_column(name, pa.array(values))
    pq.write_table(kept, path)


def sell_passes(orders: Path, path: Path, end: datetime) -> None:
    """Every fifth customer holds a pass of a quarter for the last thing they bought; some had it renewed."""
    lines = pq.read_table(orders, columns=["customer_id", "product_id", "ordered_at"]).to_pylist()
    last = {
        line["customer_id"]: line["product_id"]
        for line in sorted(lines, key=lambda line: line["ordered_at"])
        if line["customer_id"]
    }
    quarter, passes = timedelta(days=90), []
    for row, (customer, product) in enumerate(sorted(last.items())[::5]):
        ends = end + timedelta(days=row % 35 - 10)
        starts = [ends - quarter] + [ends - 2 * quarter] * (row % 2) + [ends] * (row % 7 == 0)
        passes += [(customer, product, start, start + quarter, row % 3 == 0) for start in starts]
    names = ("customer_id", "product_id", "started_at", "ends_at", "auto_renew")
    pq.write_table(
        pa.table({name: list(column) for name, column in zip(names, zip(*passes, strict=True), strict=True)}),
        path,
    )
