"""Before a campaign starts: what an experiment of this size could find, from what these customers spent before."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.cuped import adjust
from nextoffer.measurement.effect import ALPHA, MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT, about, reach

SURE_BUYERS = 2 * MIN_BUYERS  # expected, so that fewer than the least come 1 time in 200
EVEN = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What an experiment would find, if customers went on as they did in a past period of the same length.

    Figures are those of a test of means whose values are many. A holdout of fewer than 100 buyers finds
    somewhat less than is said here (`small_holdout`).

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
        """`lift` would more likely be missed than the 2 times in 10 one plans for."""
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
    Deng, Xu, Kohavi & Walker (2013), for what a past saves; Kohavi, Tang & Xu (2020), Trustworthy online
    controlled experiments, chapter 17.
    """
    values = np.asarray(values, dtype=np.float64)
    past = None if before is None else np.asarray(before, dtype=np.float64)
    _check(values, past, n, holdout_share, lift)
    adjusted = None if past is None else adjust(values, past, n)
    rest = values if adjusted is None else adjusted.values
    mean, n_buyers = float(values.sum()) / n, int(np.count_nonzero(values > 0))
    variance = max(0.0, float((rest**2).sum()) / n - (float(rest.sum()) / n) ** 2) * n / (n - 1)
    detectable = reach(alpha) * math.sqrt(variance / (n * holdout_share * (1 - holdout_share)))
    n_needed, best_share = None, EVEN
    if mean > 0 and n_buyers > 0 and variance > 0:
        # with s held out, n · s (1 − s) must reach this for the lift, and n · s · rate the sure buyers
        product = variance * (reach(alpha) / (lift * mean)) ** 2
        for_buyers = SURE_BUYERS * n / n_buyers
        few = min(holdout_share, 1 - holdout_share)
        n_needed = about(max(product / (holdout_share * (1 - holdout_share)), for_buyers / few))
        best_share = _best_share(product / n, for_buyers / n)
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


def _best_share(product: float, for_buyers: float) -> float:
    """The smallest whole percentage s with s (1 − s) ≥ product and s ≥ for_buyers; one half if there is none."""
    if max(4 * product, 2 * for_buyers) >= 1:
        return EVEN
    share = max((1 - math.sqrt(1 - 4 * product)) / 2, for_buyers)
    return min(EVEN, math.ceil(100 * share - 1e-9) / 100)


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
