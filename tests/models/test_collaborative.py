"""Collaborative filtering against brute force, against implicit itself, and for any number of threads."""

from __future__ import annotations

from itertools import combinations, permutations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from nextoffer.models.collaborative import (
    ITERATIONS,
    N_FACTORS,
    REGULARIZATION,
    fit_companions,
    fit_factors,
    fit_similar,
    retrieve,
)


def purchases(n_customers: int = 300, n_products: int = 80, seed: int = 1) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    matrix = sp.random(n_customers, n_products, 0.08, random_state=seed, format="csr", dtype=np.float32)
    matrix.data[:] = rng.exponential(2.0, matrix.nnz)
    return matrix


def als(threads: int):
    from implicit.cpu.als import AlternatingLeastSquares

    with threadpool_limits(1, "blas"):
        return AlternatingLeastSquares(
            factors=N_FACTORS,
            regularization=REGULARIZATION,
            alpha=1.0,
            iterations=ITERATIONS,
            random_state=5,
            num_threads=threads,
        )


@pytest.mark.parametrize("threads", [1, 4])
def test_factors_are_bit_equal_for_one_and_many_threads(threads: int) -> None:
    weights = purchases()
    model = als(threads)
    with threadpool_limits(1, "blas"):
        model.fit(weights, show_progress=False)

    ours = fit_factors(weights, seed=5)

    assert ours.customer.tobytes() == model.user_factors.tobytes()
    assert ours.product.tobytes() == model.item_factors.tobytes()


def test_a_shop_without_purchases_has_factors_of_zero() -> None:
    factors = fit_factors(sp.csr_matrix((3, 4), dtype=np.float32), seed=0)

    assert factors.customer.shape == (3, N_FACTORS) and factors.product.shape == (4, N_FACTORS)
    assert not factors.customer.any() and not factors.product.any()


def test_retrieved_are_the_best_products_not_bought_as_plain_sorting_finds_them() -> None:
    weights = purchases()
    factors = fit_factors(weights, seed=5)
    scores = factors.customer.astype(np.float64) @ factors.product.astype(np.float64).T
    scores[weights.toarray() > 0] = -np.inf

    rows, values = retrieve(factors, np.arange(weights.shape[0]), weights, 12)

    best = np.sort(scores, axis=1)[:, ::-1][:, :12]
    np.testing.assert_allclose(values, best, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(scores, rows, axis=1), values, rtol=1e-4, atol=1e-6)


def test_what_was_bought_is_never_retrieved_even_where_too_little_is_left() -> None:
    weights = sp.csr_matrix(np.array([[1, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], dtype=np.float32))
    factors = fit_factors(weights, seed=5)

    rows, values = retrieve(factors, np.arange(weights.shape[0]), weights, 10)

    assert rows[0].tolist()[1:] == [-1, -1, -1] and rows[0, 0] == 3
    assert rows[1].tolist() == [-1] * 4
    assert sorted(rows[2].tolist()) == [-1, 0, 1, 2]
    assert (values[rows < 0] == 0).all()


SHARED = purchases()
SHARED_FACTORS = fit_factors(SHARED, seed=5)
SHARED_ANSWER = retrieve(SHARED_FACTORS, np.arange(300), SHARED, 10)


@given(st.lists(st.integers(0, 299), min_size=1, max_size=150))
def test_what_is_retrieved_does_not_depend_on_who_else_is_asked_for(customers: list[int]) -> None:
    rows, values = retrieve(SHARED_FACTORS, np.array(customers), SHARED[customers], 10)

    assert rows.tobytes() == SHARED_ANSWER[0][customers].tobytes()
    assert values.tobytes() == SHARED_ANSWER[1][customers].tobytes()


def test_similar_products_have_the_cosine_of_their_buyers() -> None:
    weights = purchases()
    dense = weights.toarray().astype(np.float64)
    unit = dense / np.maximum(np.linalg.norm(dense, axis=0), 1e-12)
    cosine = unit.T @ unit
    np.fill_diagonal(cosine, 0.0)

    similar = fit_similar(weights, n=5)

    for product in range(dense.shape[1]):
        others, scores = similar.of(product)
        np.testing.assert_allclose(scores, np.sort(cosine[product])[::-1][: len(scores)], rtol=1e-5)
        np.testing.assert_allclose(scores, cosine[product, others], rtol=1e-5)
        assert len(others) == min(5, np.count_nonzero(cosine[product] > 0))
        assert (np.diff(scores) <= 0).all()


def companions_of(baskets: list[set[int]], n_products: int, n: int = 30, prior: float = 20.0):
    """Companions learned from the co-occurrence of baskets, both directions, as the features have it."""
    together: dict[tuple[int, int], int] = {}
    for basket in baskets:
        for pair in permutations(sorted(basket), 2):
            together[pair] = together.get(pair, 0) + 1
    pairs = sorted(together)
    n_orders = np.array([sum(product in basket for basket in baskets) for product in range(n_products)])
    indptr = np.concatenate([[0], np.cumsum(np.bincount([p for p, _ in pairs], minlength=n_products))])
    other = np.array([q for _, q in pairs], dtype=np.int32)
    counts = np.array([together[pair] for pair in pairs])
    return fit_companions(indptr, other, counts, n_orders, len(baskets), n, prior)


def test_companions_are_shares_of_orders_shrunk_towards_chance() -> None:
    rng = np.random.default_rng(2)
    baskets = [set(rng.choice(12, size=rng.integers(1, 5), replace=False).tolist()) for _ in range(200)]
    baskets += [{0, 1}] * 30 + [{2, 3, 4}] * 20

    companions = companions_of(baskets, 12, n=4)

    def share(product: int, other: int) -> float:
        both = sum({product, other} <= basket for basket in baskets)
        base = sum(other in basket for basket in baskets) / len(baskets)
        return (both + 20 * base) / (sum(product in basket for basket in baskets) + 20)

    def rank(product: int, other: int) -> float:
        base = sum(other in basket for basket in baskets) / len(baskets)
        return share(product, other) * np.log(share(product, other) / base)

    for product in range(12):
        seen = {b for basket in baskets if product in basket for b in basket} - {product}
        better = sorted(
            (other for other in seen if rank(product, other) > 0), key=lambda o: (-rank(product, o), o)
        )
        others, scores = companions.of(product)
        assert others.tolist() == better[:4]
        np.testing.assert_allclose(scores, [share(product, other) for other in better[:4]], rtol=1e-6)


def test_what_goes_with_everything_as_often_as_chance_is_no_companion() -> None:
    baskets = (
        [{0, 1}] * 25 + [{0, 2}] * 25 + [{0}] * 25 + [{1}, {2}] * 25
    )  # 0 is in 75 of 125, with 1 in 25 of 50

    companions = companions_of(baskets, 3)

    assert 0 not in companions.of(1)[0].tolist() and 0 not in companions.of(2)[0].tolist()


def test_a_pair_seen_twice_does_not_outrank_one_seen_two_hundred_times() -> None:
    baskets = [{0, 1}] * 200 + [{0, 2}] * 2 + [{3}] * 400 + [{a, b} for a, b in combinations((3, 4, 5), 2)]

    assert companions_of(baskets, 6).of(0)[0].tolist() == [1, 2]
