"""Looking before the end: the one-sided errors that planned looks, or looks at any time, may each be judged at.

Ten looks at 2.5 % a side are one test at about 10 %. Whoever plans the looks spends the 2.5 % over them
(`nominal_alphas`); whoever looks whenever they like pays with a wider interval (`mixture_alpha`). Either gives the
`alpha` of a permutation test, so that what small holdouts and skewed spend do to Welch's t is kept right at every
look; an error that so few permutations cannot show gives "not shown" and an interval without ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import lambertw, log_ndtr, ndtr, ndtri, ndtri_exp

from nextoffer.domain.arrays import Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.effect import ALPHA

_FAR = 38.0  # standard deviations: beyond, no probability is left that a float could hold
_NO_NEWS = 5e-5  # share of the information that is none
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_WIDE = 9.0  # standard deviations that hold all that is worth integrating


def spent(fraction: float, alpha: float = ALPHA) -> float:
    """Error spent by the time a share of the information is in: next to nothing early, all of it at 1.

    References
    ----------
    Lan & DeMets (1983), Discrete sequential boundaries for clinical trials, Biometrika 70: the function that
    resembles O'Brien and Fleming's boundary.
    """
    return float(2 * ndtr(ndtri(alpha / 2) / math.sqrt(fraction)))


def nominal_alphas(fractions: Sequence[float], alpha: float = ALPHA) -> tuple[float, ...]:
    """The one-sided error to judge each planned look at, so that all of them together err at `alpha` a side.

    Parameters
    ----------
    fractions : rising shares of the planned information (customers, or days where they come evenly) at the looks
        so far, at most 1; a look's error depends on no later look, and need not be as planned
    alpha : one-sided error over all looks, spent whole when the last fraction is 1

    Raises
    ------
    MeasurementError : the fractions do not rise between 0 and 1.

    References
    ----------
    Armitage, McPherson & Rowe (1969), Repeated significance tests on accumulating data, JRSS A 132: the
    density of what has crossed neither boundary, carried from look to look.
    """
    if (
        not all(a < b for a, b in zip((0.0, *fractions), fractions, strict=False))
        or max(fractions, default=0) > 1
    ):
        raise MeasurementError(
            f"looks at {tuple(fractions)} of the information: give shares that rise up to 1"
        )
    points: Floats = np.zeros(1)
    mass: Floats = np.ones(1)  # the score of those that go on: all of them at 0
    alphas: list[float] = []
    last, finest = 0.0, min(np.diff([0.0, *fractions]).tolist(), default=1.0)
    for fraction in fractions:
        if fraction - last < _NO_NEWS and alphas:
            alphas.append(alphas[-1])  # the same look again
            continue
        step, error = (
            math.sqrt(fraction - last),
            spent(fraction, alpha) - (spent(last, alpha) if last else 0.0),
        )
        bound = _bound(points, mass, step, error, _FAR * math.sqrt(fraction))
        alphas.append(float(ndtr(-bound / math.sqrt(fraction))))
        end = min(bound, _WIDE * math.sqrt(fraction))
        points, mass = _carried(points, mass, step, end, math.sqrt(max(finest, _NO_NEWS)))
        last = fraction
    return tuple(alphas)


def _bound(points: Floats, mass: Floats, step: float, error: float, far: float) -> float:
    """The score that `error` of all exceed for the first time after a step of this standard deviation."""
    if error <= 0:
        return far

    def excess(bound: float) -> float:
        logs = log_ndtr((points - bound) / step)
        top = logs.max()
        return float(top + math.log(np.exp(logs - top) @ mass) - math.log(error))

    return float(brentq(excess, 0.0, far, xtol=1e-12)) if excess(far) < 0 else far


def _carried(points: Floats, mass: Floats, step: float, end: float, finest: float) -> tuple[Floats, Floats]:
    """The same density a step later between −end and end, as points of Gauss rules on strips of 2 `finest`."""
    n_strips = max(8, math.ceil(end / finest))
    half = end / n_strips
    middles = np.linspace(-end + half, end - half, n_strips)
    later = (middles[:, None] + half * _NODES).ravel()
    density = np.exp(-0.5 * ((later[:, None] - points) / step) ** 2) @ mass / (step * math.sqrt(2 * math.pi))
    return later, density * np.tile(half * _WEIGHTS, n_strips)


def mixture_alpha(fraction: float, alpha: float = ALPHA) -> float:
    """The one-sided error to judge a look at, at any time and as often as one likes.

    Parameters
    ----------
    fraction : information there is, as a share of that for which the interval is narrowest (the planned end);
        it may exceed 1
    alpha : one-sided error over all looks ever taken

    References
    ----------
    Robbins (1970), Statistical methods related to the law of the iterated logarithm; Howard, Ramdas, McAuliffe &
    Sekhon (2021), Time-uniform, nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49;
    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2021), Time-uniform central limit theory.
    """
    return float(ndtr(-_multiple(_spread(alpha) * fraction, alpha)))


def always_valid_p(p: float, fraction: float, alpha: float = ALPHA) -> float:
    """What a two-sided p of one look is worth when looks are taken at any time; `mixture_alpha` is where it is 2 alpha.

    The p of a permutation test is never 0, so that this is not either.
    """
    spread = _spread(alpha) * fraction
    z_square = float(ndtri_exp(math.log(p / 2))) ** 2 if p > 0 else math.inf
    return min(1.0, math.exp(0.5 * math.log1p(spread) - 0.5 * z_square * spread / (1 + spread)))


@dataclass(frozen=True, slots=True)
class Anytime:
    """An interval that holds at every look together, and a p-value that may be watched."""

    low: float
    high: float
    p: float


def anytime(difference: float, stderr: float, target_stderr: float, alpha: float = ALPHA) -> Anytime:
    """The always-valid interval of an estimate that is normal: hundreds of buyers in each group.

    For a small holdout use a permutation test at `mixture_alpha`: there a normal interval errs as Welch's does.

    Parameters
    ----------
    target_stderr : the standard error at which the interval is narrowest, stated before the start

    Raises
    ------
    MeasurementError : a standard error is not above 0.
    """
    if not (stderr > 0 and target_stderr > 0):
        raise MeasurementError(f"standard errors {stderr} and {target_stderr}: both must be above 0")
    fraction = (target_stderr / stderr) ** 2
    half = _multiple(_spread(alpha) * fraction, alpha) * stderr
    p = always_valid_p(2 * float(ndtr(-abs(difference) / stderr)), fraction, alpha)
    return Anytime(difference - half, difference + half, p)


def _multiple(spread: float, alpha: float) -> float:
    """Standard errors from the estimate to the ends; `spread` is the mixture's variance over the squared error."""
    return math.sqrt((1 + spread) / spread * (math.log1p(spread) - 2 * math.log(2 * alpha)))


def _spread(alpha: float) -> float:
    """The spread of the mixture for which the interval is narrowest, in squared standard errors."""
    return float(-lambertw(-((2 * alpha) ** 2) * math.exp(-1), -1).real - 1)
