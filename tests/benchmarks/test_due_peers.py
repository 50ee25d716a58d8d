"""Replenishment peers against loops over the purchases and against scipy's own fits."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.peers import due as peers
from benchmarks.peers.due import PairDays
from benchmarks.quality.replenishment import peer_scores
from scipy.stats import gamma, lognorm


def drawn(seed: int = 0, n: int = 600) -> tuple[PairDays, dict[tuple[int, int], list[int]]]:
    """Random purchases, and the ages of each pair's, the oldest first."""
    rng = np.random.default_rng(seed)
    customer, product, age = rng.integers(0, 20, n), rng.integers(0, 5, n), rng.integers(0, 200, n)
    by_hand: dict[tuple[int, int], set[int]] = {}
    for who, what, when in zip(customer.tolist(), product.tolist(), age.tolist(), strict=True):
        by_hand.setdefault((who, what), set()).add(when)
    pairs = {key: sorted(ages, reverse=True) for key, ages in sorted(by_hand.items())}
    return PairDays.of(customer, product, age), pairs


def test_pairs_are_what_counting_by_hand_gives() -> None:
    days, pairs = drawn()
    assert days.product.tolist() == [product for _, product in pairs]
    assert days.n_days.tolist() == [len(ages) for ages in pairs.values()]
    assert days.first.tolist() == [ages[0] for ages in pairs.values()]
    assert days.last.tolist() == [ages[-1] for ages in pairs.values()]


def test_decay_frequency_and_mean_gap_are_their_definitions() -> None:
    days, pairs = drawn(n=150)
    gaps: dict[int, list[int]] = {}
    for (_, product), ages in pairs.items():
        gaps.setdefault(product, []).extend(-np.diff(ages))
    expected = []
    for (_, product), ages in pairs.items():
        gap = np.mean(-np.diff(ages)) if len(ages) > 1 else np.median(gaps[product])
        ahead = gap - ages[-1]
        expected.append(-max(-ahead, ahead - 14, 0))
    assert peers.mean_gap(days, 14) == pytest.approx(expected)
    assert peers.decay(days) == pytest.approx([sum(0.5 ** (a / 90) for a in v) for v in pairs.values()])
    assert peers.frequency(days) == pytest.approx([len(v) / (v[0] + 30) for v in pairs.values()])


def test_atd_is_the_mass_of_the_log_normal_law_scipy_fits_to_the_gaps() -> None:
    days, _ = drawn()
    product, gap = days.gaps()
    laws = {row: lognorm.fit(gap[product == row], floc=0) for row in range(5)}
    mass = [
        lognorm.cdf(last + 14, *laws[row]) - lognorm.cdf(last, *laws[row])
        for row, last in zip(days.product.tolist(), days.last.tolist(), strict=True)
    ]
    assert peers.rcp_atd(days, 14) == pytest.approx(peers.rcp(days) * mass, rel=1e-4, abs=1e-9)


def test_the_gamma_law_of_a_product_is_the_one_scipy_fits_to_its_repeat_customers() -> None:
    days, _ = drawn(n=3_000)
    shape, rate = peers._gamma_of_each(days)
    mine = days.product == 3
    rates = ((days.n_days - 1) / days.first)[mine & (days.n_days > 1)]
    fitted, _, scale = gamma.fit(rates, floc=0)
    assert shape[mine][0] == pytest.approx(fitted, rel=0.02)
    assert rate[mine][0] == pytest.approx(1 / scale, rel=0.02)


def test_the_modified_law_turns_to_the_plain_one_two_gaps_after_the_last_purchase() -> None:
    # one product; pairs bought every 10 days, last 5, 10 and 50 days ago
    customer = np.repeat([0, 1, 2], 3)
    age = np.array([25, 15, 5, 30, 20, 10, 70, 60, 50])
    days = PairDays.of(customer, np.zeros(9, int), age)
    shape, rate = peers._gamma_of_each(days)
    exposure = np.array([20 + 2 * 5, 20 + 0, 70])
    expected = peers.rcp(days) * -np.expm1(-14 * (3 + shape) / (exposure + rate))
    assert peers.modified_poisson_gamma(days, 14) == pytest.approx(expected)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_few_purchases_are_no_failure(n: int) -> None:
    days, _ = drawn(n=n)
    for score in peer_scores(days, 14).values():
        assert len(score) == len(days.product) and np.isfinite(score).all()
