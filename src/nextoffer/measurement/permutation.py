"""One statistic against its permutations: moments, the two tails, and the interval cut at the same draws.

Ties count against us, and the interval is cut at the very draws that decide the verdict, so that the two
never contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nextoffer.domain.arrays import Floats
from nextoffer.measurement.draws import FLAT

Verdict = Literal["win", "loss", "not shown", "too few buyers"]
Moments = tuple[Floats, Floats]  # a mean and its variance by group, each (…, 2): treated, holdout

POWER = 0.8  # what is worth finding is found 8 times in 10
SAME = 1e-9  # relative rounding error within which two statistics are a tie


def mean_moments(sums: Floats, sizes: Floats) -> Moments:
    """The mean per customer, zeros counted through (2,) sizes, of (…, 2, 2) sums of values and of squares."""
    mean, mean_square = (sums[..., power] / sizes for power in (0, 1))
    return mean, _variance(mean_square - mean**2, mean_square, sizes)


def ratio_moments(sums: Floats, sizes: Floats) -> Moments:
    """Top over bottom, linearised around its own value; not a number where a group's bottom is not above 0.

    Parameters
    ----------
    sums : (…, 2, 5) of top, bottom, top², top × bottom, bottom²

    References
    ----------
    Deng, Knoblich & Lu (2018), Applying the delta method in metric analytics, KDD.
    """
    top, bottom, top_top, top_bottom, bottom_bottom = (sums[..., at] / sizes for at in range(5))
    bottom = np.where(bottom > 0, bottom, np.nan)
    ratio = top / bottom
    residual = top_top - 2 * ratio * top_bottom + ratio**2 * bottom_bottom
    return ratio, _variance(residual, top_top, sizes) / bottom**2


def _variance(mean_square: Floats, of: Floats, sizes: Floats) -> Floats:
    """Variance of the mean; 0 where it is rounding error of what it was computed `of`."""
    kept: Floats = np.where(mean_square <= FLAT * of, 0.0, mean_square) / (sizes - 1)
    return kept


def difference(moments: Moments) -> Moments:
    """Treated minus holdout and its standard error, (…,) each; a difference of rounding error is 0."""
    mean, variance = moments
    estimate = mean[..., 0] - mean[..., 1]
    estimate = np.where(np.abs(estimate) <= FLAT * np.abs(mean).sum(axis=-1), 0.0, estimate)
    return estimate, np.sqrt(variance.sum(axis=-1))


def log_ratio(moments: Moments) -> Moments:
    """Logarithm of treated over holdout and its standard error by the delta method.

    Nothing above 0 in the holdout counts as an infinite ratio, nothing among the treated as 0.
    """
    mean, variance = moments
    safe = np.where(mean > 0, mean, 1.0)
    estimate = np.log(safe[..., 0]) - np.log(safe[..., 1])
    estimate = np.where(np.abs(estimate) <= FLAT, 0.0, estimate)
    estimate = np.where(mean[..., 0] <= 0, -np.inf, estimate)
    estimate = np.where(mean[..., 1] <= 0, np.inf, estimate)
    estimate = np.where(np.isnan(mean).any(axis=-1), np.nan, estimate)
    return estimate, np.sqrt((variance / safe**2).sum(axis=-1))


def _studentised(estimate: Floats, stderr: Floats) -> Floats:
    """estimate / stderr; infinite with the estimate's sign where there is no variance, 0 for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(stderr > 0, estimate / stderr, np.sign(estimate) * np.inf)
    answer: Floats = np.where(estimate == 0, 0.0, ratio)
    return answer


@dataclass(frozen=True, slots=True, eq=False)
class Statistic:
    """One statistic as it was seen, among its permutations.

    Parameters
    ----------
    drawn : the studentised permutations, ascending
    estimates, stderrs : (n_draws,) the permutations themselves
    n_above, n_below : permutations at or beyond it on either side; one that is not determined lies on both
    """

    estimate: float
    stderr: float
    t: float
    drawn: Floats
    estimates: Floats
    stderrs: Floats
    n_above: int
    n_below: int

    @classmethod
    def of(cls, seen: Moments, drawn: Moments) -> Statistic:
        """Of an estimate and its standard error, and the same of (n_draws,) permutations."""
        (estimate, stderr), n_draws = (float(part) for part in seen), len(drawn[0])
        t, permuted = float(_studentised(*seen)), _studentised(*drawn)
        permuted = permuted[~np.isnan(permuted)]
        # A tie must be one whatever order the sums were taken in.
        permuted = np.sort(np.where(np.isclose(permuted, t, rtol=SAME, atol=SAME), t, permuted))
        n_above = n_draws - int(np.searchsorted(permuted, t, "left"))
        n_below = int(np.searchsorted(permuted, t, "right")) + n_draws - len(permuted)
        return cls(estimate, stderr, t, permuted, *drawn, n_above, n_below)

    @property
    def n_draws(self) -> int:
        """How many permutations there are, determined or not."""
        return len(self.estimates)

    @property
    def p_win(self) -> float:
        """One-sided: of all assignments, the seen one included, how many favour offers as much."""
        return (1 + self.n_above) / (self.n_draws + 1)

    @property
    def p_loss(self) -> float:
        """The same on the other side."""
        return (1 + self.n_below) / (self.n_draws + 1)

    def rank(self, alpha: float) -> int:
        """How many permutations, the seen one included, may lie at or beyond it at a one-sided error."""
        return int(alpha * (self.n_draws + 1) + SAME)

    def verdict(self, alpha: float) -> Verdict:
        """At a one-sided error; one that so few permutations cannot show is not shown."""
        j = self.rank(alpha)
        return "win" if self.n_above < j else "loss" if self.n_below < j else "not shown"

    def interval(self, alpha: float) -> tuple[float, float]:
        """Of 1 − 2 alpha; it excludes 0 exactly when `verdict` decides. An end may be infinite."""
        j = self.rank(alpha) - (self.n_draws - len(self.drawn))  # the undetermined lie beyond both ends
        if j < 1:
            return -math.inf, math.inf
        upper, lower = float(self.drawn[-j]), float(self.drawn[j - 1])
        if self.stderr > 0 and math.isfinite(self.t):
            # d - t* se, written so that a tie gives exactly 0
            return self.stderr * (self.t - upper), self.stderr * (self.t - lower)
        if self.verdict(alpha) == "not shown":
            return min(0.0, self.estimate), max(0.0, self.estimate)
        return self.estimate, self.estimate

    def detectable(self, alpha: float) -> float | None:
        """The least that, added for all treated, is found 8 times in 10; None if none is.

        The permutations are experiments without an effect, so that they tell how often it would be. What the
        interval itself reaches is never called found: draws that one giant order makes alike would say so.
        """
        j = self.rank(alpha) - (self.n_draws - len(self.drawn))
        if j < 1 or not math.isfinite(self.drawn[-j]):
            return None
        lacking = self.drawn[-j] * self.stderrs - self.estimates
        needed = float(np.quantile(np.where(np.isnan(lacking), np.inf, lacking), POWER, method="higher"))
        return max(0.0, needed, float(self.drawn[-j]) * self.stderr) if math.isfinite(needed) else None
