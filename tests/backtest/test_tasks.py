"""The tasks of the backtest on the small shop: what is judged, for whom, and that nothing leaks."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from nextoffer.backtest import backtest, judge
from nextoffer.backtest.tasks import next_purchase, run_tasks
from nextoffer.models.ranker import fit_ranker, score_batch

TASKS = {
    "next_purchase": {"nextoffer", "popularity", "personal_frequency", "als", "item_item"},
    "explore": {"nextoffer", "popularity", "als", "item_item"},
    "up_sell": {"nextoffer", "popularity", "popularity_28"},
    "replenishment": {"nextoffer", "poisson_gamma", "personal_frequency", "mean_gap"},
    "lapse": {"nextoffer", "recency"},
}


@pytest.fixture(scope="module")
def result(small_shop_learned: Any) -> dict[str, Any]:
    shop = small_shop_learned
    return backtest(shop.past, shop.cut.as_of)


def test_every_task_judges_nextoffer_beside_every_named_baseline(result: dict[str, Any]) -> None:
    tasks = result["tasks"]

    assert {task: set(methods) for task, methods in tasks.items()} == TASKS
    for methods in tasks.values():
        for metrics in methods.values():
            assert metrics and all(0.0 <= value <= 1.0 for value in metrics.values())
    assert result["ranker"] == "curves" and result["horizon_days"] == 28


def test_where_habits_are_planted_nextoffer_beats_popularity(result: dict[str, Any]) -> None:
    lists = result["tasks"]["next_purchase"]
    again = result["tasks"]["replenishment"]

    for metric in ("recall@10", "ndcg@10"):
        assert lists["nextoffer"][metric] > 1.2 * lists["popularity"][metric]
    assert again["nextoffer"]["pr_auc"] > 1.3 * again["mean_gap"]["pr_auc"]


def test_next_purchase_ranks_all_products_by_p_buy(small_shop_learned: Any, result: dict[str, Any]) -> None:
    shop = small_shop_learned
    ranker, lesson = shop.past.ranker(shop.cut.as_of), shop.cut.lesson
    scored = score_batch(ranker, lesson.knowledge, np.arange(len(lesson.knowledge.customers)))
    bought: dict[int, set[int]] = {}
    for customer, product in zip(
        lesson.bought_customer.tolist(), lesson.bought_product.tolist(), strict=True
    ):
        bought.setdefault(customer, set()).add(product)
    recall = []
    for customer, products in bought.items():
        mine = np.flatnonzero(scored.position == customer).tolist()
        top = sorted(mine, key=lambda at: (-scored.p_buy[at], scored.product[at]))[:10]
        recall.append(len({int(scored.product[at]) for at in top} & products) / len(products))

    assert result["buyers"] == len(bought)
    assert result["tasks"]["next_purchase"]["nextoffer"]["recall@10"] == pytest.approx(np.mean(recall))
    assert next_purchase(ranker, lesson) == result["tasks"]["next_purchase"]["nextoffer"]


def test_explore_counts_only_what_was_never_bought_before(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    lesson = shop.cut.lesson
    n = len(lesson.knowledge.products)
    pairs = lesson.knowledge.pairs
    old = np.isin(
        lesson.bought_customer.astype(int) * n + lesson.bought_product,
        pairs.customer().astype(int) * n + pairs.product,
    )
    ranker = fit_ranker([shop.earlier.lesson], 28, seed=0)
    only_old = replace(
        lesson, bought_customer=lesson.bought_customer[old], bought_product=lesson.bought_product[old]
    )

    tasks = run_tasks(ranker, only_old, seed=0)

    assert set(tasks["explore"]["nextoffer"].values()) == {0.0}
    assert tasks["next_purchase"]["nextoffer"]["recall@10"] > 0


def test_lapse_judges_every_customer(small_shop_learned: Any, result: dict[str, Any]) -> None:
    from sklearn.metrics import average_precision_score

    lesson = small_shop_learned.cut.lesson
    customers = lesson.knowledge.customers
    silent = ~np.isin(np.arange(len(customers)), lesson.bought_customer)

    assert result["customers"] == len(customers)
    assert result["tasks"]["lapse"]["nextoffer"]["pr_auc"] == pytest.approx(
        average_precision_score(silent, 1 - customers.p_buy.astype(float))
    )


def test_the_ranker_is_taught_only_by_horizons_that_ended_by_the_date(small_shop_learned: Any) -> None:
    """A past whose lesson after the date is spoilt judges by the same ranker."""
    shop = small_shop_learned
    as_of = shop.cut.as_of
    spoilt = replace(
        shop.cut, lesson=replace(shop.cut.lesson, bought_product=shop.cut.lesson.bought_product[::-1])
    )
    past = replace(shop.past, cuts=shop.past.cuts | {as_of: spoilt})

    one, other = shop.past.ranker(as_of), past.ranker(as_of)

    for view in ("repeat", "explore"):
        assert getattr(one, view).values.tobytes() == getattr(other, view).values.tobytes()


def test_a_history_too_short_to_teach_is_judged_by_combined_scores(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    past = replace(shop.past, first_order_at=shop.cut.as_of - timedelta(days=40))

    assert judge(past, past.ranker(shop.cut.as_of), shop.cut)["ranker"] == "combined"
