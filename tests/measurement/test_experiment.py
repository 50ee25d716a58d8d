"""The permutation procedure against enumeration, scipy, and planted truth; and its verdict against itself."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import Effect, permutation_test, seed_of

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def effect_of(
    spend: Floats, treated: Bools, seed: int = 1, n_permutations: int = 1_999, min_buyers: int = 10
) -> Effect:
    bought = spend != 0
    n_treated = int(treated.sum())
    return permutation_test(
        spend[bought],
        treated[bought],
        n_treated,
        len(spend) - n_treated,
        seed=seed,
        n_permutations=n_permutations,
        min_buyers=min_buyers,
    )


def welch_t(treated: Floats, holdout: Floats) -> float:
    difference = treated.mean() - holdout.mean()
    variance = treated.var() / (len(treated) - 1) + holdout.var() / (len(holdout) - 1)
    if variance < 1e-18:
        return float(np.sign(np.round(difference, 12)) * np.inf) if abs(difference) > 1e-12 else 0.0
    return float(difference / np.sqrt(variance))


def every_assignment(spend: Floats, n_holdout: int) -> Floats:
    rows = range(len(spend))
    return np.array(
        [
            welch_t(np.delete(spend, list(held_out)), spend[list(held_out)])
            for held_out in combinations(rows, n_holdout)
        ]
    )


@pytest.mark.parametrize(
    ("spend", "n_holdout"),
    [
        ([5.0, 1.0, 0.0, 0.0, 9.0, 0.0, 2.0, 0.0, 0.0, 4.0], 4),
        ([3.0, 3.0, 0.0, 0.0, 3.0, 0.0, 8.0, 0.0, 0.0, 0.0, 1.0], 3),  # ties, and draws without any buyer
        ([2.0, 2.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0], 5),  # the holdout may be drawn without any variance
        (
            [1.5, 7.0, 2.0, 9.0, 4.0, -3.0, 2.5, 8.0],
            5,
        ),  # everybody has a value, one returned more than bought
    ],
)
def test_p_agrees_with_the_enumeration_of_every_assignment(spend: list[float], n_holdout: int) -> None:
    values = np.array(spend)
    treated = np.arange(len(values)) >= n_holdout
    n_permutations = 20_000
    drawn = every_assignment(values, n_holdout)
    seen = welch_t(values[treated], values[~treated])

    effect = effect_of(values, treated, n_permutations=n_permutations, min_buyers=0)

    for got, exact in (
        (effect.p_win, (drawn >= seen - 1e-9).mean()),
        (effect.p_loss, (drawn <= seen + 1e-9).mean()),
    ):
        assert got == pytest.approx(exact, abs=4 * np.sqrt(0.25 / n_permutations))


def test_p_agrees_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(3)
    spend = np.where(rng.random(300) < 0.4, rng.lognormal(2, 1, 300), 0.0)
    treated = rng.random(300) > 0.2
    n_permutations = 20_000
    peer = {
        side: stats.permutation_test(
            (spend[treated], spend[~treated]),
            lambda x, y, axis: stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic,
            n_resamples=4_000,
            alternative=side,
            vectorized=True,
            rng=np.random.default_rng(4),
        ).pvalue
        for side in ("greater", "less")
    }

    effect = effect_of(spend, treated, n_permutations=n_permutations)

    assert effect.p_win == pytest.approx(peer["greater"], abs=4 * np.sqrt(0.25 / 4_000))
    assert effect.p_loss == pytest.approx(peer["less"], abs=4 * np.sqrt(0.25 / 4_000))


def test_the_grey_line_is_welchs_interval() -> None:
    rng = np.random.default_rng(5)
    spend = np.where(rng.random(500) < 0.4, rng.lognormal(2, 1, 500), 0.0)
    treated = rng.random(500) > 0.3
    peer = stats.ttest_ind(spend[treated], spend[~treated], equal_var=False).confidence_interval()

    effect = effect_of(spend, treated)

    # the procedure's variance divides by n (n − 1), scipy's by the same: they agree to rounding
    assert (effect.welch_low, effect.welch_high) == pytest.approx((peer.low, peer.high))


def shop(rng: np.random.Generator, n: int, holdout_share: float, lift: float = 0.0) -> tuple[Floats, Bools]:
    """Skewed spend: one in five buys, baskets are log-normal; an effect makes more customers buy."""
    treated = rng.permutation(n) >= round(n * holdout_share)
    buys = rng.random(n) < np.where(treated, 0.2 * (1 + lift), 0.2)
    return np.where(buys, rng.lognormal(3, 1.2, n), 0.0), treated


def verdicts(n_shops: int, n: int, holdout_share: float, n_permutations: int) -> list[Effect]:
    rng = np.random.default_rng(11)
    return [
        effect_of(*shop(rng, n, holdout_share), seed=number, n_permutations=n_permutations)
        for number in range(n_shops)
    ]


@pytest.mark.parametrize(
    ("n_shops", "n_permutations"),
    [(600, 79), pytest.param(4_000, 399, marks=pytest.mark.slow)],
)
def test_without_an_effect_wins_are_as_rare_as_promised(n_shops: int, n_permutations: int) -> None:
    effects = [
        effect for effect in verdicts(n_shops, 800, 0.1, n_permutations) if effect.verdict != "too few buyers"
    ]

    bound = 0.025 + 3 * np.sqrt(0.025 * 0.975 / len(effects))
    assert len(effects) > 0.9 * n_shops
    assert np.mean([effect.verdict == "win" for effect in effects]) < bound
    assert np.mean([effect.verdict == "loss" for effect in effects]) < bound


@pytest.mark.parametrize(
    ("n_shops", "n_permutations"),
    [(200, 199), pytest.param(2_000, 399, marks=pytest.mark.slow)],
)
def test_the_interval_covers_a_planted_effect(n_shops: int, n_permutations: int) -> None:
    rng = np.random.default_rng(12)
    planted = 0.2 * 0.2 * np.exp(3 + 1.2**2 / 2)  # lift of the rate × mean basket
    covered = []
    for number in range(n_shops):
        effect = effect_of(*shop(rng, 1_500, 0.2, lift=0.2), seed=number, n_permutations=n_permutations)
        assert effect.low is not None and effect.high is not None
        covered.append(effect.low <= planted <= effect.high)

    assert np.mean(covered) > 0.95 - 0.01 - 3 * np.sqrt(0.05 * 0.95 / n_shops)


amounts = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5, 40.0, -1.0]) | st.floats(-50, 500, width=32)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(amounts, min_size=2, max_size=30),
    st.lists(amounts.map(lambda amount: amount * 6), min_size=2, max_size=30),
    st.integers(0, 5),
)
def test_the_interval_excludes_zero_exactly_when_the_verdict_decides(
    holdout: list[float], treated: list[float], seed: int
) -> None:
    spend = np.array(holdout + treated)
    effect = effect_of(spend, np.arange(len(spend)) >= len(holdout), seed, 199, min_buyers=0)

    assert effect.low is not None and effect.high is not None
    assert (effect.low > 0) == (effect.verdict == "win")
    assert (effect.high < 0) == (effect.verdict == "loss")
    assert effect.p_win is not None and effect.p_loss is not None
    assert (effect.p_win <= 0.025) == (effect.verdict == "win")
    assert (effect.p_loss <= 0.025) == (effect.verdict == "loss")
    assert effect.low <= effect.high


def test_the_order_of_customers_changes_nothing_and_the_seed_is_the_looks() -> None:
    rng = np.random.default_rng(6)
    spend, treated = shop(rng, 2_000, 0.2)
    order = rng.permutation(2_000)
    seed = seed_of("always-on", 1, "2026-01")

    assert effect_of(spend, treated, seed) == effect_of(spend[order], treated[order], seed)
    assert effect_of(spend, treated, seed) == effect_of(spend, treated, seed)
    assert seed != seed_of("always-on", 2, "2026-01")
    assert 0 <= seed < 2**53  # JSON keeps it exactly


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e9])
def test_the_unit_of_money_changes_no_verdict(scale: float) -> None:
    spend, treated = shop(np.random.default_rng(7), 2_000, 0.2, lift=1.0)
    plain, scaled = effect_of(spend, treated), effect_of(spend * scale, treated)

    assert scaled.p == plain.p
    assert scaled.low == pytest.approx(plain.low * scale)  # type: ignore[operator]
    assert scaled.relative_low == pytest.approx(plain.relative_low)


def test_a_strong_effect_is_a_win_whichever_group_is_smaller() -> None:
    for holdout_share in (0.1, 0.5, 0.9):
        effect = effect_of(*shop(np.random.default_rng(8), 4_000, holdout_share, lift=2.0))

        assert effect.verdict == "win"
        assert effect.relative is not None
        assert effect.relative_low is not None and effect.relative_high is not None
        assert effect.relative_low < effect.relative < effect.relative_high
        assert effect.relative == pytest.approx(effect.treated.mean / effect.holdout.mean - 1)


def test_under_ten_buyers_there_is_no_verdict_but_a_number_of_customers() -> None:
    spend = np.concatenate([np.repeat([7.0, 0.0], [4, 96]), np.repeat([7.0, 0.0], [400, 1_500])])

    effect = effect_of(spend, np.arange(2_000) >= 100)

    assert effect.verdict == "too few buyers"
    assert (effect.holdout.n_buyers, effect.treated.n_buyers) == (4, 400)
    assert (effect.p, effect.low, effect.relative, effect.difference) == (None, None, None, None)
    # 6 more buyers at the pooled rate of 404 in 2,000, one customer in 20 held out: 594, said as about
    assert effect.n_more == 600


@pytest.mark.parametrize("group", [True, False])
def test_one_giant_order_decides_nothing(group: bool) -> None:
    spend, treated = shop(np.random.default_rng(13), 2_000, 0.2)
    spend[np.flatnonzero(treated == group)[0]] = 1e12

    effect = effect_of(spend, treated)

    assert effect.verdict == "not shown"
    assert effect.low is not None and effect.high is not None and effect.low <= 0 <= effect.high
    assert effect.n_more is not None and effect.n_more > 100_000


def test_a_group_that_bought_nothing_has_no_verdict_and_no_relative_size() -> None:
    spend = np.repeat([0.0, 7.0], [500, 500])

    refused = effect_of(spend, np.arange(1_000) >= 500)
    asked = effect_of(spend, np.arange(1_000) >= 500, min_buyers=0)

    assert (refused.verdict, refused.holdout.n_buyers, refused.difference) == ("too few buyers", 0, None)
    assert (asked.verdict, asked.difference, asked.relative) == ("win", 7.0, None)
    assert asked.relative_note is not None


def test_where_nobody_bought_no_number_of_customers_is_made_up() -> None:
    effect = permutation_test(np.array([]), np.array([], dtype=bool), 950, 50, seed=1)

    assert (effect.verdict, effect.n_more, effect.treated.mean) == ("too few buyers", None, 0.0)


def test_the_customers_still_needed_are_those_a_power_calculation_asks_for() -> None:
    spend, treated = shop(np.random.default_rng(9), 20_000, 0.5)
    effect = effect_of(spend, treated, n_permutations=3_999)
    spread = spend.std()
    per_group = 2 * ((1.959964 + 0.841621) * spread / (0.05 * effect.holdout.mean)) ** 2

    assert effect.n_more == pytest.approx(2 * per_group - 20_000, rel=0.1)
    assert effect.small_holdout is False


def test_the_detectable_difference_is_found_eight_times_in_ten_in_a_small_holdout_too() -> None:
    spend, treated = shop(np.random.default_rng(14), 3_000, 0.1)
    rng = np.random.default_rng(15)
    detectable = effect_of(spend, treated).detectable
    assert detectable is not None
    wins = 0
    for number in range(150):
        treated = rng.permutation(treated)
        moved = spend + detectable * treated  # everybody spends so much more
        wins += effect_of(moved, treated, number, n_permutations=79).verdict == "win"

    assert wins / 150 == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / 150))


def test_baskets_of_another_shape_are_warned_of() -> None:
    rng = np.random.default_rng(10)
    treated = np.arange(2_000) >= 500
    alike = rng.lognormal(3, 1, 2_000)
    wider = np.where(treated, rng.lognormal(3, 1.5, 2_000), rng.lognormal(3, 1, 2_000))

    assert not effect_of(alike, treated, n_permutations=199).shape_differs
    assert effect_of(wider, treated, n_permutations=199).shape_differs


@pytest.mark.parametrize(
    ("values", "treated", "sizes", "n_permutations", "said"),
    [
        ([1.0, 2.0], [True], (10, 10), 99, "there must be one each"),
        ([np.nan], [True], (10, 10), 99, "not a finite number"),
        ([1.0], [True], (0, 10), 99, "each group needs 2 customers"),
        ([1.0] * 5, [False] * 5, (10, 4), 99, "5 customers of the holdout group have a value, but it has 4"),
        ([1.0] * 40, [True, False] * 20, (50, 50), 30, "30 permutations cannot show"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    values: list[float], treated: list[bool], sizes: tuple[int, int], n_permutations: int, said: str
) -> None:
    with pytest.raises(MeasurementError, match=said):
        permutation_test(np.array(values), np.array(treated), *sizes, seed=1, n_permutations=n_permutations)
