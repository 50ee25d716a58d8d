"""Steps up: exactly those the rules allow, planted chances found again, nobody's depends on who else is scored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.domain.arrays import Strings
from nextoffer.models.families import fit_families
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.ranker import Lesson
from nextoffer.models.up_sell import FEATURES, Steps, UpSell, can_score, fit_up_sell, score_steps

POPULAR = UpSell(28, "popular", (), np.zeros(0), 0.0)


@pytest.fixture(scope="module")
def knowledge(small_shop_learned: Any) -> Knowledge:
    return small_shop_learned.cut.lesson.knowledge


@pytest.fixture(scope="module")
def learned(small_shop_learned: Any) -> UpSell:
    """A model on planted chances: popular products, and those like the anchor, are taken."""
    return fit_up_sell([planted(small_shop_learned.earlier.lesson)], 28, seed=0)


def everyone(knowledge: Knowledge) -> np.ndarray:
    return np.arange(len(knowledge.customers))


def planted(lesson: Lesson) -> Lesson:
    """The lesson with purchases drawn by popularity among all pairs of customers and products."""
    knowledge = lesson.knowledge
    customer, product = np.divmod(
        np.arange(len(knowledge.customers) * len(knowledge.products)), len(knowledge.products)
    )
    chance = 1 / (1 + np.exp(-(-1.0 + 1.5 * (knowledge.products.log_share_28[product] + 2.5))))
    bought = np.random.default_rng(1).random(len(product)) < chance
    return Lesson(knowledge, customer[bought], product[bought])


def by_hand(knowledge: Knowledge) -> set[tuple[int, int, int]]:
    """(customer, anchor, product) of every open step, customer by customer."""
    family, price, pairs = knowledge.ladder.family, knowledge.ladder.price, knowledge.pairs
    cents = [round(value * 100) if value == value else 0 for value in price.tolist()]
    found = set()
    for customer in range(len(knowledge.customers)):
        rows = range(pairs.indptr[customer], pairs.indptr[customer + 1])
        has = {int(pairs.product[row]): int(pairs.last_age_days[row]) for row in rows}
        for kind in {int(family[product]) for product in has} - {-1}:
            mine = [product for product in has if family[product] == kind and cents[product] > 0]
            if not mine:
                continue
            anchor = min(mine, key=lambda product: (has[product], -cents[product], product))
            if has[anchor] >= 180:
                continue
            for product in np.flatnonzero(family == kind).tolist():
                dearer = 11 * cents[anchor] <= 10 * cents[product] <= 16 * cents[anchor]
                if dearer and product not in has and knowledge.products.last_age_days[product] < 91:
                    found.add((customer, anchor, product))
    return found


def as_set(steps: Steps) -> set[tuple[int, int, int]]:
    return set(zip(steps.position.tolist(), steps.anchor.tolist(), steps.product.tolist(), strict=True))


def repriced(knowledge: Knowledge, price: np.ndarray, family: np.ndarray) -> Knowledge:
    return replace(knowledge, ladder=replace(knowledge.ladder, price=price, family=family.astype(np.int32)))


def test_the_steps_are_exactly_those_the_rules_allow(knowledge: Knowledge, learned: UpSell) -> None:
    steps = score_steps(learned, knowledge, everyone(knowledge))

    assert len(as_set(steps)) == len(steps.product) > 500
    assert as_set(steps) == by_hand(knowledge)


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), families=st.integers(1, 60))
def test_no_step_is_ever_outside_the_rules(
    small_shop_learned: Any, learned: UpSell, seed: int, families: int
) -> None:
    """Whatever the prices: unknown, equal, a hundred times another; whatever the families: none, one, all."""
    knowledge = small_shop_learned.cut.lesson.knowledge
    rng = np.random.default_rng(seed)
    n = len(knowledge.products)
    price = rng.choice([np.nan, 0.01, 1.0, 1.1, 1.6, 1.61, 2.0, 110.0, 1e6], n)
    odd = repriced(knowledge, price, rng.integers(-1, families, n))

    for model in (learned, POPULAR):
        steps = score_steps(model, odd, everyone(odd), n=5)
        assert as_set(steps) <= by_hand(odd)
        assert np.isfinite(steps.p_buy).all() and (steps.p_buy >= 0).all() and (steps.p_buy <= 1).all()
        assert steps.rank.max(initial=0) < 5


def test_the_anchor_is_the_dearest_of_those_bought_last(knowledge: Knowledge) -> None:
    pairs = knowledge.pairs
    family, price = knowledge.ladder.family, knowledge.ladder.price
    steps = score_steps(POPULAR, knowledge, everyone(knowledge))

    for customer, anchor in set(zip(steps.position.tolist(), steps.anchor.tolist(), strict=True)):
        rows = slice(pairs.indptr[customer], pairs.indptr[customer + 1])
        product, age = pairs.product[rows], pairs.last_age_days[rows]
        mine = family[product] == family[anchor]
        newest = mine & (age == age[mine].min())
        assert price[anchor] == price[product[newest]].max()


@pytest.mark.parametrize("n", [None, 3])
def test_a_customer_gets_the_same_steps_in_any_batch(
    knowledge: Knowledge, learned: UpSell, n: int | None
) -> None:
    whole = score_steps(learned, knowledge, everyone(knowledge), n)

    for rows in (np.array([7]), np.array([40, 3, 7, 11]), everyone(knowledge)[::-1]):
        part = score_steps(learned, knowledge, rows, n)
        for place, row in enumerate(rows.tolist()):
            mine, alone = whole.position == row, part.position == place
            for name in ("anchor", "product", "p_buy", "rank"):
                assert getattr(whole, name)[mine].tobytes() == getattr(part, name)[alone].tobytes()


def test_steps_are_ranked_by_p_buy_and_the_best_n_are_kept(knowledge: Knowledge, learned: UpSell) -> None:
    steps = score_steps(learned, knowledge, everyone(knowledge))
    best = score_steps(learned, knowledge, everyone(knowledge), n=2)
    order = np.lexsort((steps.product, -steps.p_buy, steps.position))

    assert order.tolist() == list(range(len(order)))
    kept = steps.rank < 2
    assert best.product.tolist() == steps.product[kept].tolist()
    assert best.p_buy.tobytes() == steps.p_buy[kept].tobytes()


def test_planted_chances_are_recovered_and_calibrated(small_shop_learned: Any, learned: UpSell) -> None:
    lesson = planted(small_shop_learned.earlier.lesson)
    steps = score_steps(learned, lesson.knowledge, everyone(lesson.knowledge))
    n = len(lesson.knowledge.products)
    bought = np.isin(steps.position * n + steps.product, lesson.bought_customer * n + lesson.bought_product)
    truth = lesson.knowledge.products.log_share_28[steps.product]

    assert learned.step == "logistic" and learned.features == FEATURES and can_score(learned)
    assert steps.p_buy.mean() == pytest.approx(bought.mean(), rel=0.1)
    assert np.corrcoef(np.log(steps.p_buy), truth)[0, 1] > 0.9


def test_the_same_lessons_and_seed_give_the_same_model(small_shop_learned: Any, learned: UpSell) -> None:
    again = fit_up_sell([planted(small_shop_learned.earlier.lesson)], 28, seed=0)

    assert again.slope.tobytes() == learned.slope.tobytes() and again.intercept == learned.intercept


def test_sampled_examples_leave_the_chances_calibrated(
    small_shop_learned: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = planted(small_shop_learned.earlier.lesson)
    monkeypatch.setattr("nextoffer.models.up_sell.MAX_ROWS", 3_000)  # some 600 of them steps

    few = fit_up_sell([lesson], 28, seed=0)

    steps = score_steps(few, lesson.knowledge, everyone(lesson.knowledge))
    n = len(lesson.knowledge.products)
    bought = np.isin(steps.position * n + steps.product, lesson.bought_customer * n + lesson.bought_product)
    assert steps.p_buy.mean() == pytest.approx(bought.mean(), rel=0.15)


def test_too_few_labels_degrade_to_28_day_popularity(small_shop_learned: Any) -> None:
    lesson = small_shop_learned.earlier.lesson
    knowledge = lesson.knowledge
    nothing = replace(
        lesson, bought_customer=lesson.bought_customer[:3], bought_product=lesson.bought_product[:3]
    )

    model = fit_up_sell([nothing], 28, seed=0)

    assert (model.step, model.features) == ("popular", ()) and can_score(model)
    assert fit_up_sell([], 28, seed=0).step == "popular"
    steps = score_steps(model, knowledge, everyone(knowledge))
    share = knowledge.products.share_28[steps.product]
    same = np.diff(steps.position) == 0
    assert (np.diff(share)[same] <= 1e-7).all()


def test_a_model_of_other_features_is_not_scored_with() -> None:
    assert not can_score(UpSell(28, "logistic", FEATURES[:-1], np.zeros(len(FEATURES) - 1), 0.0))


def test_a_category_of_one_product_and_a_catalogue_of_one_have_no_steps(knowledge: Knowledge) -> None:
    n = len(knowledge.products)
    alone = fit_families(
        Strings.of(["thing"] * n), Strings.of([f"kind {row}" for row in range(n)]), np.ones(n), np.ones(n)
    )

    for odd in (
        replace(knowledge, ladder=alone),
        repriced(knowledge, np.full(n, np.nan), knowledge.ladder.family),
    ):
        assert len(score_steps(POPULAR, odd, everyone(odd)).product) == 0
        assert (
            fit_up_sell([Lesson(odd, np.zeros(0, np.int64), np.zeros(0, np.int64))], 28, 0).step == "popular"
        )


def test_no_customers_have_no_steps(knowledge: Knowledge, learned: UpSell) -> None:
    assert len(score_steps(learned, knowledge, np.zeros(0, np.int64)).product) == 0


def test_a_price_that_jumps_a_hundredfold_is_no_step(knowledge: Knowledge, learned: UpSell) -> None:
    price = knowledge.ladder.price.copy()
    price[::7] *= 100
    odd = repriced(knowledge, price, knowledge.ladder.family)

    steps = score_steps(learned, odd, everyone(odd))

    ratio = price[steps.product] / price[steps.anchor]
    assert len(ratio) > 0 and ratio.min() > 1.0999 and ratio.max() < 1.6001
