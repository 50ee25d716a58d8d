"""The methods we are compared with, against plain loops: a baseline that is wrong flatters us."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import pytest

from nextoffer.backtest import baselines
from nextoffer.models.knowledge import Knowledge


@pytest.fixture(scope="module")
def knowledge(small_shop_learned: Any) -> Knowledge:
    return small_shop_learned.cut.lesson.knowledge


def rows_of(knowledge: Knowledge) -> np.ndarray:
    return np.arange(len(knowledge.customers))


def own(knowledge: Knowledge, row: int) -> dict[int, int]:
    """Product -> orders of one customer."""
    pairs = knowledge.pairs
    at = slice(int(pairs.indptr[row]), int(pairs.indptr[row + 1]))
    return dict(zip(pairs.product[at].tolist(), pairs.n_orders[at].tolist(), strict=True))


def by_popularity(knowledge: Knowledge) -> list[int]:
    pairs, n = knowledge.pairs, len(knowledge.products)
    lately = np.bincount(pairs.product[pairs.last_age_days < 28], minlength=n)
    ever = np.bincount(pairs.product, minlength=n)
    return sorted(range(n), key=lambda p: (-lately[p], -ever[p], p))


def padded(products: list[int], k: int) -> list[int]:
    return (products + [-1] * k)[:k]


@pytest.mark.parametrize("k", [10, 140])
@pytest.mark.parametrize("new_only", [False, True])
def test_popularity_is_what_most_customers_bought_in_28_days(
    k: int, new_only: bool, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BLOCK", 50)
    ranked = [p for p in by_popularity(knowledge) if knowledge.products.n_orders[p] > 0]

    lists = baselines.popularity(knowledge, rows_of(knowledge), k, new_only)

    for row in rows_of(knowledge).tolist():
        free = [p for p in ranked if not new_only or p not in own(knowledge, row)]
        assert lists[row].tolist() == padded(free, k)


def test_personal_frequency_breaks_ties_by_popularity_and_fills_up_with_it(knowledge: Knowledge) -> None:
    popular = by_popularity(knowledge)
    place = {product: at for at, product in enumerate(popular)}
    ranked = [p for p in popular if knowledge.products.n_orders[p] > 0]

    lists = baselines.personal_frequency(knowledge, rows_of(knowledge), 10)

    for row in rows_of(knowledge).tolist():
        bought = own(knowledge, row)
        first = sorted(bought, key=lambda p: (-bought[p], place[p]))
        assert lists[row].tolist() == padded(first[:10] + [p for p in ranked if p not in bought], 10)


@pytest.mark.parametrize("new_only", [False, True])
def test_trending_is_popularity_times_the_pace_of_the_last_ten_days(
    new_only: bool, knowledge: Knowledge
) -> None:
    products = knowledge.products
    place = {product: at for at, product in enumerate(by_popularity(knowledge))}
    pace = products.share_28 * np.exp(products.trend.astype(float))
    sold = [p for p in range(len(products)) if products.n_orders[p] > 0]
    ranked = sorted(sold, key=lambda p: (-pace[p], place[p]))

    lists = baselines.trending(knowledge, rows_of(knowledge), 10, new_only)

    for row in rows_of(knowledge).tolist():
        free = [p for p in ranked if not new_only or p not in own(knowledge, row)]
        assert lists[row].tolist() == padded(free, 10)


@pytest.mark.parametrize("k", [3, 10])
def test_the_last_basket_comes_again_and_then_what_is_popular(
    k: int, knowledge: Knowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "BLOCK", 50)
    pairs, popular = knowledge.pairs, by_popularity(knowledge)
    ranked = [p for p in popular if knowledge.products.n_orders[p] > 0]

    lists = baselines.last_basket(knowledge, rows_of(knowledge), k)

    for row in rows_of(knowledge).tolist():
        at = slice(int(pairs.indptr[row]), int(pairs.indptr[row + 1]))
        basket = set(pairs.product[at][pairs.in_last[at] > 0].tolist())
        first = [p for p in popular if p in basket][:k]
        assert lists[row].tolist() == padded(first + [p for p in ranked if p not in first], k)


@pytest.mark.parametrize("new_only", [False, True])
def test_item_item_adds_up_cosines_of_what_was_bought(new_only: bool, knowledge: Knowledge) -> None:
    n = len(knowledge.products)
    counts = knowledge.pairs.matrix(knowledge.pairs.n_orders.astype(np.float32), n)
    dense = counts.toarray().astype(float)
    unit = dense / np.maximum(np.linalg.norm(dense, axis=0), 1e-12)
    cosine = unit.T @ unit
    nearest = np.argsort(-cosine, axis=1, kind="stable")[
        :, :20
    ]  # implicit keeps 20 neighbours, itself included
    kept = np.zeros_like(cosine)
    np.put_along_axis(kept, nearest, np.take_along_axis(cosine, nearest, axis=1), axis=1)
    scores = dense @ kept
    if new_only:
        scores[dense > 0] = 0

    lists = baselines.item_item(counts, rows_of(knowledge), 10)[int(new_only)]

    best = np.sort(scores, axis=1)[:, ::-1][:, :10]
    got = np.where(lists >= 0, np.take_along_axis(scores, np.maximum(lists, 0), axis=1), 0.0)
    assert np.mean(np.abs(got - best) < 1e-3) > 0.98  # ties at the twentieth neighbour may fall either way


def test_als_with_its_defaults_ranks_what_the_library_ranks_and_nothing_bought_where_new_is_asked(
    knowledge: Knowledge,
) -> None:
    n = len(knowledge.products)
    counts = knowledge.pairs.matrix(knowledge.pairs.n_orders.astype(np.float32), n)
    rows = rows_of(knowledge)[5:60]

    everything, new = baselines.als(counts, rows, 10, seed=1)
    again = baselines.als(counts, rows, 10, seed=1)

    assert (everything.tolist(), new.tolist()) == tuple(lists.tolist() for lists in again)
    for position, row in enumerate(rows.tolist()):
        assert not set(new[position].tolist()) & set(own(knowledge, row))


def test_mean_gap_is_the_pairs_own_else_its_products_median_else_the_shops(knowledge: Knowledge) -> None:
    pairs = knowledge.pairs
    gaps: dict[int, list[float]] = {}
    for at in range(len(pairs.product)):
        if pairs.n_days[at] >= 2:
            gap = (pairs.first_age_days[at] - pairs.last_age_days[at]) / (pairs.n_days[at] - 1)
            gaps.setdefault(int(pairs.product[at]), []).append(float(gap))
    shop = median(gap for values in gaps.values() for gap in values)
    expected = []
    for at in range(len(pairs.product)):
        if pairs.n_days[at] >= 2:
            gap = float((pairs.first_age_days[at] - pairs.last_age_days[at]) / (pairs.n_days[at] - 1))
        else:
            gap = median(gaps.get(int(pairs.product[at]), [shop]))
        expected.append(-abs(gap - pairs.last_age_days[at] - 14))

    np.testing.assert_allclose(baselines.mean_gap_score(knowledge, 28), expected, rtol=1e-9, atol=1e-9)


def test_lists_are_the_best_by_score_then_product() -> None:
    position = np.array([0, 0, 0, 2, 2])
    product = np.array([4, 2, 9, 5, 1])
    score = np.array([0.5, 0.5, 0.9, 0.1, 0.2])

    assert baselines.lists_of(position, product, score, 3, 2).tolist() == [[9, 2], [-1, -1], [1, 5]]
