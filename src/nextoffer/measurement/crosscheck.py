"""A second opinion from another library: Welch's test, with or without CUPED, as tea-tasting computes it.

Good where half are held out; with small holdouts it flatters the offers (see `experiment`), so it stands
beside the permutation procedure and never decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import MeasurementError
from nextoffer.texts import said

if TYPE_CHECKING:
    from tea_tasting.aggr import Aggregates

NOT_INSTALLED = said('no second opinion: tea-tasting is not installed (pip install "nextoffer[crosscheck]")')


@dataclass(frozen=True, slots=True)
class SecondOpinion:
    """Treated minus holdout per customer, in the unit of the values, with its 95 % interval.

    `relative` and its interval are shares of the holdout's mean, None where that is 0. `adjusted` says that
    spend before the experiment was taken into account (CUPED).
    """

    difference: float
    low: float
    high: float
    p: float
    relative: float | None
    relative_low: float | None
    relative_high: float | None
    adjusted: bool


def second_opinion(
    values: Floats, treated: Bools, n_treated: int, n_holdout: int, *, before: Floats | None = None
) -> SecondOpinion | None:
    """What tea-tasting says of one value per customer; None where it is not installed or nothing varies.

    Parameters
    ----------
    values : (K,) the values of the customers who have one, or one before, other than 0, in any order
    treated : (K,) False for the holdout
    n_treated, n_holdout : everybody assigned; the zeros count through them
    before : (K,) the same customers' values before the experiment; given, the answer is adjusted for it

    Raises
    ------
    MeasurementError : the columns differ in length, or a group is too small.

    References
    ----------
    Deng, Xu, Kohavi & Walker (2013), Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data, WSDM; Deng, Knoblich & Lu (2018), Applying the delta method in metric analytics, KDD.
    """
    columns: dict[str, Floats] = {"value": np.asarray(values, dtype=np.float64)}
    if before is not None:
        columns["before"] = np.asarray(before, dtype=np.float64)
    treated = np.asarray(treated, dtype=np.bool_)
    _check(columns, treated, n_treated, n_holdout)
    try:
        from tea_tasting import Mean
    except ImportError:
        return None
    groups = [
        _aggregates({name: column[group] for name, column in columns.items()}, size)
        for group, size in ((~treated, n_holdout), (treated, n_treated))
    ]
    if not any(group.var("value") for group in groups):
        return None
    adjusted = before is not None and any(group.var("before") for group in groups)
    asked = Mean(
        "value",
        "before" if adjusted else None,
        alternative="two-sided",
        confidence_level=0.95,
        equal_var=False,
        use_t=True,
    )
    with np.errstate(all="ignore"):
        found = asked.analyze_aggregates(*groups)
    return SecondOpinion(
        float(found.effect_size),
        float(found.effect_size_ci_lower),
        float(found.effect_size_ci_upper),
        float(found.pvalue),
        _finite(found.rel_effect_size),
        _finite(found.rel_effect_size_ci_lower),
        _finite(found.rel_effect_size_ci_upper),
        adjusted,
    )


def _finite(share: float) -> float | None:
    return float(share) if math.isfinite(share) else None


def _aggregates(columns: dict[str, Floats], n: int) -> Aggregates:
    """Counts, means, variances and the covariance of one group of n, the zeros not in the columns included."""
    from tea_tasting.aggr import Aggregates

    means = {name: float(column.sum()) / n for name, column in columns.items()}
    away = {name: column - means[name] for name, column in columns.items()}

    def covariance(one: str, other: str) -> float:
        absent = (n - len(columns[one])) * means[one] * means[other]
        return (float(away[one] @ away[other]) + absent) / (n - 1)

    pairs = {("before", "value"): covariance("before", "value")} if "before" in columns else {}
    return Aggregates(
        count_=n, mean_=dict(means), var_={name: covariance(name, name) for name in columns}, cov_=pairs
    )


def _check(columns: dict[str, Floats], treated: Bools, n_treated: int, n_holdout: int) -> None:
    for column in columns.values():
        if column.shape != treated.shape or column.ndim != 1:
            raise MeasurementError(
                f"{column.shape} values but {treated.shape} groups: there must be one each"
            )
    n_valued = int(np.count_nonzero(treated))
    if min(n_treated, n_holdout) < 2 or n_treated < n_valued or n_holdout < len(treated) - n_valued:
        raise MeasurementError(
            f"{n_treated} treated and {n_holdout} held out do not hold {n_valued} and "
            f"{len(treated) - n_valued} customers with a value: each group needs 2 customers, those included"
        )
