"""Treated minus holdout per customer, with an interval that is honest for small holdouts and skewed spend.

An equal-tailed permutation of Welch's t. In A/A tests on real spend it declares a false win 1.9 to 2.6 times in
a hundred where Welch's own test does so up to 17.6 times. `permutation_test` and `ratio_test` give one effect,
`permutation_tests` those of many metrics from the same draws. How it is done: `compare`.
"""

from __future__ import annotations

import hashlib

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.errors import MeasurementError
from nextoffer.measurement.compare import compare, compare_ratio
from nextoffer.measurement.effect import ALPHA, MIN_BUYERS, SMALL_HOLDOUT, TARGET_LIFT, Arm, Effect
from nextoffer.measurement.groups import Groups

__all__ = [
    "ALPHA",
    "MIN_BUYERS",
    "SMALL_HOLDOUT",
    "TARGET_LIFT",
    "Arm",
    "Effect",
    "permutation_test",
    "permutation_tests",
    "ratio_test",
    "seed_of",
]


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
    alpha: float = ALPHA,
    min_buyers: int = MIN_BUYERS,
    before: Floats | None = None,
    strata: Ints | None = None,
    stratum_sizes: Ints | None = None,
) -> Effect:
    """The effect of offers on one value per customer.

    Parameters
    ----------
    values : (K,) the values of the customers who have one other than 0, in any order
    treated : (K,) False for the holdout
    n_treated, n_holdout : everybody assigned, with or without a value
    seed : see `seed_of`; the same input and seed give the same figures
    alpha : one-sided error of the verdict; one that so few permutations cannot show gives "not shown"
    before : (K,) what they spent before the experiment, for CUPED; then K are all who have either
    strata, stratum_sizes : (K,) rows of (S, 2) numbers of treated and held out, where groups of exactly these
        sizes were drawn inside strata; without them groups were drawn from all together

    Raises
    ------
    MeasurementError : a group is too small, or there are too few permutations for 2.5 %.

    References
    ----------
    Janssen (1997), Studentized permutation tests for non-i.i.d. hypotheses, Statistics & Probability
    Letters 36; Chung & Romano (2013), Exact and asymptotically robust permutation tests, Annals of
    Statistics 41.
    """
    groups = Groups.of(treated, n_treated, n_holdout, strata, stratum_sizes)
    (compared,) = compare(
        _column(values),
        groups,
        None if before is None else _column(before),
        seed=seed,
        n_permutations=n_permutations,
        min_buyers=min_buyers,
    )
    return compared.effect(alpha)


def permutation_tests(
    values: Floats,
    treated: Bools,
    n_treated: int,
    n_holdout: int,
    *,
    seed: int,
    n_permutations: int = 9_999,
    alpha: float = ALPHA,
    min_buyers: int = MIN_BUYERS,
    before: Floats | None = None,
    strata: Ints | None = None,
    stratum_sizes: Ints | None = None,
) -> tuple[Effect, ...]:
    """The effects on M values per customer, judged by the very same random assignments.

    As `permutation_test`, with `values` and `before` (K, M): the customers who have any of them. A column of
    `before` that never varies leaves its metric as it is; each metric has its own buyers.
    """
    groups = Groups.of(treated, n_treated, n_holdout, strata, stratum_sizes)
    options = {"seed": seed, "n_permutations": n_permutations, "min_buyers": min_buyers}
    return tuple(compared.effect(alpha) for compared in compare(values, groups, before, **options))


def ratio_test(
    top: Floats,
    bottom: Floats,
    treated: Bools,
    n_treated: int,
    n_holdout: int,
    *,
    seed: int,
    n_permutations: int = 9_999,
    alpha: float = ALPHA,
    min_buyers: int = MIN_BUYERS,
    strata: Ints | None = None,
    stratum_sizes: Ints | None = None,
) -> Effect:
    """The effect on a ratio of sums, such as the average order value: revenue over orders.

    As `permutation_test`, with (K,) `top` and (K,) `bottom` ≥ 0 of the customers who have either; buyers are those
    with a `bottom`. Its t is linearised anew in each permutation; an assignment that leaves a group without any
    `bottom` counts against every verdict.
    """
    groups = Groups.of(treated, n_treated, n_holdout, strata, stratum_sizes)
    options = {"seed": seed, "n_permutations": n_permutations, "min_buyers": min_buyers}
    return compare_ratio(top, bottom, groups, **options).effect(alpha)


def _column(values: Floats) -> Floats:
    column = np.asarray(values, dtype=np.float64)
    if column.ndim != 1:
        raise MeasurementError(f"{column.shape} values: a column of one value per customer is wanted")
    return column[:, None]
