"""The tasks of the backtest on the small shop: what is judged, and for whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from nextoffer.backtest import judge
from nextoffer.backtest.judging import judged
from nextoffer.backtest.tasks import (
    Case,
    answer_lapse,
    answer_replenishment,
    next_purchase,
    rank_new_products,
    rank_next_purchase,
    rank_steps_up,
)
from nextoffer.models.families import in_price_units
from nextoffer.models.ranker import score_batch
from nextoffer.models.recipe import Past

TASKS = {
    "next_purchase": {
        "nextoffer",
        "popularity",
        "trending",
        "last_basket",
        "personal_frequency",
        "als",
        "item_item",
    },
    "explore": {"nextoffer", "popularity", "trending", "als", "item_item"},
    "up_sell": {"nextoffer", "popularity", "popularity_28"},
    "replenishment": {"nextoffer", "poisson_gamma", "personal_frequency", "mean_gap"},
    "lapse": {"nextoffer", "recency"},
}


@pytest.fixture(scope="module")
def result(small_shop_learned: Any, past: Past) -> dict[str, Any]:
    cut = small_shop_learned.cut
    return judge(past, past.taught(cut.as_of), cut)


def bought_after(case: Case) -> dict[int, set[int]]:
    bought: dict[int, set[int]] = {}
    for customer, product in zip(
        case.lesson.bought_customer.tolist(), case.lesson.bought_product.tolist(), strict=True
    ):
        bought.setdefault(customer, set()).add(product)
    return bought


def bought_before(case: Case) -> dict[int, dict[int, int]]:
    """Customer -> product -> days since the last purchase."""
    pairs = case.lesson.knowledge.pairs
    before: dict[int, dict[int, int]] = {}
    for customer, product, age in zip(
        pairs.customer().tolist(), pairs.product.tolist(), pairs.last_age_days.tolist(), strict=True
    ):
        before.setdefault(customer, {})[product] = age
    return before


def test_every_task_judges_nextoffer_beside_every_named_baseline(result: dict[str, Any]) -> None:
    tasks = result["tasks"]

    assert {task: set(methods) for task, methods in tasks.items()} == TASKS
    for methods in tasks.values():
        for metrics in methods.values():
            assert metrics and all(0.0 <= value <= 1.0 for value in metrics.values())
    assert result["horizon_days"] == 28 and result["ranker"] != "combined"


def test_where_habits_are_planted_nextoffer_beats_popularity(result: dict[str, Any]) -> None:
    lists = result["tasks"]["next_purchase"]
    again = result["tasks"]["replenishment"]

    for metric in ("recall@10", "ndcg@10"):
        assert lists["nextoffer"][metric] > 1.2 * lists["popularity"][metric]
    assert again["nextoffer"]["pr_auc"] > 1.3 * again["mean_gap"]["pr_auc"]


def test_next_purchase_ranks_all_products_by_p_buy(case: Case, result: dict[str, Any]) -> None:
    knowledge = case.lesson.knowledge
    scored = score_batch(case.taught.ranker, knowledge, np.arange(len(knowledge.customers)))
    bought = bought_after(case)
    recall = []
    for customer, products in bought.items():
        mine = np.flatnonzero(scored.position == customer).tolist()
        top = sorted(mine, key=lambda at: (-scored.p_buy[at], scored.product[at]))[:10]
        recall.append(len({int(scored.product[at]) for at in top} & products) / len(products))

    assert result["buyers"] == len(bought)
    assert result["tasks"]["next_purchase"]["nextoffer"]["recall@10"] == pytest.approx(np.mean(recall))
    assert next_purchase(case.taught.ranker, case.lesson) == pytest.approx(
        result["tasks"]["next_purchase"]["nextoffer"]
    )


def test_explore_lists_and_counts_only_what_was_never_bought_before(case: Case) -> None:
    before, after = bought_before(case), bought_after(case)
    new = {customer: products - before[customer].keys() for customer, products in after.items()}
    outcome = rank_new_products(case)

    assert outcome.customer.tolist() == sorted(customer for customer, products in new.items() if products)
    found: dict[int, set[int]] = {}
    for position, product in zip(outcome.position.tolist(), outcome.product.tolist(), strict=True):
        found.setdefault(int(outcome.customer[position]), set()).add(product)
    assert found == {customer: products for customer, products in new.items() if products}
    for ranked in outcome.lists.values():
        for customer, row in zip(outcome.customer.tolist(), ranked.tolist(), strict=True):
            assert not before[customer].keys() & set(row)


def test_where_only_old_products_are_bought_there_is_nothing_new_to_judge(case: Case) -> None:
    before = bought_before(case)
    pairs = zip(case.lesson.bought_customer.tolist(), case.lesson.bought_product.tolist(), strict=True)
    old = np.array([product in before[customer] for customer, product in pairs])
    lesson = replace(
        case.lesson,
        bought_customer=case.lesson.bought_customer[old],
        bought_product=case.lesson.bought_product[old],
    )
    only_old = replace(case, lesson=lesson)
    n = len(lesson.knowledge.products)

    assert judged(rank_new_products(only_old), n).figures() == {method: {} for method in TASKS["explore"]}
    assert judged(rank_next_purchase(only_old), n).figures()["nextoffer"]["recall@10"] > 0


def test_up_sell_is_judged_on_every_step_up_open_to_those_who_took_one(case: Case) -> None:
    """The dearer, live, never-bought products of a family, from the last one they bought of it."""
    knowledge = case.lesson.knowledge
    family, units = knowledge.ladder.family.tolist(), in_price_units(knowledge.ladder.price).tolist()
    live = knowledge.products.last_age_days < 91
    before, after = bought_before(case), bought_after(case)
    open_steps: dict[int, set[int]] = {}
    for customer in after:
        anchors: dict[int, int] = {}
        for product in sorted(before[customer], key=lambda p: (before[customer][p], -units[p], p)):
            if before[customer][product] < 180 and family[product] >= 0 and units[product] > 0:
                anchors.setdefault(family[product], product)
        open_steps[customer] = {
            step
            for kind, anchor in anchors.items()
            for step in range(len(family))
            if family[step] == kind and live[step] and step not in before[customer]
            if 11 * units[anchor] <= 10 * units[step] <= 16 * units[anchor]
        }
    took = {customer for customer in after if open_steps[customer] & after[customer]}

    outcome = rank_steps_up(case)

    assert outcome.customer.tolist() == sorted(took)
    for place, customer in enumerate(outcome.customer.tolist()):
        taken = set(outcome.product[outcome.position == place].tolist())
        assert taken == open_steps[customer] & after[customer]
        for ranked in outcome.lists.values():
            listed = [product for product in ranked[place].tolist() if product >= 0]
            assert len(listed) == len(set(listed)) == min(5, len(open_steps[customer]))
            assert set(listed) <= open_steps[customer]


def test_replenishment_asks_of_every_pair_of_the_last_year_whether_it_is_bought_again(case: Case) -> None:
    before, after = bought_before(case), bought_after(case)
    outcome = answer_replenishment(case)
    expected = [
        product in after.get(customer, set())
        for customer, products in sorted(before.items())
        for product, age in sorted(products.items())
        if age < 365
    ]

    assert outcome.happened.tolist() == expected


def test_lapse_judges_every_customer(case: Case, result: dict[str, Any]) -> None:
    outcome = answer_lapse(case)
    n = len(case.lesson.knowledge.customers)

    assert result["customers"] == n
    assert outcome.customer.tolist() == list(range(n))
    assert outcome.happened.tolist() == [row not in bought_after(case) for row in range(n)]


def test_a_history_too_short_to_teach_is_judged_by_combined_scores(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    past = replace(shop.past, first_order_at=shop.cut.as_of - timedelta(days=40))

    assert judge(past, past.taught(shop.cut.as_of), shop.cut)["ranker"] == "combined"
