"""p_buy: planted chances are found again, and nobody's depends on who else is scored."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.models import curves as module
from nextoffer.models.curves import Curves
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.mixture import Mixture
from nextoffer.models.ranker import Lesson, Ranker, Scored, can_score, fit_ranker, score_batch
from nextoffer.models.reorder import p_reorder
from nextoffer.models.trees import fit_trees

COMBINED = Ranker(28, "combined", None, None)


@pytest.fixture(scope="module")
def knowledge(small_shop_learned: Any) -> Knowledge:
    return small_shop_learned.bundle.knowledge


def everyone(knowledge: Knowledge) -> np.ndarray:
    return np.arange(len(knowledge.customers))


def planted_p(knowledge: Knowledge, scored: Scored) -> np.ndarray:
    """Chances that follow from what the ranker sees: habit and recency, or popularity."""
    pairs, products = knowledge.pairs, knowledge.products
    pair = np.maximum(scored.pair, 0)
    habit = -1.5 + 0.8 * np.log(pairs.n_orders[pair]) - 0.4 * np.log1p(pairs.last_age_days[pair] / 7)
    taste = -1.0 + 0.9 * (products.log_share_28[scored.product] + 2.5)
    return 1 / (1 + np.exp(-np.where(scored.repeat, habit, taste)))


def planted_labels(knowledge: Knowledge, seed: int) -> tuple[Scored, np.ndarray, np.ndarray]:
    scored = score_batch(COMBINED, knowledge, everyone(knowledge))
    truth = planted_p(knowledge, scored)
    return scored, truth, np.random.default_rng(seed).random(len(truth)) < truth


def test_planted_chances_are_recovered(knowledge: Knowledge) -> None:
    scored, truth, bought = planted_labels(knowledge, seed=1)

    ranker = fit_ranker([Lesson(knowledge, scored.position[bought], scored.product[bought])], 28, seed=0)

    p_buy = score_batch(ranker, knowledge, everyone(knowledge)).p_buy.astype(float)
    assert ranker.step == "mixture"
    for view in (scored.repeat, ~scored.repeat):
        assert p_buy[view].mean() == pytest.approx(bought[view].mean(), abs=0.01)
        assert np.corrcoef(p_buy[view], truth[view])[0, 1] > 0.8
        assert np.abs(p_buy[view] - truth[view]).mean() < 0.06
        for rows in np.array_split(np.flatnonzero(view)[np.argsort(p_buy[view])], 8):
            assert p_buy[rows].mean() == pytest.approx(truth[rows].mean(), abs=0.06)


def test_sampled_negatives_leave_the_chances_calibrated(
    knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, _, bought = planted_labels(knowledge, seed=2)
    monkeypatch.setattr(module, "MAX_ROWS", 2_400)  # about a quarter of the rows stay

    ranker = fit_ranker([Lesson(knowledge, scored.position[bought], scored.product[bought])], 28, seed=0)

    p_buy = score_batch(ranker, knowledge, everyone(knowledge)).p_buy
    for view in (scored.repeat, ~scored.repeat):
        assert p_buy[view].mean() == pytest.approx(bought[view].mean(), rel=0.15)


def test_the_real_ranker_promises_as_many_purchases_as_there_were(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    knowledge, cut = shop.cut.lesson.knowledge, shop.cut.lesson
    ranker = shop.bundle.taught.ranker
    scored = score_batch(ranker, knowledge, everyone(knowledge))
    n = len(knowledge.products)
    bought = np.isin(
        scored.position * n + scored.product, cut.bought_customer.astype(int) * n + cut.bought_product
    )

    assert ranker.step == "mixture"
    for view in (scored.repeat, ~scored.repeat):
        assert scored.p_buy[view].sum() == pytest.approx(bought[view].sum(), rel=0.05)


def test_a_shop_too_small_to_teach_falls_back_to_combined_scores(knowledge: Knowledge) -> None:
    ranker = fit_ranker([Lesson(knowledge, np.zeros(5, np.int64), np.arange(5))], 28, seed=0)

    assert ranker.step == "combined"
    assert ranker.repeat is None and ranker.explore is None
    scored = score_batch(ranker, knowledge, everyone(knowledge))
    pairs, pair = knowledge.pairs, scored.pair[scored.repeat]
    days = pairs.n_days[pair], pairs.first_age_days[pair], pairs.last_age_days[pair]
    expected = p_reorder(knowledge.reorder, pairs.product[pair], *days, 28)
    np.testing.assert_allclose(scored.p_buy[scored.repeat], expected, rtol=1e-6)


@pytest.mark.parametrize("taught", [True, False])
def test_every_chance_is_a_probability(taught: bool, small_shop_learned: Any) -> None:
    bundle = small_shop_learned.bundle
    scored = score_batch(
        bundle.taught.ranker if taught else COMBINED, bundle.knowledge, everyone(bundle.knowledge)
    )

    assert np.isfinite(scored.p_buy).all()
    assert ((scored.p_buy >= 0) & (scored.p_buy <= 1)).all()


def test_scored_are_all_products_bought_and_each_pair_once(knowledge: Knowledge) -> None:
    scored = score_batch(COMBINED, knowledge, everyone(knowledge))
    keys = scored.position * len(knowledge.products) + scored.product

    assert (np.diff(keys) > 0).all()
    assert np.sort(scored.pair[scored.repeat]).tolist() == list(range(len(knowledge.pairs.product)))
    assert (knowledge.pairs.product[scored.pair[scored.repeat]] == scored.product[scored.repeat]).all()
    assert (scored.pair[~scored.repeat] == -1).all()
    assert np.any([rank[~scored.repeat] >= 0 for rank in scored.source.values()], axis=0).all()
    assert not np.any([rank[scored.repeat] >= 0 for rank in scored.source.values()])


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_a_customer_scores_the_same_bytes_in_any_batch(data: st.DataObject, small_shop_learned: Any) -> None:
    bundle = small_shop_learned.bundle
    n = len(bundle.knowledge.customers)
    whole = score_batch(bundle.taught.ranker, bundle.knowledge, np.arange(n))
    rows = np.array(data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=90)))

    part = score_batch(bundle.taught.ranker, bundle.knowledge, rows)

    at = np.concatenate([np.flatnonzero(whole.position == row) for row in rows.tolist()])
    for column in fields(Scored):
        mine, all_of_them = getattr(part, column.name), getattr(whole, column.name)
        if column.name == "position":
            assert rows[mine].tolist() == all_of_them[at].tolist()
        elif isinstance(mine, dict):
            assert all(mine[name].tobytes() == all_of_them[name][at].tobytes() for name in mine)
        else:
            assert mine.tobytes() == all_of_them[at].tobytes(), column.name


def test_a_ranker_with_other_features_is_known_for_one_that_cannot_score_here() -> None:
    knots = np.arange(2.0)[None, :]
    old = Curves(("a_feature_of_long_ago",), knots, knots, 0.0)

    assert can_score(Ranker(28, "combined", None, None))
    trees = fit_trees(np.arange(400.0)[:, None], np.arange(400) > 200, None, old.features, seed=0, n_trees=1)
    assert not can_score(Ranker(28, "combined", Mixture(old, trees), None))
