"""Replenishment: which products a customer bought in the last year are bought again within 14 days.

Every method was chosen on cuts before the one reported: Online Retail on those before 25 November 2011, the
dunnhumby fragment (days 1 to 79) on those before day 65. PR-AUC is pooled over all pairs; intervals resample
customers. Calibration error: mean gap over ten equally filled bins.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.peers import due as peers
from benchmarks.peers.due import PairDays
from benchmarks.quality.lines import Line, against
from benchmarks.quality.splits import kitchen_of_orders, kitchen_of_settings

from nextoffer.backtest.metrics import yes_no_metrics
from nextoffer.config import Settings, parse_settings
from nextoffer.models.due import POPULATION_DAYS, CategoryPairs, category_pairs, fit_due, p_due
from nextoffer.models.ranker import Lesson
from nextoffer.models.recipe import Kitchen, Past
from nextoffer.models.reorder import fit_reorder, p_reorder

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.integer[Any]]

HORIZON_DAYS = 14
N_CUTS = 3  # labelled cuts before the one reported
ONLINE_RETAIL_CUT = datetime(2011, 11, 25, tzinfo=UTC)
DAY_0 = datetime(2017, 1, 1, tzinfo=UTC)  # the fragment counts days; which year they were does not matter
DUNNHUMBY_CUT = DAY_0 + timedelta(days=65)  # day 79 is cut off in the middle
TARGETS = {"online_retail": 0.24, "dunnhumby_fragment": None}
CALIBRATION = 0.01


def lines(data: Path) -> list[Line]:
    """Online Retail, the dunnhumby fragment, and the fragment's categories."""
    with kitchen_of_orders(data, HORIZON_DAYS) as (kitchen, _, first_order_at):
        found = judged(kitchen, first_order_at, ONLINE_RETAIL_CUT, "online_retail")
    with TemporaryDirectory() as made:
        settings = dunnhumby_fragment(data, Path(made))
        with kitchen_of_settings(settings, DUNNHUMBY_CUT) as (kitchen, first_order_at):
            found += judged(kitchen, first_order_at, DUNNHUMBY_CUT, "dunnhumby_fragment")
            found += by_category(data, kitchen, first_order_at, DUNNHUMBY_CUT)
    return found


def judged(kitchen: Kitchen, first_order_at: datetime, as_of: datetime, split: str) -> list[Line]:
    """Our choice, taught before `as_of`, beside Poisson-Gamma and the peers on the horizon after it."""
    past = Past(kitchen, first_order_at, stride=1, n_cuts=N_CUTS)
    step = timedelta(days=kitchen.horizon_days)
    moments = [as_of - step * back for back in range(1, N_CUTS + 1)]
    lessons = [past.cut(moment).lesson for moment in moments if moment - first_order_at >= step]
    due = fit_due(lessons, kitchen.horizon_days, kitchen.seed)
    lesson = past.cut(as_of).lesson
    knowledge, pairs = lesson.knowledge, lesson.knowledge.pairs
    days = PairDays.read(kitchen.scratch / f"cut-{as_of:%Y-%m-%dT%H%M}")
    recent = np.flatnonzero(pairs.last_age_days < POPULATION_DAYS)
    ages = pairs.n_days, pairs.first_age_days, pairs.last_age_days
    ours = p_due(due, knowledge, recent)
    plain = p_reorder(knowledge.reorder, pairs.product, *ages, kitchen.horizon_days)[recent]
    scores = {"poisson_gamma": plain} | {
        name: score[recent] for name, score in peer_scores(days, kitchen.horizon_days).items()
    }
    bought = _bought(lesson, pairs.customer(), pairs.product)[recent]
    metrics = _per_customer(scores | {"ours": ours}, bought, pairs.customer()[recent])
    return [
        *_ranked(metrics, f"{split} 14 d, {due.choice.method}", TARGETS[split], 1.15),
        *_calibrated(metrics, f"{split} 14 d, {due.choice.method}"),
    ]


def peer_scores(days: PairDays, horizon_days: float) -> dict[str, Floats]:
    """Every peer's score of every pair."""
    return {
        "modified_poisson_gamma": peers.modified_poisson_gamma(days, horizon_days),
        "rcp_atd": peers.rcp_atd(days, horizon_days),
        "frequency": peers.frequency(days),
        "decay": peers.decay(days),
        "mean_gap": peers.mean_gap(days, horizon_days),
    }


def by_category(data: Path, kitchen: Kitchen, first_order_at: datetime, as_of: datetime) -> list[Line]:
    """The same question of customer × commodity, by Poisson-Gamma one level up."""
    lesson = Past(kitchen, first_order_at, stride=1, n_cuts=1).cut(as_of).lesson
    category = commodities(data, [kitchen.catalogue.ids.text(row) for row in range(len(kitchen.catalogue))])
    days = PairDays.read(kitchen.scratch / f"cut-{as_of:%Y-%m-%dT%H%M}")
    customer = lesson.knowledge.pairs.customer()[days.pair]
    age = days.age.astype(np.int64)
    pairs = category_pairs(customer, days.product[days.pair], age, category)
    up = PairDays.of(customer, category[days.product[days.pair]], age)
    bought = _category_bought(lesson, pairs, category)
    columns = pairs.category, pairs.n_days, pairs.first_age_days, pairs.last_age_days
    ours = p_reorder(fit_reorder(*columns, int(category.max()) + 1), *columns, kitchen.horizon_days)
    metrics = _per_customer({"ours": ours} | peer_scores(up, kitchen.horizon_days), bought, pairs.customer)
    return _ranked(metrics, "dunnhumby_fragment 14 d, categories", None, None)


def _ranked(
    metrics: dict[str, dict[str, Floats]], split: str, target: float | None, best_of: float | None
) -> list[Line]:
    values = {name: found["pr_auc"] for name, found in metrics.items()}
    ours = values.pop("ours")
    if split.startswith("dunnhumby"):
        gates = {"poisson_gamma": 1.0} if "poisson_gamma" in values else {}
        return against("replenishment", split, "PR-AUC", ours, values, target=target, gates=gates)
    return against("replenishment", split, "PR-AUC", ours, values, target=target, best_of=best_of)


def _calibrated(metrics: dict[str, dict[str, Floats]], split: str) -> list[Line]:
    name = "calibration_error"
    ours, plain = metrics["ours"][name], metrics["poisson_gamma"][name]
    (line,) = against("replenishment", split, "calibration error", ours, {"poisson_gamma": plain})
    passed = float(ours.mean()) <= min(CALIBRATION, float(plain.mean()))
    return [replace(line, target=CALIBRATION, passed=passed)]


def _per_customer(
    scores: dict[str, Any], bought: npt.NDArray[np.bool_], customer: Ints
) -> dict[str, dict[str, Floats]]:
    """method -> metric -> a value per customer whose mean is the figure."""
    _, row = np.unique(customer, return_inverse=True)
    probabilities = ("ours", "poisson_gamma")
    return {
        name: yes_no_metrics(score, bought, row, int(row.max()) + 1, name in probabilities)
        for name, score in scores.items()
    }


def _bought(lesson: Lesson, customer: Ints, product: Ints) -> npt.NDArray[np.bool_]:
    n = len(lesson.knowledge.products)
    truth = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    return np.isin(customer.astype(np.int64) * n + product, truth)


def _category_bought(lesson: Lesson, pairs: CategoryPairs, category: Ints) -> npt.NDArray[np.bool_]:
    n = int(category.max()) + 2
    truth = lesson.bought_customer.astype(np.int64) * n + category[lesson.bought_product]
    return np.isin(pairs.customer.astype(np.int64) * n + pairs.category, truth)


def commodities(data: Path, product_ids: list[str]) -> Ints:
    """(n_products,) commodity of each product; one of its own, the last, where it has none."""
    import pandas as pd

    table = pd.read_parquet(data / "dunnhumby_complete_journey/derived_dim_product.parquet")
    named = table.set_index(table["PRODUCT_ID"].astype(str))["COMMODITY_DESC"].reindex(product_ids)
    codes, names = pd.factorize(named, sort=True)
    return np.where(codes < 0, len(names), codes)


def dunnhumby_fragment(data: Path, folder: Path) -> Settings:
    """Write days 1 to 79 of the ReCANet training baskets as a shop's history: no prices, every line one unit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(data / "dunnhumby_complete_journey/recanet_train_baskets_sample.parquet")
    noon = np.datetime64(DAY_0.replace(tzinfo=None) + timedelta(hours=12), "us")
    day = table["date"].to_numpy().astype("timedelta64[D]").astype("timedelta64[us]")
    text = {name: table[name].cast(pa.string()) for name in ("basket_id", "user_id", "item_id")}
    orders = pa.table(
        {
            "order_id": text["basket_id"],
            "customer_id": text["user_id"],
            "product_id": text["item_id"],
            "quantity": np.ones(len(table), dtype=np.int32),
            "unit_price": np.ones(len(table), dtype=np.int32),
            "ordered_at": noon + day,
        }
    )
    pq.write_table(orders, folder / "orders.parquet")
    document = {
        "currency": "USD",
        "history": {"orders": {"path": "orders.parquet"}},
        "horizon_days": HORIZON_DAYS,
    }
    return parse_settings(document, "dunnhumby_fragment", folder)
