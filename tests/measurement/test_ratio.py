"""Ratios of sums: the delta method against tea-tasting, p against every assignment, and groups without orders."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import tea_tasting as tt
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import Effect, ratio_test


def effect_of(
    revenue: Floats,
    orders: Floats,
    treated: Bools,
    n_permutations: int = 1_999,
    seed: int = 1,
    min_buyers: int = 10,
) -> Effect:
    n_treated = int(treated.sum())
    return ratio_test(
        revenue,
        orders,
        treated,
        n_treated,
        len(treated) - n_treated,
        seed=seed,
        n_permutations=n_permutations,
        min_buyers=min_buyers,
    )


def shop(rng: np.random.Generator, n: int, holdout_share: float) -> tuple[Floats, Floats, Bools]:
    treated = rng.permutation(n) >= round(n * holdout_share)
    orders = np.where(rng.random(n) < 0.3, 1 + rng.poisson(0.8, n), 0).astype(float)
    return orders * rng.lognormal(3, 0.8, n), orders, treated


def test_the_difference_and_its_spread_are_those_of_tea_tasting() -> None:
    import pandas as pd

    revenue, orders, treated = shop(np.random.default_rng(1), 3_000, 0.4)
    frame = pd.DataFrame({"variant": treated.astype(int), "revenue": revenue, "orders": orders})
    peer = tt.Experiment(aov=tt.RatioOfMeans("revenue", "orders")).analyze(frame)["aov"]

    effect = effect_of(revenue, orders, treated, 199)

    assert effect.difference == pytest.approx(peer.effect_size)
    assert effect.welch_low == pytest.approx(peer.effect_size_ci_lower, rel=1e-3)
    assert effect.welch_high == pytest.approx(peer.effect_size_ci_upper, rel=1e-3)
    assert effect.treated.mean == pytest.approx(revenue[treated].sum() / orders[treated].sum())
    assert effect.relative == pytest.approx(effect.treated.mean / effect.holdout.mean - 1)


def linearised_t(revenue: Floats, orders: Floats, held_out: Bools) -> float:
    ratio, variance = [], []
    for group in (~held_out, held_out):
        bottom = orders[group].mean()
        if bottom == 0:
            return np.nan
        ratio.append(revenue[group].mean() / bottom)
        rest = (revenue[group] - ratio[-1] * orders[group]) / bottom
        variance.append(rest.var() / (len(rest) - 1))
    difference = ratio[0] - ratio[1]
    if abs(difference) < 1e-12:
        return 0.0
    return (
        float(difference / np.sqrt(sum(variance))) if sum(variance) > 1e-18 else np.sign(difference) * np.inf
    )


def test_p_agrees_with_every_assignment_and_one_without_orders_counts_on_both_sides() -> None:
    revenue = np.array([30.0, 8.0, 21.0, 0.0, 7.0, 0.0, 0.0, 0.0, 50.0, 0.0])
    orders = np.array([2.0, 1.0, 3.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0])
    treated = np.arange(10) >= 4
    seen = linearised_t(revenue, orders, ~treated)
    drawn = np.array(
        [
            linearised_t(revenue, orders, np.isin(np.arange(10), held_out))
            for held_out in combinations(range(10), 4)
        ]
    )
    undetermined = np.isnan(drawn)
    assert undetermined.any()

    effect = effect_of(revenue, orders, treated, 20_000, min_buyers=1)

    noise = 4 * np.sqrt(0.25 / 20_000)
    assert effect.p_win == pytest.approx(((drawn >= seen - 1e-9) | undetermined).mean(), abs=noise)
    assert effect.p_loss == pytest.approx(((drawn <= seen + 1e-9) | undetermined).mean(), abs=noise)


def test_where_too_many_assignments_leave_no_ratio_nothing_is_shown_and_no_end_made_up() -> None:
    revenue, orders = np.zeros(100), np.zeros(100)
    revenue[[0, 99]], orders[[0, 99]] = [1.0, 90.0], 1.0  # one order held out among ten customers

    effect = effect_of(revenue, orders, np.arange(100) >= 10, 199, min_buyers=1)

    assert (effect.verdict, effect.low, effect.high) == ("not shown", -np.inf, np.inf)
    assert effect.difference == 89.0


def test_a_group_without_orders_has_no_ratio() -> None:
    revenue, orders = np.full(50, 3.0), np.ones(50)
    revenue[:10] = orders[:10] = 0.0

    effect = effect_of(revenue, orders, np.arange(50) >= 10, 199, min_buyers=0)

    assert (effect.verdict, effect.difference, effect.holdout.mean) == ("too few buyers", None, 0.0)
    assert effect.treated.mean == 3.0


def test_the_same_basket_everywhere_is_no_difference() -> None:
    orders = np.tile([1.0, 2.0, 0.0, 3.0], 50)

    effect = effect_of(orders * 3.3, orders, np.arange(200) % 5 > 0, 199)

    assert (effect.difference, effect.verdict, effect.p) == (0.0, "not shown", 1.0)


def test_without_an_effect_wins_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(11)
    verdicts = [effect_of(*shop(rng, 600, 0.15), n_permutations=79).verdict for _ in range(300)]

    bound = 0.025 + 3 * np.sqrt(0.025 * 0.975 / 300)
    assert verdicts.count("win") / 300 < bound
    assert verdicts.count("loss") / 300 < bound


rows = st.tuples(st.sampled_from([0.0, 1.0, 2.5, 40.0]) | st.floats(-50, 500, width=32), st.integers(0, 3))


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=2, max_size=25), st.lists(rows, min_size=2, max_size=25), st.integers(0, 5))
def test_for_ratios_too_the_interval_excludes_zero_exactly_when_the_verdict_decides(
    holdout: list[tuple[float, int]], treated: list[tuple[float, int]], seed: int
) -> None:
    table = np.array(holdout + [(6 * revenue, orders) for revenue, orders in treated], dtype=float)

    effect = effect_of(
        table[:, 0], table[:, 1], np.arange(len(table)) >= len(holdout), 199, seed=seed, min_buyers=1
    )

    if effect.verdict != "too few buyers":
        assert effect.low is not None and effect.high is not None
        assert (effect.low > 0) == (effect.verdict == "win")
        assert (effect.high < 0) == (effect.verdict == "loss")
        assert effect.low <= effect.high


def test_a_negative_denominator_is_refused() -> None:
    with pytest.raises(MeasurementError, match="divided by is below 0"):
        effect_of(np.ones(40), np.where(np.arange(40) == 3, -1.0, 1.0), np.arange(40) < 20)
