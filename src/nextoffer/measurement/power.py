"""Before a campaign starts: what an experiment of this size could find, from what these customers spent before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from nextoffer.domain.arrays import Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.cuped import adjust
from nextoffer.measurement.effect import ALPHA, MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT, about
from nextoffer.measurement.permutation import POWER

SURE_BUYERS = 2 * MIN_BUYERS  # expected, so that fewer than the least come 1 time in 200
EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What an experiment would find, if customers went on as they did in a past period of the same length.

    Figures are those of the permutation test, whose honesty costs power where the holdout is small and spend is
    skewed. With fewer than 100 held-out buyers they are rough (`small_holdout`).

    Parameters
    ----------
    n, holdout_share : customers, and the share of them held out
    treated_buyers, holdout_buyers : expected
    mean : per customer, in the unit of the values
    detectable : the smallest difference found 8 times in 10, per customer; None where nothing ever varied
    detectable_lift : the same as a share of the mean; None where the mean is not above 0
    lift : the lift that is asked for, as a share of the mean
    n_needed : customers at this split before `lift` is found 8 times in 10, about; None if unknown
    best_share : the smallest holdout that finds `lift` with these customers; one half where none does
    variance_cut : share of variance that CUPED takes away; None without a past
    """

    n: int
    holdout_share: float
    treated_buyers: float
    holdout_buyers: float
    mean: float
    detectable: float | None
    detectable_lift: float | None
    lift: float
    n_needed: int | None
    best_share: float
    variance_cut: float | None

    @property
    def too_little(self) -> bool:
        """`lift` would be missed more often than the 2 times in 10 one plans for."""
        return self.n_needed is None or self.n_needed > self.n

    @property
    def n_lacking(self) -> int | None:
        """Customers to add at this split; 0 if there are enough, None if nobody can know."""
        return None if self.n_needed is None else max(0, self.n_needed - self.n)

    @property
    def small_holdout(self) -> bool:
        """Fewer than 100 held-out buyers are to be expected."""
        return self.holdout_buyers < SMALL_HOLDOUT


def plan(
    values: Floats,
    n: int,
    holdout_share: float,
    *,
    before: Floats | None = None,
    lift: float = TARGET_LIFT,
    alpha: float = ALPHA,
) -> Plan:
    """What an experiment on `n` customers would find.

    Parameters
    ----------
    values : (K,) of a past period as long as the experiment, of the listed customers with one other than 0
    n : all listed customers
    holdout_share : between 0 and 1
    before : (K,) of the period before that one, for CUPED; then K are all who have either
    lift : the relative effect worth finding
    alpha : one-sided error of the verdict: the last look's, where looks are planned

    Raises
    ------
    MeasurementError : fewer customers than values, a share or lift that is none, a value that is not finite.

    References
    ----------
    Hall (1992), The bootstrap and Edgeworth expansion, 2.6; Kohavi, Tang & Xu (2020), Trustworthy online
    controlled experiments, chapter 17.
    """
    values = np.asarray(values, dtype=np.float64)
    past = None if before is None else np.asarray(before, dtype=np.float64)
    _check(values, past, n, holdout_share, lift)
    adjusted = None if past is None else adjust(values, past, n)
    mean, n_buyers = float(values.sum()) / n, int(np.count_nonzero(values > 0))
    shape = _Shape.of(values if adjusted is None else adjusted.values, n)
    detectable = shape.detectable(n, holdout_share, alpha)
    n_needed, best_share = None, EVEN
    if mean > 0 and n_buyers > 0 and detectable > 0:
        for_buyers = SURE_BUYERS * n / n_buyers
        for_lift = _needed(shape, holdout_share, alpha, lift * mean)
        n_needed = about(max(for_lift, for_buyers / min(holdout_share, 1 - holdout_share)))
        shares = [percent / 100 for percent in range(1, 51) if percent * n >= 100 * for_buyers]
        best_share = next(
            (share for share in shares if shape.detectable(n, share, alpha) <= lift * mean), EVEN
        )
    return Plan(
        n=n,
        holdout_share=holdout_share,
        treated_buyers=n_buyers * (1 - holdout_share),
        holdout_buyers=n_buyers * holdout_share,
        mean=mean,
        detectable=detectable if detectable > 0 else None,
        detectable_lift=detectable / mean if mean > 0 and detectable > 0 else None,
        lift=lift,
        n_needed=n_needed,
        best_share=best_share,
        variance_cut=None if adjusted is None else adjusted.variance_cut,
    )


@dataclass(frozen=True, slots=True)
class _Shape:
    """Central moments of the values: variance, third and fourth."""

    second: float
    third: float
    fourth: float

    @classmethod
    def of(cls, values: Floats, n: int) -> _Shape:
        """Of K values and n − K zeros."""
        centre = float(values.sum()) / n
        rest, n_zeros = values - centre, n - len(values)
        second, third, fourth = (
            (float((rest**power).sum()) + n_zeros * (-centre) ** power) / n for power in (2, 3, 4)
        )
        return cls(second * n / (n - 1), third, fourth)

    def detectable(self, n: float, holdout_share: float, alpha: float) -> float:
        """The difference found 8 times in 10 by a test that keeps its error where values are skewed.

        Edgeworth's first term tells where the permuted t is cut; the estimate and its standard error, which
        are high together where the treated are few, and low together where the holdout is, tell the rest.
        """
        if self.second <= 0:
            return 0.0
        sizes = n * (1 - holdout_share), n * holdout_share
        variance: float = self.second * (1 / sizes[0] + 1 / sizes[1])
        skew = self.third * (1 / sizes[0] ** 2 - 1 / sizes[1] ** 2) / variance**1.5
        of_variance = (self.fourth - self.second**2) * (1 / sizes[0] ** 3 + 1 / sizes[1] ** 3) / variance**2
        z = float(ndtri(1 - alpha))
        cut = z - skew * (2 * z**2 + 1) / 6
        spread = math.sqrt(max(0.0, 1 - cut * skew + cut**2 * of_variance / 4))
        multiple: float = cut + float(ndtri(POWER)) * spread
        return multiple * math.sqrt(variance)


def _needed(shape: _Shape, holdout_share: float, alpha: float, difference: float) -> float:
    """Customers with whom this difference is found 8 times in 10."""

    def excess(log_n: float) -> float:
        return math.log(max(shape.detectable(math.exp(log_n), holdout_share, alpha) / difference, 1e-300))

    low, high = math.log(4), math.log(1e18)
    if excess(low) <= 0:
        return 4.0
    return math.exp(float(brentq(excess, low, high))) if excess(high) < 0 else 1e18


def _check(values: Floats, before: Floats | None, n: int, holdout_share: float, lift: float) -> None:
    for column in (values,) if before is None else (values, before):
        if column.ndim != 1 or column.shape != values.shape:
            raise MeasurementError(f"{values.shape} values but {column.shape} before: there must be one each")
        if not np.isfinite(column).all():
            raise MeasurementError("a customer's value is not a finite number: mend the orders it comes from")
    if n < max(4, len(values)):
        raise MeasurementError(
            f"{n} customers, {len(values)} of them with a value: 4 at least, and all counted"
        )
    if not 0 < holdout_share < 1:
        raise MeasurementError(f"holdout_share is {holdout_share}: give a share between 0 and 1, as 0.1")
    if not lift > 0:
        raise MeasurementError(f"a lift of {lift}: give one above 0, as 0.05 for 5 %")
