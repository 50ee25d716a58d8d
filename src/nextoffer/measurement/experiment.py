"""Treated minus holdout per customer, with an interval that is honest for small holdouts and skewed spend.

An equal-tailed permutation of Welch's t. Only the customers with a value other than 0 are ever drawn; the
many zeros count through the sizes of the groups. In A/A tests on real spend it declares a false win 1.9 to
2.6 times in a hundred where Welch's own test does so up to 17.6 times. A value may be adjusted for spend
before the experiment (CUPED) by whoever calls: the procedure sees values and groups only.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import ndtri, stdtrit

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.permutation import SAME, Sums, Tails, Verdict, draw, tails
from nextoffer.texts import said

MIN_BUYERS = 10  # per group: below it no method known to us gives an answer worth having
SMALL_HOLDOUT = 100  # buyers held out, below which a report says so
TARGET_LIFT = 0.05  # what "about N more customers" would let one detect
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Arm:
    """One group: its customers, how many of them have a value above 0, and the value of all together."""

    n: int
    n_buyers: int
    total: float

    @property
    def mean(self) -> float:
        """Per assigned customer, buyers or not; 0 for an empty group."""
        return self.total / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Effect:
    """What offers changed, per customer, in the unit of the values.

    `low` to `high` is the 95 % interval; it excludes 0 exactly when `verdict` is "win" or "loss". Where there
    are too few buyers, everything but the counts, the means and `n_more` is None. An end may be infinite.

    Parameters
    ----------
    difference : mean of the treated minus mean of the holdout
    p, p_win, p_loss : two-sided and one-sided permutation p-values
    relative, relative_low, relative_high : the difference as a share of the holdout's mean; None with a
        `relative_note` where that cannot be said
    welch_low, welch_high : what the usual test would say, for comparison only
    detectable : the smallest difference that would have been found 8 times in 10
    n_more : about how many more customers would make the answer useful; 0 if enough; None if unknown
    shape_differs : the groups' baskets differ in shape, so the error of the verdict may reach 5 %
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

    @property
    def small_holdout(self) -> bool:
        """Fewer than 100 held-out buyers: the interval is wide and the test weak."""
        return self.holdout.n_buyers < SMALL_HOLDOUT


def seed_of(experiment: str, version: int, look: str) -> int:
    """The seed of one look at one experiment: anyone who repeats the look gets the same figures.

    48 bits, so that JSON numbers hold it exactly everywhere.
    """
    return int.from_bytes(hashlib.sha256(f"{experiment}:{version}:{look}".encode()).digest()[:6], "big")


def permutation_test(
    values: Floats,
    treated: Bools,
    n_treated: int,
    n_holdout: int,
    *,
    seed: int,
    n_permutations: int = 9_999,
    alpha: float = 0.025,
    min_buyers: int = MIN_BUYERS,
) -> Effect:
    """The effect of offers on one value per customer.

    Parameters
    ----------
    values : (K,) the values of the customers who have one other than 0, in any order
    treated : (K,) False for the holdout
    n_treated, n_holdout : everybody assigned, with or without a value
    seed : see `seed_of`; the same input and seed give the same figures
    alpha : one-sided error of the verdict

    Raises
    ------
    MeasurementError : a group is too small, or there are too few permutations for `alpha`.

    References
    ----------
    Janssen (1997), Studentized permutation tests for non-i.i.d. hypotheses, Statistics & Probability
    Letters 36; Chung & Romano (2013), Exact and asymptotically robust permutation tests, Annals of
    Statistics 41.
    """
    values = np.asarray(values, dtype=np.float64)
    treated = np.asarray(treated, dtype=np.bool_)
    _check(values, treated, n_treated, n_holdout)
    used = values != 0
    order = np.lexsort((treated[used], values[used]))  # so that the order of rows changes nothing
    values, treated = values[used][order], treated[used][order]
    arms = _arm(values[treated], n_treated), _arm(values[~treated], n_holdout)
    if min(arms[0].n_buyers, arms[1].n_buyers) < min_buyers:
        return Effect(*arms, "too few buyers", n_more=_more_for_buyers(*arms, min_buyers), seed=seed)
    j = int(alpha * (n_permutations + 1) + SAME)
    if j < 1:
        raise MeasurementError(
            f"{n_permutations} permutations cannot show an error of {alpha}: "
            f"use {math.ceil(1 / alpha)} or more"
        )
    sizes = np.array([n_treated, n_holdout], dtype=np.float64)
    seen = Sums.of(values, treated)
    drawn = draw(values, n_treated, n_holdout, n_permutations, np.random.default_rng(seed))
    money = tails(*seen.welch(sizes), *drawn.welch(sizes), j, n_permutations)
    relative = _relative(seen, drawn, sizes, j, n_permutations)
    effect = _effect(arms, seen, sizes, money, relative, n_permutations, seed)
    return replace(effect, shape_differs=_shape_differs(values, treated))


def _relative(seen: Sums, drawn: Sums, sizes: Floats, j: int, n_draws: int) -> Tails | None:
    if seen.first.min() <= 0:
        return None
    return tails(*seen.log_ratio(sizes), *drawn.log_ratio(sizes), j, n_draws)


def _effect(
    arms: tuple[Arm, Arm],
    seen: Sums,
    sizes: Floats,
    money: Tails,
    relative: Tails | None,
    n_permutations: int,
    seed: int,
) -> Effect:
    n_draws = n_permutations + 1
    p_win, p_loss = (1 + money.n_above) / n_draws, (1 + money.n_below) / n_draws
    welch = _welch_half_width(seen, sizes)
    size = math.expm1(relative.estimate) if relative is not None else None
    agrees = relative is not None and relative.verdict == money.verdict
    note = None
    if relative is None:
        note = said("no relative size: a group's total is not above 0")
    elif not agrees:
        note = said("relative size not determined")
    return Effect(
        *arms,
        money.verdict,
        difference=money.estimate,
        low=money.low,
        high=money.high,
        p=min(1.0, 2 * min(p_win, p_loss)),
        p_win=p_win,
        p_loss=p_loss,
        relative=size,
        relative_low=_expm1(relative.low) if relative is not None and agrees else None,
        relative_high=_expm1(relative.high) if relative is not None and agrees else None,
        relative_note=note,
        welch_low=money.estimate - welch,
        welch_high=money.estimate + welch,
        detectable=_reach() * money.stderr,
        n_more=_more_for_lift(arms, money.stderr),
        n_permutations=n_permutations,
        seed=seed,
    )


def _welch_half_width(seen: Sums, sizes: Floats) -> float:
    _, variance = seen.moments(sizes)
    if variance.sum() == 0:
        return 0.0
    freedom = variance.sum() ** 2 / (variance**2 / (sizes - 1)).sum()
    return float(stdtrit(freedom, 0.975) * np.sqrt(variance.sum()))


def _reach() -> float:
    """Standard errors between 0 and an effect found 8 times in 10 at 2.5 % one-sided error."""
    return float(ndtri(0.975) + ndtri(_POWER))


def _more_for_lift(arms: tuple[Arm, Arm], stderr: float) -> int | None:
    """Customers to add, at the same split, before a 5 % lift would be found 8 times in 10."""
    target = TARGET_LIFT * arms[1].mean
    if target <= 0:
        return None
    n = arms[0].n + arms[1].n
    return _rounded_up(n * max(0.0, (_reach() * stderr / target) ** 2 - 1))


def _more_for_buyers(treated: Arm, holdout: Arm, min_buyers: int) -> int | None:
    """Customers to add, at the same split and rate of buying, before both groups have enough buyers."""
    n, n_buyers = treated.n + holdout.n, treated.n_buyers + holdout.n_buyers
    if n_buyers == 0 or min(treated.n, holdout.n) == 0:
        return None
    missing = [
        max(0, min_buyers - arm.n_buyers) / (max(arm.n_buyers / arm.n, n_buyers / n) * arm.n / n)
        for arm in (treated, holdout)
    ]
    return _rounded_up(max(missing))


def _rounded_up(number: float) -> int:
    """About: two digits, never less."""
    whole = math.ceil(number - SAME)
    step: int = 10 ** max(0, len(str(whole)) - 2)
    return -(-whole // step) * step


def _shape_differs(values: Floats, treated: Bools) -> bool:
    """Whether the spread of log-baskets differs by more than a fifth between the groups."""
    logs = [np.log(values[group & (values > 0)]) for group in (treated, ~treated)]
    if min(len(part) for part in logs) < 2:
        return False
    spreads = sorted(float(part.std(ddof=1)) for part in logs)
    return spreads[1] > 1.2 * spreads[0] + SAME


def _expm1(log_ratio: float) -> float:
    return math.expm1(log_ratio) if log_ratio < 700 else math.inf


def _arm(values: Floats, n: int) -> Arm:
    return Arm(n, int(np.count_nonzero(values > 0)), float(values.sum()))


def _check(values: Floats, treated: Bools, n_treated: int, n_holdout: int) -> None:
    if values.shape != treated.shape or values.ndim != 1:
        raise MeasurementError(f"{values.shape} values but {treated.shape} groups: there must be one each")
    if not np.isfinite(values).all():
        raise MeasurementError("a customer's value is not a finite number: mend the orders it comes from")
    if min(n_treated, n_holdout) < 2:
        raise MeasurementError(f"{n_treated} treated and {n_holdout} held out: each group needs 2 customers")
    n_valued = int(np.count_nonzero(treated))
    for name, size, valued in (
        ("treated", n_treated, n_valued),
        ("holdout", n_holdout, len(values) - n_valued),
    ):
        if size < valued:
            raise MeasurementError(f"{valued} customers of the {name} group have a value, but it has {size}")
