"""What an experiment says about one metric, and what it would take to say more."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nextoffer.measurement.permutation import SAME, Verdict

ALPHA = 0.025  # one-sided error of a verdict: win and loss together 5 %
MIN_BUYERS = 10  # per group: below it no method known to us gives an answer worth having
SMALL_HOLDOUT = 100  # buyers held out, below which a report says so
TARGET_LIFT = 0.05  # what "about N more customers" would let one detect


@dataclass(frozen=True, slots=True)
class Arm:
    """One group: its customers, how many of them have a value above 0, and the value of all together.

    `per` is what the total of a ratio is divided by (the orders of an average order value), None for a value per
    customer.
    """

    n: int
    n_buyers: int
    total: float
    per: float | None = None

    @property
    def mean(self) -> float:
        """Per assigned customer, buyers or not, or per unit of `per`; 0 where there are none."""
        units = self.n if self.per is None else self.per
        return self.total / units if units else 0.0


@dataclass(frozen=True, slots=True)
class Effect:
    """What offers changed, per customer (or per unit of a ratio), in the unit of the values.

    `low` to `high` is the interval of 1 − 2 `alpha`, 95 % unless told; it excludes 0 exactly when `verdict` is "win"
    or "loss". Where there are too few buyers, everything but the counts, the means and `n_more` is None. An end
    may be infinite. The means of the arms are those of the values as they are; with CUPED `difference` and its
    interval are of the adjusted values.

    Parameters
    ----------
    difference : mean of the treated minus mean of the holdout
    p, p_win, p_loss : two-sided and one-sided permutation p-values
    relative, relative_low, relative_high : the difference as a share of the holdout's mean, never adjusted;
        None with a `relative_note` where that cannot be said
    welch_low, welch_high : what the usual test would say, for comparison only
    detectable : the smallest difference that would have been found 8 times in 10
    n_more : about how many more customers would make the answer useful; 0 if enough; None if unknown
    shape_differs : the groups' baskets differ in shape, so the error of the verdict may reach 5 %
    alpha : one-sided error of the verdict; less than .025 at a planned look, and in a family
    theta, variance_cut : CUPED: what a unit of the past explains, and the share of variance it took away
    q : in a family of effects, the least share of false ones among the called at which this one is called
    """

    treated: Arm
    holdout: Arm
    verdict: Verdict
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    p_win: float | None = None
    p_loss: float | None = None
    relative: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None
    relative_note: str | None = None
    welch_low: float | None = None
    welch_high: float | None = None
    detectable: float | None = None
    n_more: int | None = None
    shape_differs: bool = False
    n_permutations: int = 0
    seed: int = 0
    alpha: float = ALPHA
    theta: float | None = None
    variance_cut: float | None = None
    q: float | None = None

    @property
    def small_holdout(self) -> bool:
        """Fewer than 100 held-out buyers: the interval is wide and the test weak."""
        return self.holdout.n_buyers < SMALL_HOLDOUT


def more_for_lift(arms: tuple[Arm, Arm], detectable: float | None) -> int | None:
    """Customers to add, at the same split, before a 5 % lift would be found 8 times in 10."""
    target = TARGET_LIFT * arms[1].mean
    if target <= 0 or detectable is None:
        return None
    n = arms[0].n + arms[1].n
    return about(n * max(0.0, (detectable / target) ** 2 - 1))


def more_for_buyers(treated: Arm, holdout: Arm, min_buyers: int) -> int | None:
    """Customers to add, at the same split and rate of buying, before both groups have enough buyers."""
    n, n_buyers = treated.n + holdout.n, treated.n_buyers + holdout.n_buyers
    if n_buyers == 0 or min(treated.n, holdout.n) == 0:
        return None
    missing = [
        max(0, min_buyers - arm.n_buyers) / (max(arm.n_buyers / arm.n, n_buyers / n) * arm.n / n)
        for arm in (treated, holdout)
    ]
    return about(max(missing))


def about(number: float) -> int:
    """Two digits, never less."""
    whole = math.ceil(number - SAME)
    step: int = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // step) * step
