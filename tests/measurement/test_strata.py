"""Groups drawn inside strata: against the enumeration of every assignment, and what strata must add up to."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.errors import MeasurementError
from nextoffer.measurement.draws import Columns, draw
from nextoffer.measurement.experiment import Effect, permutation_test


def sizes_of(strata: Ints, treated: Bools, n_strata: int) -> Ints:
    return np.column_stack(
        [np.bincount(strata[group], minlength=n_strata) for group in (treated, ~treated)]
    ).astype(np.int64)


def effect_of(
    spend: Floats, treated: Bools, strata: Ints, n_permutations: int = 1_999, seed: int = 1
) -> Effect:
    bought = spend != 0
    return permutation_test(
        spend[bought],
        treated[bought],
        int(treated.sum()),
        int((~treated).sum()),
        seed=seed,
        n_permutations=n_permutations,
        min_buyers=0,
        strata=strata[bought],
        stratum_sizes=sizes_of(strata, treated, int(strata.max()) + 1),
    )


def welch_t(treated: Floats, holdout: Floats) -> float:
    difference = treated.mean() - holdout.mean()
    stderr = np.sqrt(treated.var() / (len(treated) - 1) + holdout.var() / (len(holdout) - 1))
    return float(difference / stderr) if abs(difference) > 1e-12 else 0.0


def test_p_agrees_with_the_enumeration_of_every_assignment_inside_strata() -> None:
    spend = np.array([9.0, 8.0, 0.0, 5.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 40.0, 0.0, 3.0])
    strata = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2])
    treated = np.ones(13, dtype=bool)
    treated[[2, 3, 4, 6, 7, 12]] = False  # three, two and one of a stratum are held out
    seen = welch_t(spend[treated], spend[~treated])
    drawn = []
    for held_out in product(
        combinations(range(5), 3), combinations(range(5, 11), 2), combinations(range(11, 13), 1)
    ):
        chosen = np.isin(np.arange(13), np.concatenate(held_out))
        drawn.append(welch_t(spend[~chosen], spend[chosen]))

    effect = effect_of(spend, treated, strata, n_permutations=20_000)

    noise = 4 * np.sqrt(0.25 / 20_000)
    assert effect.p_win == pytest.approx(np.mean(np.array(drawn) >= seen - 1e-9), abs=noise)
    assert effect.p_loss == pytest.approx(np.mean(np.array(drawn) <= seen + 1e-9), abs=noise)


def test_one_stratum_is_no_stratum() -> None:
    rng = np.random.default_rng(2)
    spend = np.where(rng.random(500) < 0.3, rng.lognormal(2, 1, 500), 0.0)
    treated = rng.random(500) > 0.2

    plain = permutation_test(
        spend, treated, int(treated.sum()), int((~treated).sum()), seed=1, n_permutations=1_999, min_buyers=0
    )

    assert effect_of(spend, treated, np.zeros(500, dtype=np.int64)) == plain


@pytest.mark.parametrize("n_rows", [30, 5_000])  # dealt together, and chosen one draw at a time
def test_sums_have_the_mean_and_the_spread_of_drawing_without_replacement(n_rows: int) -> None:
    rng = np.random.default_rng(3)
    values = rng.lognormal(1, 1, n_rows)
    sizes = np.array([[3 * n_rows, n_rows]])
    n = int(sizes.sum())
    everybody = np.concatenate([values, np.zeros(n - n_rows)])

    drawn = draw(Columns(values[:, None]), np.zeros(n_rows, dtype=np.int64), sizes, 4_000, rng)[:, :, 0]

    spread = np.sqrt(everybody.var(ddof=1) * n_rows * (1 - n_rows / n))
    assert drawn[:, 1].mean() == pytest.approx(n_rows * everybody.mean(), abs=4 * spread / np.sqrt(4_000))
    assert drawn[:, 1].std() == pytest.approx(spread, rel=0.06)
    assert drawn.sum(axis=1) == pytest.approx(values.sum())


def test_a_stratum_wholly_treated_moves_nothing_and_one_that_explains_spend_makes_the_test_exact() -> None:
    spend = np.array([100.0] * 20 + [1.0] * 20)
    strata = np.repeat([0, 1], 20)
    treated = np.tile([True, True, True, False], 10)
    # every assignment inside the strata gives the same two means
    alike = effect_of(spend, treated, strata, 199)
    wholly = effect_of(np.append(spend, 50.0), np.append(treated, True), np.append(strata, 2), 199)

    assert (alike.difference, alike.p, alike.verdict) == (0.0, 1.0, "not shown")
    assert (wholly.p, wholly.verdict) == (1.0, "not shown")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.5, 40.0, -1.0]) | st.floats(-50, 500, width=32),
            st.integers(0, 2),
            st.booleans(),
        ),
        min_size=6,
        max_size=40,
    ),
    st.integers(0, 5),
)
def test_inside_strata_too_the_interval_excludes_zero_exactly_when_the_verdict_decides(
    rows: list[tuple[float, int, bool]], seed: int
) -> None:
    spend, strata, treated = (np.array(column) for column in zip(*rows, strict=True))
    spend = np.where(treated, 6 * spend, spend)
    treated[:2], treated[2:4] = True, False

    effect = effect_of(spend, treated, strata, 199, seed)

    assert effect.low is not None and effect.high is not None
    assert (effect.low > 0) == (effect.verdict == "win")
    assert (effect.high < 0) == (effect.verdict == "loss")


@pytest.mark.parametrize(
    ("strata", "sizes", "said"),
    [
        ([0, 1], None, "give both or neither"),
        ([0, 1, 0], [[10, 10], [10, 10]], "one stratum each"),
        ([0, 1], [[10, 10]], "the strata hold"),
        ([0, 2], [[10, 10], [10, 10]], "none of the 2 there are"),
        (
            [1, 1],
            [[20, 19], [0, 1]],
            "1 customers of the treated group have a value in stratum 1, but it has 0",
        ),
    ],
)
def test_strata_that_do_not_add_up_are_refused(
    strata: list[int], sizes: list[list[int]] | None, said: str
) -> None:
    with pytest.raises(MeasurementError, match=said):
        permutation_test(
            np.ones(2),
            np.array([True, False]),
            20,
            20,
            seed=1,
            strata=np.array(strata),
            stratum_sizes=None if sizes is None else np.array(sizes),
        )
