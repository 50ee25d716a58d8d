"""CUPED: theta against its closed form, the adjusted test against Welch on adjusted values, and shared draws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import permutation_test, permutation_tests


def regulars(
    rng: np.random.Generator, n: int, holdout_share: float, lift: float = 0.0
) -> tuple[Floats, Floats, Bools]:
    """Spend, spend before, and who is treated: the same customers buy again, and as much."""
    treated = rng.permutation(n) >= round(n * holdout_share)
    habit = np.where(rng.random(n) < 0.3, rng.lognormal(3, 1, n), 0.0)
    before = habit * rng.lognormal(0, 0.3, n)
    spend = habit * rng.lognormal(0, 0.3, n) * (rng.random(n) < 0.9) * np.where(treated, 1 + lift, 1.0)
    return spend, before, treated


def test_theta_is_the_slope_over_everybody_and_the_cut_is_the_squared_correlation() -> None:
    spend, before, treated = regulars(np.random.default_rng(1), 5_000, 0.2)

    effect = permutation_test(
        spend, treated, int(treated.sum()), int((~treated).sum()), seed=1, n_permutations=199, before=before
    )

    slope = stats.linregress(before, spend)
    assert effect.theta == pytest.approx(slope.slope)
    assert effect.variance_cut == pytest.approx(slope.rvalue**2)


def test_the_adjusted_difference_is_that_of_adjusted_values_and_the_means_stay_as_they_are() -> None:
    spend, before, treated = regulars(np.random.default_rng(2), 4_000, 0.2)
    active = (spend != 0) | (before != 0)
    n_treated, n_holdout = int(treated.sum()), int((~treated).sum())

    effect = permutation_test(
        spend[active],
        treated[active],
        n_treated,
        n_holdout,
        seed=1,
        n_permutations=199,
        before=before[active],
    )

    adjusted = spend - stats.linregress(before, spend).slope * before
    assert effect.difference == pytest.approx(adjusted[treated].mean() - adjusted[~treated].mean())
    assert effect.holdout.mean == pytest.approx(spend[~treated].mean())
    assert effect.treated.n_buyers == np.count_nonzero(spend[treated])
    peer = stats.ttest_ind(adjusted[treated], adjusted[~treated], equal_var=False).confidence_interval()
    assert (effect.welch_low, effect.welch_high) == pytest.approx((peer.low, peer.high))


def test_the_relative_size_is_that_of_spend_as_it_is() -> None:
    spend, before, treated = regulars(np.random.default_rng(3), 6_000, 0.3, lift=0.8)
    sizes = int(treated.sum()), int((~treated).sum())
    plain = permutation_test(spend, treated, *sizes, seed=4, n_permutations=999)
    adjusted = permutation_test(spend, treated, *sizes, seed=4, n_permutations=999, before=before)

    assert plain.verdict == adjusted.verdict == "win"
    assert adjusted.relative == pytest.approx(plain.treated.mean / plain.holdout.mean - 1)
    assert adjusted.relative == pytest.approx(plain.relative)


def test_p_agrees_with_scipys_permutation_of_adjusted_values() -> None:
    spend, before, treated = regulars(np.random.default_rng(5), 300, 0.2)
    adjusted = spend - stats.linregress(before, spend).slope * before
    peer = stats.permutation_test(
        (adjusted[treated], adjusted[~treated]),
        lambda x, y, axis: stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic,
        n_resamples=4_000,
        alternative="greater",
        vectorized=True,
        rng=np.random.default_rng(4),
    ).pvalue

    effect = permutation_test(
        spend,
        treated,
        int(treated.sum()),
        int((~treated).sum()),
        seed=1,
        n_permutations=20_000,
        before=before,
    )

    assert effect.p_win == pytest.approx(peer, abs=4 * np.sqrt(0.25 / 4_000))


def test_the_past_of_regular_customers_makes_the_interval_narrower() -> None:
    spend, before, treated = regulars(np.random.default_rng(6), 3_000, 0.1)
    sizes = int(treated.sum()), int((~treated).sum())
    plain = permutation_test(spend, treated, *sizes, seed=1, n_permutations=999)
    adjusted = permutation_test(spend, treated, *sizes, seed=1, n_permutations=999, before=before)

    assert plain.detectable is not None and adjusted.detectable is not None
    assert adjusted.detectable < 0.8 * plain.detectable
    assert plain.theta is None


@pytest.mark.parametrize("past", [0.0, 7.0])
def test_a_past_that_never_varies_changes_nothing(past: float) -> None:
    spend, _, treated = regulars(np.random.default_rng(7), 2_000, 0.2)
    sizes = int(treated.sum()), int((~treated).sum())
    before = np.full(2_000, past)

    adjusted = permutation_test(spend, treated, *sizes, seed=1, n_permutations=199, before=before)

    assert adjusted.theta is None
    if past == 0:
        assert adjusted == permutation_test(spend, treated, *sizes, seed=1, n_permutations=199)


def test_spend_that_is_wholly_explained_leaves_no_difference() -> None:
    _, before, treated = regulars(np.random.default_rng(8), 2_000, 0.2)
    sizes = int(treated.sum()), int((~treated).sum())

    effect = permutation_test(3.3 * before, treated, *sizes, seed=1, n_permutations=199, before=before)

    assert (effect.difference, effect.verdict, effect.p) == (0.0, "not shown", 1.0)
    assert effect.variance_cut == pytest.approx(1.0)


def test_many_metrics_share_their_draws_and_each_has_its_own_buyers() -> None:
    spend, before, treated = regulars(np.random.default_rng(9), 3_000, 0.2)
    sizes = int(treated.sum()), int((~treated).sum())
    rare = np.zeros(3_000)
    rare[:6] = 5.0
    values = np.column_stack([spend, 2 * spend, rare])

    plain, double, few = permutation_tests(values, treated, *sizes, seed=1, n_permutations=499)
    with_past = permutation_tests(
        values,
        treated,
        *sizes,
        seed=1,
        n_permutations=499,
        before=np.column_stack([before, np.zeros(3_000), rare]),
    )

    assert plain.p == double.p and double.low == pytest.approx(2 * plain.low)  # type: ignore[operator]
    assert few.verdict == with_past[2].verdict == "too few buyers"
    assert few.n_permutations == 0 and few.treated.n_buyers + few.holdout.n_buyers == 6
    assert with_past[0].theta is not None and with_past[1].theta is None


def test_neither_the_order_of_customers_nor_the_unit_of_money_changes_anything() -> None:
    spend, before, treated = regulars(np.random.default_rng(10), 3_000, 0.2)
    sizes = int(treated.sum()), int((~treated).sum())
    values, past = (
        np.column_stack([spend, spend > 0, spend**0.5]),
        np.column_stack([before, before > 0, before]),
    )
    order = np.random.default_rng(11).permutation(3_000)

    effects = permutation_tests(values, treated, *sizes, seed=1, n_permutations=199, before=past)
    shuffled = permutation_tests(
        values[order], treated[order], *sizes, seed=1, n_permutations=199, before=past[order]
    )
    plain, cents = (
        permutation_test(unit * spend, treated, *sizes, seed=1, n_permutations=199, before=unit * before)
        for unit in (1, 100)
    )

    assert effects == shuffled
    assert (plain.p_win, plain.p_loss) == (cents.p_win, cents.p_loss)
    assert cents.low == pytest.approx(100 * plain.low)  # type: ignore[operator]


pairs = st.tuples(
    st.sampled_from([0.0, 0.0, 1.0, 2.5, 40.0]) | st.floats(-50, 500, width=32),
    st.sampled_from([0.0, 1.0, 3.0]) | st.floats(0, 500, width=32),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(pairs, min_size=2, max_size=25), st.lists(pairs, min_size=2, max_size=25), st.integers(0, 5))
def test_with_a_past_too_the_interval_excludes_zero_exactly_when_the_verdict_decides(
    holdout: list[tuple[float, float]], treated: list[tuple[float, float]], seed: int
) -> None:
    table = np.array(holdout + [(6 * spend, before) for spend, before in treated])

    effect = permutation_test(
        table[:, 0],
        np.arange(len(table)) >= len(holdout),
        len(treated),
        len(holdout),
        seed=seed,
        n_permutations=199,
        min_buyers=0,
        before=table[:, 1],
    )

    assert effect.low is not None and effect.high is not None
    assert (effect.low > 0) == (effect.verdict == "win")
    assert (effect.high < 0) == (effect.verdict == "loss")
    assert effect.low <= effect.high


def test_a_past_of_other_customers_is_refused() -> None:
    with pytest.raises(MeasurementError, match="before: there must be one each"):
        permutation_test(
            np.ones(40), np.arange(40) < 20, 50, 50, seed=1, n_permutations=99, before=np.ones(39)
        )
