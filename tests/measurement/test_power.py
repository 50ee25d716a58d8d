"""Before the start: against the closed form of a t-test's power, against simulated campaigns, and with no data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from nextoffer.domain.arrays import Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import permutation_test
from nextoffer.measurement.power import plan


def shop(n: int, seed: int = 1, rate: float = 0.3) -> Floats:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(n) < rate, rng.lognormal(3, 0.8, n), 0.0)


def power_of_t(difference: float, deviation: float, n_treated: float, n_holdout: float) -> float:
    """Of a two-sided 5 % t-test, by the noncentral t."""
    freedom = n_treated + n_holdout - 2
    shift = difference / (deviation * np.sqrt(1 / n_treated + 1 / n_holdout))
    return float(stats.nct.sf(stats.t.isf(0.025, freedom), freedom, shift))


def test_what_is_said_to_be_found_eight_times_in_ten_is_by_the_t_test_where_half_are_held_out() -> None:
    spend = shop(20_000)
    said = plan(spend[spend != 0], 20_000, 0.5, lift=0.1)
    deviation = spend.std(ddof=1)

    assert said.detectable is not None and said.detectable_lift is not None and said.n_needed is not None
    assert power_of_t(said.detectable, deviation, 10_000, 10_000) == pytest.approx(0.8, abs=0.002)
    assert said.detectable_lift == pytest.approx(said.detectable / spend.mean())
    assert 0.795 < power_of_t(0.1 * spend.mean(), deviation, said.n_needed / 2, said.n_needed / 2) < 0.84
    assert said.treated_buyers == said.holdout_buyers == np.count_nonzero(spend) / 2


def test_a_small_holdout_of_skewed_spend_finds_less_than_the_t_test_claims_and_tends_to_it() -> None:
    claimed = []
    for n in (3_000, 300_000):
        spend = shop(n)
        said = plan(spend, n, 0.1)
        assert said.detectable is not None
        claimed.append(power_of_t(said.detectable, spend.std(ddof=1), 0.9 * n, 0.1 * n))

    assert 0.87 < claimed[0] < 0.99
    assert claimed[1] == pytest.approx(0.8, abs=0.02)


def test_simulated_campaigns_find_the_detectable_lift_eight_times_in_ten() -> None:
    n, holdout_share, n_campaigns = 3_000, 0.1, 200
    said = plan(shop(n, 9), n, holdout_share)
    assert said.detectable is not None
    lift = said.detectable / shop(100 * n, 2).mean()
    rng = np.random.default_rng(3)
    wins = 0
    for number in range(n_campaigns):
        treated = rng.permutation(n) >= n * holdout_share
        spend = shop(n, 100 + number) * np.where(treated, 1 + lift, 1)
        effect = permutation_test(
            spend, treated, int(treated.sum()), int((~treated).sum()), seed=number, n_permutations=119
        )
        wins += effect.verdict == "win"

    assert wins / n_campaigns == pytest.approx(0.8, abs=3 * np.sqrt(0.16 / n_campaigns))


def test_a_past_that_explains_spend_finds_less_with_the_same_customers() -> None:
    rng = np.random.default_rng(4)
    before = shop(10_000, 5)
    spend = before * rng.lognormal(0, 0.4, 10_000)
    plain, adjusted = plan(spend, 10_000, 0.1), plan(spend, 10_000, 0.1, before=before)

    assert plain.detectable is not None and adjusted.detectable is not None
    assert adjusted.variance_cut == pytest.approx(np.corrcoef(spend, before)[0, 1] ** 2)
    assert adjusted.variance_cut is not None
    cut = np.sqrt(1 - adjusted.variance_cut)
    assert adjusted.detectable == pytest.approx(plain.detectable * cut, rel=0.1)  # less skewed too
    assert plain.n_needed is not None and adjusted.n_needed is not None
    assert adjusted.n_needed < plain.n_needed
    assert adjusted.mean == plain.mean and plain.variance_cut is None


def test_the_best_holdout_is_the_smallest_that_finds_the_lift() -> None:
    spend = shop(200_000, 6)
    best = plan(spend, 200_000, 0.1).best_share
    at_best, below = plan(spend, 200_000, best), plan(spend, 200_000, best - 0.01)

    assert 0.01 < best < 0.5
    assert at_best.detectable_lift is not None and below.detectable_lift is not None
    assert at_best.detectable_lift <= 0.05 < below.detectable_lift
    assert plan(spend[:2_000], 2_000, 0.1).best_share == 0.5


def test_a_huge_lift_still_needs_buyers_in_the_holdout() -> None:
    values = np.full(100, 20.0)  # one in a hundred buys, and all the same

    said = plan(values, 10_000, 0.05, lift=9.0)

    assert said.n_needed == 40_000  # 20 buyers held out = 2,000 held out customers
    assert (said.too_little, said.n_lacking, said.small_holdout) == (True, 30_000, True)
    assert said.best_share == 0.2


def test_enough_is_enough() -> None:
    said = plan(shop(50_000), 50_000, 0.5, lift=0.1)

    assert (said.too_little, said.n_lacking, said.small_holdout) == (False, 0, False)


@pytest.mark.parametrize("values", [[], [-5.0] * 20])
def test_where_nothing_was_sold_no_number_is_made_up(values: list[float]) -> None:
    said = plan(np.array(values), 1_000, 0.1)

    assert (said.n_needed, said.n_lacking, said.detectable_lift) == (None, None, None)
    assert said.too_little and said.best_share == 0.5 and said.holdout_buyers == 0


@pytest.mark.parametrize(
    ("n", "share", "lift", "before", "said"),
    [
        (10, 0.1, 0.05, None, "20 of them with a value"),
        (100, 1.0, 0.05, None, "holdout_share is 1.0"),
        (100, 0.1, 0.0, None, "a lift of 0.0"),
        (100, 0.1, 0.05, [1.0], "before: there must be one each"),
        (100, 0.1, 0.05, [np.nan] * 20, "not a finite number"),
    ],
)
def test_what_cannot_be_planned_is_refused(
    n: int, share: float, lift: float, before: list[float] | None, said: str
) -> None:
    with pytest.raises(MeasurementError, match=said):
        plan(np.ones(20), n, share, lift=lift, before=None if before is None else np.array(before))
