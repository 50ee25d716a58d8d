"""The second opinion against tea-tasting on every customer's row, against scipy, and without the package."""

from __future__ import annotations

import sys

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from nextoffer.errors import MeasurementError
from nextoffer.measurement.crosscheck import NOT_INSTALLED, SecondOpinion, second_opinion

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def customers(seed: int = 5, n: int = 4_000) -> tuple[Floats, Floats, Bools]:
    """Spend, spend before and group of a shop where one in five buys."""
    rng = np.random.default_rng(seed)
    level = np.exp(rng.normal(3.0, 1.0, n))
    spend, before = (level * np.exp(rng.normal(0, 0.5, n)) * (rng.random(n) < 0.2) for _ in range(2))
    return spend, before, rng.random(n) < 0.6


def opinion(spend: Floats, treated: Bools, before: Floats | None = None) -> SecondOpinion:
    used = spend != 0 if before is None else (spend != 0) | (before != 0)
    found = second_opinion(
        spend[used],
        treated[used],
        int(treated.sum()),
        int((~treated).sum()),
        before=None if before is None else before[used],
    )
    assert found is not None
    return found


@pytest.mark.parametrize("adjusted", [False, True])
def test_the_zeros_that_are_not_stored_count_as_rows_of_a_table_do(adjusted: bool) -> None:
    tea_tasting = pytest.importorskip("tea_tasting")
    spend, before, treated = customers()
    table = pd.DataFrame({"variant": treated.astype(int), "spend": spend, "before": before})
    metric = tea_tasting.Mean("spend", "before" if adjusted else None)
    theirs = tea_tasting.Experiment(spend=metric).analyze(table)["spend"]

    ours = opinion(spend, treated, before if adjusted else None)

    assert ours.adjusted is adjusted
    assert (ours.difference, ours.low, ours.high, ours.p) == pytest.approx(
        (theirs.effect_size, theirs.effect_size_ci_lower, theirs.effect_size_ci_upper, theirs.pvalue)
    )
    assert (ours.relative, ours.relative_low, ours.relative_high) == pytest.approx(
        (theirs.rel_effect_size, theirs.rel_effect_size_ci_lower, theirs.rel_effect_size_ci_upper)
    )


def test_without_spend_before_it_is_the_welch_test_of_scipy() -> None:
    pytest.importorskip("tea_tasting")
    spend, _, treated = customers(6)
    theirs = stats.ttest_ind(spend[treated], spend[~treated], equal_var=False)

    ours = opinion(spend, treated)

    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))


def test_spend_before_makes_the_interval_narrower() -> None:
    pytest.importorskip("tea_tasting")
    rng = np.random.default_rng(8)
    before = np.exp(rng.normal(3, 1, 2_000))
    spend, treated = before * np.exp(rng.normal(0, 0.3, 2_000)), rng.random(2_000) < 0.5
    plain, adjusted = opinion(spend, treated), opinion(spend, treated, before)
    assert adjusted.high - adjusted.low < 0.6 * (plain.high - plain.low)


def test_an_empty_holdout_has_a_difference_but_no_relative_size() -> None:
    pytest.importorskip("tea_tasting")
    found = second_opinion(np.array([3.0, 5.0]), np.array([True, True]), 10, 10)
    assert found is not None
    assert (found.difference, found.relative, found.relative_low) == (pytest.approx(0.8), None, None)


def test_where_nothing_varies_there_is_no_opinion() -> None:
    pytest.importorskip("tea_tasting")
    nobody = np.array([])
    assert second_opinion(nobody, nobody.astype(bool), 10, 10) is None


def test_a_constant_spend_before_adjusts_nothing() -> None:
    pytest.importorskip("tea_tasting")
    spend, _, treated = customers(7, 200)
    found = second_opinion(spend, treated, int(treated.sum()), int((~treated).sum()), before=np.ones(200))
    assert found is not None
    assert not found.adjusted


def test_without_the_package_there_is_no_opinion_and_one_sentence_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "tea_tasting", None)
    assert second_opinion(np.array([1.0]), np.array([True]), 10, 10) is None
    assert "nextoffer[crosscheck]" in NOT_INSTALLED
    assert "nextoffer[crosscheck]" in NOT_INSTALLED.in_("ru")


@pytest.mark.parametrize(("n_treated", "n_holdout"), [(1, 10), (10, 1), (2, 10)])
def test_groups_that_cannot_hold_their_customers_are_refused(n_treated: int, n_holdout: int) -> None:
    values, treated = np.arange(1.0, 5.0), np.array([True, True, True, False])
    with pytest.raises(MeasurementError, match="each group needs 2 customers"):
        second_opinion(values, treated, n_treated, n_holdout)


def test_columns_of_different_lengths_are_refused() -> None:
    with pytest.raises(MeasurementError, match="there must be one each"):
        second_opinion(np.ones(3), np.array([True, False]), 10, 10)
