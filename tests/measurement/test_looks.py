"""Looks: boundaries against published tables and simulated paths, and what watching all the time costs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize_scalar
from scipy.special import lambertw

from nextoffer.errors import MeasurementError
from nextoffer.measurement.experiment import permutation_test
from nextoffer.measurement.looks import always_valid_p, anytime, mixture_alpha, nominal_alphas, spent


def z_of(alphas: tuple[float, ...]) -> list[float]:
    return [float(stats.norm.isf(alpha)) for alpha in alphas]


@pytest.mark.parametrize(
    ("fractions", "published"),
    [
        # Lan & DeMets, O'Brien-Fleming type, two-sided 5 %: ldbounds, gsDesign sfLDOF; Jennison & Turnbull (2000)
        ([0.2, 0.4, 0.6, 0.8, 1.0], [4.877, 3.357, 2.680, 2.290, 2.031]),
        ([0.5, 1.0], [2.963, 1.969]),
        ([1 / 3, 2 / 3, 1.0], [3.710, 2.511, 1.993]),
        ([0.25, 0.5, 0.75, 1.0], [4.333, 2.963, 2.359, 2.014]),
        ([1.0], [1.960]),
    ],
)
def test_the_boundaries_are_the_published_ones(fractions: list[float], published: list[float]) -> None:
    assert z_of(nominal_alphas(fractions)) == pytest.approx(published, abs=0.0015)


@pytest.mark.parametrize(
    "fractions", [np.arange(1, 21) / 20, np.array([0.05, 0.3, 0.31, 0.32, 0.6, 0.95, 1.0])]
)
def test_simulated_paths_cross_as_often_as_error_was_spent(fractions: np.ndarray) -> None:
    n_paths = 200_000
    rng = np.random.default_rng(1)
    bounds = np.array(z_of(nominal_alphas(fractions.tolist())))
    score, alive, won = np.zeros(n_paths), np.ones(n_paths, dtype=bool), np.zeros(n_paths, dtype=bool)
    for step, fraction, bound in zip(np.diff(fractions, prepend=0.0), fractions, bounds, strict=True):
        score += rng.normal(0, np.sqrt(step), n_paths)
        z = score / np.sqrt(fraction)
        won |= alive & (z > bound)
        alive &= np.abs(z) <= bound
        error = 4 * np.sqrt(max(spent(float(fraction)), 1e-5) / n_paths)
        assert won.mean() == pytest.approx(spent(float(fraction)), abs=error)

    assert won.mean() == pytest.approx(0.025, abs=4 * np.sqrt(0.025 / n_paths))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 500), min_size=1, max_size=12, unique=True))
def test_no_look_depends_on_a_later_one_and_none_has_more_than_all(places: list[int]) -> None:
    fractions = [place / 500 for place in sorted(places)]
    alphas = nominal_alphas(fractions)

    assert alphas[:-1] == pytest.approx(nominal_alphas(fractions[:-1]), rel=1e-6, abs=1e-12)
    assert all(0 <= alpha <= 0.025 + 1e-9 for alpha in alphas)
    assert sum(alphas) >= spent(fractions[-1]) * (1 - 1e-6)  # a crossing is one of some look


@pytest.mark.parametrize("fractions", [[0.0, 1.0], [0.5, 0.5], [0.7, 0.3], [0.5, 1.1]])
def test_looks_that_do_not_rise_to_one_are_refused(fractions: list[float]) -> None:
    with pytest.raises(MeasurementError, match="rise up to 1"):
        nominal_alphas(fractions)


def test_a_look_too_early_for_so_few_permutations_shows_nothing_and_raises_nothing() -> None:
    rng = np.random.default_rng(2)
    treated = np.arange(400) >= 80
    values = np.where(treated, 50.0, 1.0) * rng.lognormal(0, 0.1, 400)
    first = nominal_alphas([0.05, 1.0])[0]

    for alpha in (first, 0.0):
        effect = permutation_test(values, treated, 320, 80, seed=1, n_permutations=199, alpha=alpha)

        assert (effect.verdict, effect.low, effect.high) == ("not shown", -math.inf, math.inf)
        assert effect.p == pytest.approx(0.01)
        assert effect.alpha == alpha


@pytest.mark.parametrize("alpha", [0.025, 0.005])
def test_the_mixture_is_narrowest_at_the_stated_target(alpha: float) -> None:
    def width(log_fraction: float) -> float:
        """In units of the final spread: the target moves, the look stays."""
        return float(stats.norm.isf(mixture_alpha(math.exp(log_fraction), alpha)))

    best = minimize_scalar(width, bounds=(-4, 4), method="bounded")

    assert best.x == pytest.approx(0.0, abs=1e-3)


def test_the_interval_and_the_p_that_may_be_watched_agree() -> None:
    for difference in (0.5, 1.0, 2.9, 3.1, 5.0):
        for stderr in (0.5, 1.0, 3.0):
            watched = anytime(difference, stderr, 1.0)
            assert (watched.low > 0) == (watched.p < 0.05)
            z = (watched.high - difference) / stderr
            assert stats.norm.sf(z) == pytest.approx(mixture_alpha(1 / stderr**2))
    for fraction in (0.1, 1.0, 4.0):
        assert always_valid_p(2 * mixture_alpha(fraction), fraction) == pytest.approx(0.05)
        assert always_valid_p(1.0, fraction) == 1.0


def test_watched_at_every_customer_a_null_is_called_less_than_promised() -> None:
    n_paths, n_looks = 4_000, 2_000
    rng = np.random.default_rng(3)
    bounds = np.array([stats.norm.isf(mixture_alpha(look / 1_000)) for look in range(1, n_looks + 1)])
    score, called = np.zeros(n_paths), np.zeros(n_paths, dtype=bool)
    for look, bound in enumerate(bounds, 1):
        score += rng.normal(0, 1, n_paths)
        called |= np.abs(score) > bound * math.sqrt(look)

    assert 0.01 < called.mean() < 0.05


def test_the_mixtures_closed_form_is_its_integral() -> None:
    z, fraction = 2.7, 0.6
    spread = -1 - float(np.real(lambertw(-(0.05**2) / math.e, -1)))
    effects = np.linspace(-40, 40, 400_001)
    prior = stats.norm.pdf(effects, 0, math.sqrt(spread * fraction))
    ratio = np.trapezoid(prior * np.exp(z * effects - effects**2 / 2), effects)

    assert always_valid_p(2 * float(stats.norm.sf(z)), fraction) == pytest.approx(1 / ratio)


@pytest.mark.parametrize(("stderr", "target"), [(0.0, 1.0), (1.0, 0.0), (math.nan, 1.0)])
def test_no_spread_no_interval(stderr: float, target: float) -> None:
    with pytest.raises(MeasurementError, match="above 0"):
        anytime(1.0, stderr, target)


def test_a_look_at_nothing_new_is_the_same_look() -> None:
    first, again, last = nominal_alphas([0.5, 0.50001, 1.0])

    assert again == first
    assert (first, last) == pytest.approx(nominal_alphas([0.5, 1.0]), rel=1e-4)
