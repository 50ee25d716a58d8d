"""What the synthetic shop planted among its products is found again: companions, and ladders climbed upwards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nextoffer.backtest.baselines import lists_of
from nextoffer.backtest.metrics import list_metrics
from nextoffer.config import parse_settings
from nextoffer.domain.arrays import Floats
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import build_features, build_labels
from nextoffer.features.catalogue import read_catalogue
from nextoffer.models.knowledge import learn
from nextoffer.models.ranker import Lesson
from nextoffer.models.up_sell import Steps, fit_up_sell, score_steps
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.sources.load import load_history

pytestmark = pytest.mark.slow
COLUMNS = {
    "orders": "order_id customer_id product_id quantity unit_price ordered_at",
    "products": "product_id title category price unit_cost",
    "customers": "customer_id",
}


@dataclass(frozen=True)
class Planted:
    """The default shop: what was learned 56 and 28 days before its end with what followed, and the truth."""

    taught: Lesson
    judged: Lesson
    truth: Path
    product_ids: list[str]

    def table(self, name: str) -> pa.Table:
        return pq.read_table(self.truth / f"{name}.parquet")

    def rows(self, ids: pa.ChunkedArray) -> np.ndarray:
        """Product rows of ids."""
        row = {product: at for at, product in enumerate(self.product_ids)}
        return np.array([row[product] for product in ids.to_pylist()])


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    folder = tmp_path_factory.mktemp("planted")
    shop = Shop(ShopSettings(), 7, 7)
    paths = shop.write_history(folder)
    history = {
        table: {
            "path": f"{table}/*.parquet" if table == "orders" else f"{table}.parquet",
            "columns": {name: name for name in columns.split()},
        }
        for table, columns in COLUMNS.items()
    }
    settings = parse_settings({"currency": "GBP", "history": history}, "nextoffer.toml", folder)
    checked = load_history(settings, folder / "history")
    lessons = []
    with DuckDBEngine(settings.engine, folder / "scratch") as engine:
        engine.tables(checked.folder)
        catalogue = read_catalogue(engine, "GBP", 0.3)
        for days in (56, 28):
            as_of = shop.end - timedelta(days=days)
            cut = folder / f"cut-{days}"
            features = build_features(engine, checked.folder, cut, as_of)
            bought = build_labels(engine, cut, as_of, as_of + timedelta(days=28))
            lessons.append(Lesson(learn(features, catalogue, 28, seed=0), *bought))
        yield Planted(lessons[0], lessons[1], paths.truth, list(map(str, catalogue.ids)))


@pytest.fixture(scope="module")
def steps(planted: Planted) -> Steps:
    knowledge = planted.judged.knowledge
    up_sell = fit_up_sell([planted.taught], 28, seed=0)
    assert up_sell.step == "logistic"
    return score_steps(up_sell, knowledge, np.arange(len(knowledge.customers)))


def test_planted_complements_are_among_the_first_two_companions(planted: Planted) -> None:
    """For products with more than 300 orders; .61 is what plain z-scores found when the shop was designed."""
    knowledge, pairs = planted.judged.knowledge, planted.table("complements")
    product, companion = planted.rows(pairs["product_id"]), planted.rows(pairs["companion_id"])
    known = knowledge.products.n_orders[product] > 300

    found = np.array(
        [
            other in knowledge.companions.of(this, 2)[0]
            for this, other in zip(product[known], companion[known], strict=True)
        ]
    )

    print(f"complements: {found.mean():.3f} of {len(found)} planted pairs")
    assert len(found) > 300
    assert found.mean() >= 0.60


def test_ladders_are_climbed_and_never_down(planted: Planted, steps: Steps) -> None:
    truth = planted.table("products").sort_by("product_id")
    assert truth["product_id"].to_pylist() == planted.product_ids
    family, rung = truth["family_id"].to_numpy(), truth["ladder_step"].to_numpy()
    climbed = rung[steps.product] - rung[steps.anchor]
    first = climbed[steps.rank == 0]

    print(
        f"steps: {len(climbed)}, same family {(family[steps.product] == family[steps.anchor]).mean():.3f}, "
        f"upwards {(climbed > 0).mean():.3f}; the first of each customer: next rung {(first == 1).mean():.3f}, "
        f"within three {(first <= 3).mean():.3f}, median {np.median(first):.0f}"
    )
    assert len(climbed) > 10_000
    assert (family[steps.product] == family[steps.anchor]).all()
    assert (climbed > 0).all()


def test_what_climbers_take_is_ranked_far_above_what_is_popular(planted: Planted, steps: Steps) -> None:
    lesson, products = planted.judged, planted.judged.knowledge.products
    n = len(products)
    bought = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    taken = np.isin(steps.position * n + steps.product, bought)

    def ndcg(score: Floats) -> float:
        lists = lists_of(steps.position, steps.product, score, len(lesson.knowledge.customers), 5)
        values = list_metrics(lists, steps.position[taken], steps.product[taken], n)
        return float(np.nanmean(values["ndcg@5"]))  # NaN: took no step

    ours = ndcg(steps.p_buy.astype(np.float64))
    popular = ndcg(products.share_28[steps.product] + 1e-9 * products.n_customers[steps.product])
    print(f"NDCG@5: {ours:.3f}, 28-day popularity {popular:.3f}")
    assert ours > 1.4 * popular
