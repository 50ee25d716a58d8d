"""One statistic against its permutations: exact sums, random assignments, and the two tails.

Ties count against us, and the interval is cut at the very draws that decide the verdict, so that the two
never contradict each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nextoffer.domain.arrays import Bools, Floats

Verdict = Literal["win", "loss", "not shown", "too few buyers"]

SAME = 1e-9  # relative rounding error within which two statistics are a tie
FLAT = 1e-12  # share of the mean square below which a variance is rounding error


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums of values and of their squares by group, of one or many assignments: (…, 2) treated, holdout."""

    first: Floats
    second: Floats

    @classmethod
    def of(cls, values: Floats, treated: Bools) -> Sums:
        """The sums of one assignment."""
        groups = np.stack([treated, ~treated]).astype(np.float64)
        return cls(groups @ values, groups @ values**2)

    def moments(self, sizes: Floats) -> tuple[Floats, Floats]:
        """Mean and variance of the mean, by group; zeros count through the sizes."""
        mean = self.first / sizes
        mean_square = self.second / sizes
        variance = mean_square - mean**2
        variance = np.where(variance > FLAT * mean_square, variance, 0.0)
        return mean, variance / (sizes - 1)

    def welch(self, sizes: Floats) -> tuple[Floats, Floats]:
        """Difference of the means and its standard error."""
        mean, variance = self.moments(sizes)
        return mean[..., 0] - mean[..., 1], np.sqrt(variance.sum(axis=-1))

    def log_ratio(self, sizes: Floats) -> tuple[Floats, Floats]:
        """Logarithm of the ratio of the means and its standard error by the delta method.

        Without any spend in the holdout the ratio counts as infinite, without any among the treated as 0.
        """
        mean, variance = self.moments(sizes)
        positive = mean > 0
        safe = np.where(positive, mean, 1.0)
        ratio = np.log(safe[..., 0]) - np.log(safe[..., 1])
        ratio = np.where(positive[..., 0], ratio, -np.inf)
        ratio = np.where(positive[..., 1], ratio, np.inf)
        return ratio, np.sqrt((variance / safe**2).sum(axis=-1))


@dataclass(frozen=True, slots=True)
class Tails:
    """One statistic against its permutations: how many draws lie at or beyond it on either side."""

    estimate: float
    stderr: float
    low: float
    high: float
    n_above: int
    n_below: int
    verdict: Verdict


def draw(values: Floats, n_treated: int, n_holdout: int, n_draws: int, rng: np.random.Generator) -> Sums:
    """Sums of random assignments to groups of the same sizes; only customers with a value are drawn."""
    few = min(n_treated, n_holdout)  # draw the smaller group; the other is the rest
    counts = rng.hypergeometric(len(values), n_treated + n_holdout - len(values), few, size=n_draws)
    drawn = np.empty((n_draws, 2))
    for row, count in enumerate(counts.tolist()):
        chosen = values.take(rng.choice(len(values), count, replace=False, shuffle=False))
        drawn[row] = chosen.sum(), chosen @ chosen
    total = np.array([values.sum(), values @ values])
    rest = total - drawn
    rest[np.abs(rest) <= FLAT * np.array([np.abs(values).sum(), total[1]])] = 0.0
    treated, holdout = (rest, drawn) if n_holdout == few else (drawn, rest)
    return Sums(*(np.stack([treated[:, power], holdout[:, power]], axis=1) for power in (0, 1)))


def _studentised(estimate: Floats, stderr: Floats) -> Floats:
    """estimate / stderr; infinite with the estimate's sign where there is no variance, 0 for 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(stderr > 0, estimate / stderr, np.sign(estimate) * np.inf)
    answer: Floats = np.where(estimate == 0, 0.0, ratio)
    return answer


def tails(
    estimate: Floats, stderr: Floats, estimates: Floats, stderrs: Floats, j: int, n_draws: int
) -> Tails:
    """The verdict and the interval of a statistic seen once and drawn (n_draws,) times.

    `j` draws may lie at or beyond it, itself included, before it is no longer rare.
    """
    t, drawn = float(_studentised(estimate, stderr)), _studentised(estimates, stderrs)
    # A tie must be one whatever order the sums were taken in.
    drawn = np.sort(np.where(np.isclose(drawn, t, rtol=SAME, atol=SAME), t, drawn))
    n_above = n_draws - int(np.searchsorted(drawn, t, "left"))
    n_below = int(np.searchsorted(drawn, t, "right"))
    verdict: Verdict = "win" if n_above < j else "loss" if n_below < j else "not shown"
    upper, lower = float(drawn[n_draws - j]), float(drawn[j - 1])
    if stderr > 0 and math.isfinite(t):
        # d - t* se, written so that a tie gives exactly 0
        low, high = float(stderr) * (t - upper), float(stderr) * (t - lower)
    elif verdict == "not shown":
        low, high = min(0.0, float(estimate)), max(0.0, float(estimate))
    else:
        low = high = float(estimate)
    return Tails(float(estimate), float(stderr), low, high, n_above, n_below, verdict)
