"""Peers against brute force over small random baskets, and against the packages they come from."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from benchmarks.peers import collaborative
from benchmarks.peers.lists import best
from benchmarks.peers.next_basket import (
    Tifu,
    Upcf,
    gp_topfreq,
    personal_frequency,
    tifu_knn,
    tifu_vectors,
    up_cf,
)
from benchmarks.quality.splits import Baskets


def toy(seed: int = 0, n_users: int = 12, n_products: int = 9) -> Baskets:
    """Random baskets of 1 to 8 to a user."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(n_users):
        for number in range(1, int(rng.integers(1, 9)) + 1):
            chosen = rng.choice(n_products, size=int(rng.integers(1, 4)), replace=False)
            rows += [(user, number, product) for product in sorted(chosen)]
    user, number, product = np.array(rows).T
    nothing = np.zeros(0, int)
    part = np.full(n_users, 2)
    history = (user, number, product, nothing, nothing)
    return Baskets("toy", *history, part, np.arange(n_users), n_products, n_products)


def history(baskets: Baskets, user: int) -> list[set[int]]:
    """One user's baskets, oldest first."""
    mine = baskets.user == user
    n = int(baskets.number[mine].max())
    return [set(baskets.product[mine & (baskets.number == number)].tolist()) for number in range(1, n + 1)]


def reference_tifu_vector(baskets: list[set[int]], chosen: Tifu, n_products: int) -> np.ndarray:
    """The authors' procedure, step by step: decay each basket, average groups, decay and average those."""
    n = len(baskets)
    vectors = []
    for at, basket in enumerate(baskets):
        vector = np.zeros(n_products)
        vector[list(basket)] = chosen.within_decay ** (n - 1 - at)
        vectors.append(vector)
    if n < chosen.groups:
        groups = [[vector] for vector in vectors]
    else:
        short, extra = divmod(n, chosen.groups)
        lengths = [short] * (chosen.groups - extra) + [short + 1] * extra
        ends = np.cumsum(lengths)
        groups = [vectors[end - length : end] for length, end in zip(lengths, ends, strict=True)]
    total = np.zeros(n_products)
    for place, group in enumerate(groups):
        total += np.mean(group, axis=0) * chosen.group_decay ** (chosen.groups - 1 - place)
    return total / len(groups)


def test_the_best_come_in_order_and_ties_by_column() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(50, 12)).astype(float)
    found = best(scores, 5)
    for row, values in enumerate(scores):
        wanted = [column for column in np.lexsort((np.arange(12), -values)) if values[column] > 0][:5]
        assert [column for column in found[row] if column >= 0] == wanted


@pytest.mark.parametrize("seed", range(3))
def test_frequency_ranks_by_count_then_popularity(seed: int) -> None:
    baskets = toy(seed)
    popular = np.bincount(baskets.product, minlength=9)
    own, filled = personal_frequency(baskets, 9), gp_topfreq(baskets, 9)
    for user in baskets.judged:
        count = np.bincount(baskets.product[baskets.user == user], minlength=9)
        ranked = np.lexsort((np.arange(9), -popular, -count))
        assert filled[user].tolist() == ranked.tolist()
        assert [p for p in own[user] if p >= 0] == [p for p in ranked if count[p]]


@pytest.mark.parametrize("chosen", [Tifu(4), Tifu(3, 0.8, 0.5, 0.3, 3), Tifu(5, 1.0, 0.9, 0.5, 1)])
def test_tifu_follows_the_authors_procedure(chosen: Tifu) -> None:
    baskets = toy(1)
    vectors = np.array([reference_tifu_vector(history(baskets, user), chosen, 9) for user in range(12)])
    assert tifu_vectors(baskets, chosen).toarray() == pytest.approx(vectors)
    found = tifu_knn(baskets, 4, chosen)
    for user in baskets.judged:
        others = np.array([other for other in range(12) if other != user])
        distance = ((vectors[others] - vectors[user]) ** 2).sum(axis=1)
        near = others[np.argsort(distance)[: chosen.neighbours]]
        score = chosen.own * vectors[user] + (1 - chosen.own) * vectors[near].mean(axis=0)
        assert score[found[user]] == pytest.approx(np.sort(score)[::-1][:4])


@pytest.mark.parametrize("chosen", [Upcf(3, 0.25, 5.0, 100), Upcf(1, 0.75, 2.0, 100)])
def test_up_cf_sums_recent_popularity_over_the_alike(chosen: Upcf) -> None:
    baskets = toy(2)
    bought = [set().union(*history(baskets, user)) for user in range(12)]
    recent = np.zeros((12, 9))
    for user in range(12):
        last = history(baskets, user)[-chosen.recent :]
        for basket in last:
            recent[user, list(basket)] += 1 / len(last)
    found = up_cf(baskets, 4, chosen)
    for user in baskets.judged:
        score = np.zeros(9)
        for other in range(12):
            both = len(bought[user] & bought[other])
            size = len(bought[user]) ** chosen.asymmetry * len(bought[other]) ** (1 - chosen.asymmetry)
            score += (1.0 if other == user else (both / size) ** chosen.locality) * recent[other]
        assert score[found[user]] == pytest.approx(np.sort(score)[::-1][:4])


def _shop(seed: int = 3) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(rng.poisson(0.25, size=(60, 25)).astype(np.float64))


def test_ease_is_the_ridge_regression_of_each_product_on_the_others() -> None:
    shop = _shop()
    learned = collaborative.ease_weights(shop, 7.0)
    dense = shop.toarray()
    for product in (0, 11, 24):
        others = np.delete(np.arange(25), product)
        x = dense[:, others]
        wanted = np.linalg.solve(x.T @ x + 7.0 * np.eye(24), x.T @ dense[:, product])
        assert learned[others, product] == pytest.approx(wanted)
        assert learned[product, product] == 0.0


def test_als_bm25_and_cosine_list_what_implicit_lists() -> None:
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
    from threadpoolctl import threadpool_limits

    shop, rows = _shop().astype(np.float32), np.arange(0, 60, 7)
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(factors=8, random_state=0)
        model.fit(shop.copy(), show_progress=False)
        ids, scores = model.recommend(rows, shop[rows], N=5, filter_already_liked_items=True)
    found = collaborative.als(shop, rows, 5, True, collaborative.Als(factors=8))
    assert (found == np.where(scores > 0, ids, -1)).all()
    for theirs, ours in (
        (BM25Recommender(), collaborative.bm25),
        (CosineRecommender(), collaborative.cosine),
    ):
        with pytest.warns(Warning, match="CSR"):
            theirs.fit(shop.copy(), show_progress=False)
        ids, scores = theirs.recommend(rows, shop[rows].astype(np.float64), N=5)
        lists = ours(shop.astype(np.float64), rows, 5, True)
        full = shop[rows] @ theirs.similarity
        for row, wanted in enumerate(scores):
            got = full.toarray()[row][lists[row][lists[row] >= 0]]
            assert got == pytest.approx(wanted[wanted > 0], rel=1e-5)


def test_no_peer_lists_a_bought_product_where_new_ones_are_asked_for() -> None:
    shop, rows = _shop(), np.arange(60)
    for method in (
        collaborative.popularity,
        collaborative.als,
        collaborative.bm25,
        collaborative.cosine,
        collaborative.ease,
    ):
        lists = method(shop, rows, 5, True)
        known = shop.toarray()[rows[:, None], np.maximum(lists, 0)] > 0
        assert not (known & (lists >= 0)).any()
