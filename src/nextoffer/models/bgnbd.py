"""How often customers come back, and when they stop: BG/NBD, MBG/NBD, and NBD for when nobody stops.

While a customer is alive, purchases come at a constant personal rate λ ~ Gamma(r, α); after each repeat
purchase the customer drops out with a personal probability p ~ Beta(a, b). Under MBG/NBD the first purchase
may be the last one too. NBD is the same without dropout.

References
----------
Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD Model,
Marketing Science 24(2). Batislam, Denizel & Filiztekin (2007), Empirical validation and comparison of models
for customer base analysis, IJRM 24(3) (MBG/NBD). Ehrenberg (1959), The Pattern of Consumer Purchases (NBD).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import digamma, gammaln
from threadpoolctl import threadpool_limits

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.errors import TooLittleHistoryError, TrainingError

Vector = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.number[Any]]
# Parameters are sought between e^-9 and e^6 of the mean age: beyond that the likelihood is flat.
LOG_BOUNDS = (-9.0, 6.0)
SAMPLE_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class BGNBD:
    """A fitted law; `alpha` in the unit of time the data had. NBD has a = 0 and b = 1: nobody drops out."""

    r: float
    alpha: float
    a: float
    b: float
    log_likelihood: float
    n: int


def fit_bgnbd(frequency: Ints, recency: Floats | Ints, age: Floats | Ints) -> BGNBD:
    """The BG/NBD law that makes these customers most likely.

    Parameters
    ----------
    frequency : (n,) repeat purchases x (the first does not count), whole numbers >= 0
    recency : (n,) time from first to last purchase t_x; unused where x = 0
    age : (n,) time from first purchase to now T, same unit, t_x <= T

    Raises
    ------
    TrainingError : lengths differ, or a customer has x < 0, t_x < 0 or t_x > T.
    TooLittleHistoryError : no customer, or nobody is older than 0.

    References
    ----------
    Fader, Hardie & Lee (2005), equation 6; grouped by identical (x, t_x, T), gradient in closed form.
    """
    return _fit_dropout(_count(np.asarray(frequency), np.asarray(recency), np.asarray(age)))


def fit_mbgnbd(frequency: Ints, recency: Floats | Ints, age: Floats | Ints) -> BGNBD:
    """The MBG/NBD law: who never came back may have dropped out; arguments and errors as `fit_bgnbd`."""
    frequency = np.asarray(frequency)
    recency = np.where(frequency > 0, recency, 0)
    return _fit_dropout(_count(frequency, recency, np.asarray(age), entry=1))


def _fit_dropout(counts: _Counts) -> BGNBD:
    theta = np.append(_maximum(_nbd, counts, _start(counts)), np.log([0.5, 2.0]))
    if len(counts.row_n) > 20 * SAMPLE_ROWS:  # most steps on a sample of the rows, the last few on all
        theta = _maximum(_bgnbd, _sample(counts), theta)
    theta = _maximum(_bgnbd, counts, theta)
    r, alpha, a, b = np.exp(theta)
    return _law(r, alpha, a, b, _bgnbd(theta, counts)[0], counts)


def fit_nbd(frequency: Ints, recency: Floats | Ints, age: Floats | Ints) -> BGNBD:
    """The law without dropout; same arguments and errors as `fit_bgnbd`, comparable log-likelihood."""
    counts = _count(np.asarray(frequency), np.asarray(recency), np.asarray(age))
    theta = _maximum(_nbd, counts, _start(counts))
    r, alpha = np.exp(theta)
    return _law(r, alpha, 0.0, 1.0, _nbd(theta, counts)[0], counts)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What the likelihood needs of the customers; time in units of `scale`, the mean age."""

    n: int
    scale: float
    n_purchases: float  # repeat purchases of all customers
    x: Vector  # distinct x, and how many customers have it
    n_x: Vector
    age: Vector  # distinct T, how many customers, and their repeat purchases
    n_age: Vector
    x_age: Vector
    recency: Vector  # distinct t_x of who may have dropped out
    row_x: Vector  # their distinct (x, t_x, T): x, positions in `recency` and `age`, customers
    row_recency: Ints
    row_age: Ints
    row_n: Vector
    entry: int  # 1: a customer may drop out at the first purchase as at any other


def _count(frequency: Numbers, recency: Numbers, age: Numbers, entry: int = 0) -> _Counts:
    _check(frequency, recency, age)
    scale = float(age.mean())
    x, x_code = _codes(frequency)
    ages, age_code = _codes(age)
    stoppable = frequency + entry > 0
    recencies, recency_code = _codes(recency[stoppable])
    key = (x_code[stoppable] * len(ages) + age_code[stoppable]) * max(len(recencies), 1) + recency_code
    key, row_n = np.unique(key, return_counts=True)
    x_and_age, row_recency = np.divmod(key, max(len(recencies), 1))
    row_x, row_age = np.divmod(x_and_age, len(ages))
    return _Counts(
        n=len(frequency),
        scale=scale,
        n_purchases=float(frequency.sum()),
        x=x.astype(np.float64),
        n_x=np.bincount(x_code).astype(np.float64),
        age=ages.astype(np.float64) / scale,
        n_age=np.bincount(age_code).astype(np.float64),
        x_age=np.bincount(age_code, weights=frequency).astype(np.float64),
        recency=recencies.astype(np.float64) / scale,
        row_x=x[row_x].astype(np.float64),
        row_recency=row_recency,
        row_age=row_age,
        row_n=row_n.astype(np.float64),
        entry=entry,
    )


def _check(frequency: Numbers, recency: Numbers, age: Numbers) -> None:
    if not len(frequency) == len(recency) == len(age):
        raise TrainingError(
            "frequency, recency and age must be equally long, "
            f"got {len(frequency)}, {len(recency)}, {len(age)}"
        )
    if len(age) == 0 or not age.max() > 0:
        raise TooLittleHistoryError(
            f"{len(age)} customers, none of whom bought before the last day: "
            "purchase rates need a longer history"
        )
    bad = ~((frequency >= 0) & (recency >= 0) & (recency <= age) & np.isfinite(age))
    if bad.any():
        i = int(np.flatnonzero(bad)[0])
        raise TrainingError(
            f"customer {i} has frequency {frequency[i]}, recency {recency[i]}, age {age[i]}; "
            "needed: frequency >= 0 and 0 <= recency <= age"
        )


def _codes(values: Numbers) -> tuple[Numbers, npt.NDArray[np.int64]]:
    """Distinct values in ascending order and each value's position among them."""
    if values.dtype.kind in "iu" and len(values) and int(values.max()) < 4 * len(values) + 1000:
        present = np.bincount(values) > 0  # counting beats sorting for days and counts
        return np.flatnonzero(present), (np.cumsum(present) - 1)[values]
    distinct, code = np.unique(values, return_inverse=True)
    return distinct, code.astype(np.int64)


def _start(counts: _Counts) -> Vector:
    """r = 1 and the pooled purchase rate: near enough for any data."""
    rate = (counts.n_purchases + 1.0) / (counts.n + 1.0)  # per mean age
    return np.array([0.0, np.clip(-np.log(rate), *LOG_BOUNDS)])


def _sample(counts: _Counts) -> _Counts:
    """Every k-th row in the order of (x, T, t_x), standing for k: the same sample for any input order."""
    step = len(counts.row_n) // SAMPLE_ROWS
    kept = counts.row_n[::step]
    return replace(
        counts,
        row_x=counts.row_x[::step],
        row_recency=counts.row_recency[::step],
        row_age=counts.row_age[::step],
        row_n=kept * (counts.row_n.sum() / kept.sum()),
    )


def _maximum(
    objective: Callable[[Vector, _Counts], tuple[float, Vector]], counts: _Counts, start: Vector
) -> Vector:
    """Where a log-likelihood of log parameters is highest, within LOG_BOUNDS."""
    size = max(abs(objective(start, counts)[0]), 1.0)

    def falling(theta: Vector) -> tuple[float, Vector]:
        value, slope = objective(theta, counts)
        return -value / size, -slope / size

    with threadpool_limits(1, "blas"):  # threads cost more than they bring here, and change the last digits
        found = minimize(
            falling,
            start,
            jac=True,
            method="L-BFGS-B",
            bounds=[LOG_BOUNDS] * len(start),
            options={"ftol": 1e-11, "gtol": 1e-8, "maxiter": 500},
        )
    return np.asarray(found.x, dtype=np.float64)


def _nbd(theta: Vector, counts: _Counts) -> tuple[float, Vector]:
    """Log-likelihood without dropout at log (r, α), and its gradient."""
    r, alpha = np.exp(theta)
    log_age = np.log(alpha + counts.age)
    exponent = r * counts.n_age + counts.x_age
    value = (
        counts.n_x @ (gammaln(r + counts.x) - gammaln(r)) + counts.n * r * np.log(alpha) - exponent @ log_age
    )
    slope_r = (
        counts.n_x @ (digamma(r + counts.x) - digamma(r)) + counts.n * np.log(alpha) - counts.n_age @ log_age
    )
    slope_alpha = counts.n * r / alpha - exponent @ (1.0 / (alpha + counts.age))
    return float(value), np.array([slope_r * r, slope_alpha * alpha])


def _bgnbd(theta: Vector, counts: _Counts) -> tuple[float, Vector]:
    """Log-likelihood at log (r, α, a, b), and its gradient.

    L = NBD part × B(a, b+k)/B(a, b) × [1 + a/(b+k-1) ((α+T)/(α+t_x))^(r+x)], the bracket only where k > 0;
    k counts the purchases after which one could drop out: x, and the first too under MBG/NBD.
    """
    r, alpha, a, b = np.exp(theta)
    value, slope = _nbd(theta[:2], counts)
    k, n_x = counts.x + counts.entry, counts.n_x
    value += float(n_x @ (gammaln(a + b) - gammaln(a + b + k) + gammaln(b + k) - gammaln(b)))
    slope_a = n_x @ (digamma(a + b) - digamma(a + b + k))
    slope_b = slope_a + n_x @ (digamma(b + k) - digamma(b))

    log_ratio = (
        np.log(alpha + counts.age)[counts.row_age] - np.log(alpha + counts.recency)[counts.row_recency]
    )
    before = b + counts.row_x + counts.entry - 1.0
    exponent = r + counts.row_x
    odds = np.log(a) - np.log(before) + exponent * log_ratio  # log odds of having dropped out
    tail = np.exp(-np.abs(odds))
    value += float(counts.row_n @ (np.maximum(odds, 0.0) + np.log1p(tail)))
    gone = counts.row_n * np.where(odds > 0, 1.0, tail) / (1.0 + tail)
    shift = (1.0 / (alpha + counts.age))[counts.row_age] - (1.0 / (alpha + counts.recency))[
        counts.row_recency
    ]
    extra = np.array(
        [
            r * (gone @ log_ratio),
            alpha * (gone @ (exponent * shift)),
            a * slope_a + gone.sum(),
            b * (slope_b - gone @ (1.0 / before)),
        ]
    )
    extra[:2] += slope
    return value, extra


def _law(r: float, alpha: float, a: float, b: float, value: float, counts: _Counts) -> BGNBD:
    """Back to the caller's unit of time: each repeat purchase is a density per unit."""
    value -= counts.n_purchases * float(np.log(counts.scale))
    return BGNBD(float(r), float(alpha) * counts.scale, float(a), float(b), value, counts.n)
