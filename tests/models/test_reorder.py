"""Reorder: closed forms against integrals, planted rates found again, and shops too small to learn from."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import gamma as gamma_law

from nextoffer.models.reorder import (
    WINDOW_DAYS,
    Reorder,
    due_window,
    expected_gap_days,
    fit_reorder,
    p_reorder,
)

MODEL = Reorder(np.array([0.002, 0.02, 0.1]), shop_rate=0.01, shape=0.6, strength=1.2, n_pairs=100)


def pairs(product, n_days, first, last):
    return tuple(np.array(column) for column in (product, n_days, first, last))


def planted_shop(n=60_000, n_products=40, shape=0.7, seed=0):
    """Pairs whose repeat purchases are drawn from the law itself."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(2.0, 0.01 / 2.0, n_products)
    product, first = rng.integers(0, n_products, n), rng.integers(0, 365, n)
    own = rng.gamma(shape, rate[product] / shape)
    repeats = rng.poisson(own * first)
    last = np.where(
        repeats > 0, (first * (1 - rng.random(n) ** (1 / np.maximum(repeats, 1)))).astype(int), first
    )
    return rate, own, (product, repeats + 1, first, last)


@pytest.mark.parametrize(("product", "n_days", "first"), [(0, 1, 0), (0, 1, 300), (1, 4, 90), (2, 30, 300)])
@pytest.mark.parametrize("horizon", [1, 14, 365])
def test_p_reorder_is_the_integral_over_the_pairs_rate(product, n_days, first, horizon):
    shape = MODEL.shape + n_days - 1
    days = MODEL.shape / MODEL.rate[product] + first
    law = gamma_law(shape, scale=1 / days)
    edges = law.ppf([0.0, 1e-9, 1e-4, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12])
    expected = sum(
        quad(lambda rate: -np.expm1(-rate * horizon) * law.pdf(rate), low, high, limit=200)[0]
        for low, high in pairwise(edges)
    )
    got = p_reorder(MODEL, *pairs([product], [n_days], [first], [0]), horizon)
    assert got.dtype == np.float32
    assert got == pytest.approx(expected, rel=1e-4)


def test_planted_rates_and_shape_are_found_again():
    rate, _, columns = planted_shop()
    found = fit_reorder(*columns, 40)
    assert found.shape == pytest.approx(0.7, rel=0.05)
    assert found.strength == pytest.approx(2.0, rel=0.6)  # forty products tell little about how they differ
    assert np.median(np.abs(found.rate / rate - 1)) < 0.05


def test_p_reorder_is_the_share_of_pairs_that_are_bought_again():
    _, own, columns = planted_shop()
    chance = p_reorder(fit_reorder(*columns, 40), *columns, 28)
    bought = np.random.default_rng(1).random(len(own)) < -np.expm1(-own * 28)
    for tenth in np.array_split(np.argsort(chance, kind="stable"), 10):
        error = float(np.sqrt(chance[tenth].mean() / len(tenth)))
        assert bought[tenth].mean() == pytest.approx(chance[tenth].mean(), abs=4 * error + 0.002)


def test_a_product_nobody_bought_again_is_low_but_never_zero_and_a_new_one_follows_the_shop():
    n = 400
    product = np.repeat([0, 1], n // 2)
    n_days = np.where(product == 0, 1, 3)
    found = fit_reorder(product, n_days, np.full(n, 200), np.full(n, 20), 3)
    assert 0 < found.rate[0] < 0.1 * found.shop_rate < found.shop_rate < found.rate[1]
    assert found.rate[2] == pytest.approx(found.shop_rate)


def test_more_purchases_a_faster_product_and_a_longer_horizon_raise_p():
    more = p_reorder(MODEL, *pairs([1] * 5, [1, 2, 3, 8, 40], [100] * 5, [5] * 5), 28)
    faster = p_reorder(MODEL, *pairs([0, 1, 2], [2] * 3, [100] * 3, [5] * 3), 28)
    silence = p_reorder(MODEL, *pairs([1] * 4, [2] * 4, [10, 50, 200, 360], [5] * 4), 28)
    ahead = [float(p_reorder(MODEL, *pairs([1], [2], [90], [5]), days)[0]) for days in (0, 1, 14, 28, 9999)]
    assert np.all(np.diff(more) > 0) and np.all(np.diff(faster) > 0) and np.all(np.diff(silence) < 0)
    assert ahead[0] == 0.0 and ahead == sorted(ahead)


def test_an_empty_shop_and_a_single_pair_are_no_failure():
    none = np.zeros(0, int)
    empty = fit_reorder(none, none, none, none, 3)
    assert np.all(empty.rate > 0) and len(p_reorder(empty, none, none, none, none, 28)) == 0
    single = pairs([0], [1], [0], [0])
    found = fit_reorder(*single, 1)
    assert 0 < p_reorder(found, *single, 28)[0] < 0.2
    assert len(fit_reorder(none, none, none, none, 0).rate) == 0


def test_pairs_all_bought_on_the_last_day_are_no_failure():
    columns = pairs([0, 1] * 30, [1] * 60, [0] * 60, [0] * 60)
    assert np.all(np.isfinite(p_reorder(fit_reorder(*columns, 2), *columns, 28)))


def test_the_expected_gap_is_the_inverse_of_the_expected_rate_unless_the_shelf_life_is_known():
    columns = pairs([1, 1], [5, 5], [100, 100], [10, 10])
    gap = (MODEL.shape / 0.02 + 100) / (MODEL.shape + 4)
    assert expected_gap_days(MODEL, *columns) == pytest.approx([gap, gap])
    assert expected_gap_days(MODEL, *columns, np.array([60.0, np.nan])) == pytest.approx([60.0, gap])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_the_next_purchase_falls_into_the_due_window_with_the_chance_asked_for(share):
    columns = pairs([0, 1, 2], [1, 3, 9], [40, 90, 100], [40, 3, 7])
    start, end, probability = due_window(MODEL, *columns, share=share)
    inside = [
        p_reorder(MODEL, *(column[[row]] for column in columns), end[row])
        - p_reorder(MODEL, *(column[[row]] for column in columns), start[row])
        for row in range(3)
    ]
    assert np.ravel(inside) == pytest.approx(probability, abs=1e-5)
    whole = end < WINDOW_DAYS
    assert whole.any() and probability[whole] == pytest.approx(share)
    assert np.all(probability[~whole] < share)


def test_windows_hold_as_many_next_purchases_as_they_promise():
    _, own, columns = planted_shop()
    start, end, probability = due_window(fit_reorder(*columns, 40), *columns)
    wait = np.random.default_rng(3).exponential(1 / np.maximum(own, 1e-12))
    held = (wait >= start) & (wait < end)
    assert held.mean() == pytest.approx(probability.mean(), abs=0.01)
    for quarter in np.array_split(np.argsort(end, kind="stable"), 4):
        assert held[quarter].mean() == pytest.approx(probability[quarter].mean(), abs=0.03)


def test_a_known_shelf_life_sets_the_window_around_the_day_the_supply_ends():
    columns = pairs([1, 1, 1], [2, 2, 2], [100, 200, 100], [30, 150, 30])
    start, end, probability = due_window(MODEL, *columns, np.array([40.0, 40.0, np.nan]))
    assert (start[0], end[0]) == (0.0, 20.0)  # ten days of supply left, give or take ten
    assert (start[1], end[1]) == (0.0, 10.0)  # long since used up: now
    assert start[2] < end[2]
    assert probability[0] == pytest.approx(p_reorder(MODEL, *(c[:1] for c in columns), 20)[0], abs=1e-6)


any_pairs = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 400), st.integers(0, 4000), st.integers(0, 4000)),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(rows=any_pairs, horizon=st.integers(0, 5000))
def test_every_p_is_in_range_and_depends_on_its_own_pair_only(rows, horizon):
    columns = tuple(np.array(column) for column in zip(*rows, strict=True))
    for model in (MODEL, fit_reorder(*columns, 3)):
        whole = p_reorder(model, *columns, horizon)
        assert np.all((whole >= 0) & (whole <= 1))
        alone = [
            p_reorder(model, *(column[[row]] for column in columns), horizon)[0] for row in range(len(rows))
        ]
        assert np.array_equal(whole, alone)
        start, end, probability = due_window(model, *columns)
        assert np.all(start >= 0) and np.all(start <= end)
        assert np.all((probability >= 0) & (probability <= 1))


def test_the_order_of_pairs_does_not_matter():
    _, _, columns = planted_shop(2_000, 10)
    shuffled = np.random.default_rng(2).permutation(2_000)
    first = fit_reorder(*columns, 10)
    second = fit_reorder(*(column[shuffled] for column in columns), 10)
    assert second.rate == pytest.approx(first.rate, rel=1e-6)
    assert second.shape == pytest.approx(first.shape, rel=1e-6)
