"""Additive curves: log-odds as an intercept plus one piecewise-linear curve per feature, fitted and evaluated.

References
----------
Hastie & Tibshirani (1990), Generalized Additive Models; King & Zeng (2001) for weighting sampled negatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats

# Knots lie at these quantiles of a feature: dense in the upper tail, where the few products live that a
# customer is most likely to buy, and out to the extremes, so that the most frequent of them stay apart.
QUANTILES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.998, 1.0)
# Features added for their drift, not their peaks, stay flat in the tails: out there they misled.
FLAT_TAILS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.98)
N_KNOTS = len(QUANTILES)
MAX_ROWS = 120_000
BLOCK = 4_096  # rows of a sum
PILOT = 8
ENOUGH_ROWS = 5_000  # for a pilot
MAX_STEPS = 30
TOLERANCE = 1e-4  # of the loss: what the step after would gain is far less


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """One view of the ranker: log-odds = intercept + Σ interpolated curve of each feature.

    Parameters
    ----------
    features : names, in column order
    knots, values : (n_features, N_KNOTS) float64; flat beyond the outer knots
    intercept : log-odds where every curve is 0
    """

    features: tuple[str, ...]
    knots: Floats
    values: Floats
    intercept: float


def evaluate(curves: Curves, x: Floats) -> Floats:
    """(n,) float32 probabilities of (n, n_features) rows, column by column: the same for any batch."""
    return (1.0 / (1.0 + np.exp(-log_odds(curves, x)))).astype(np.float32)


def log_odds(curves: Curves, x: Floats) -> Floats:
    """(n,) float64 log-odds of (n, n_features) rows."""
    total = np.full(len(x), curves.intercept)
    for j in range(x.shape[1]):
        total += np.interp(x[:, j], curves.knots[j], curves.values[j])
    return total


def fit_rows(
    x: Floats, y: Bools, weight: Floats, names: tuple[str, ...], ridge: float, flat: Sequence[str] = ()
) -> Curves:
    """Penalised logistic regression on hinge functions, from weighted rows that hold both labels.

    Parameters
    ----------
    x, y, weight : (n, n_features) rows, (n,) labels, (n,) weights
    ridge : penalty on the squared slopes
    flat : features whose curves are flat in both tails
    """
    quantiles = [FLAT_TAILS if name in flat else QUANTILES for name in names]
    knots = _distinct(np.stack([np.quantile(column, q) for column, q in zip(x.T, quantiles, strict=True)]))
    design = np.empty((len(x), x.shape[1], N_KNOTS - 1), dtype=np.float32)
    for j in range(x.shape[1]):
        design[:, j] = _hinges(x[:, j], knots[j])
    slopes, intercept = logistic(design.reshape(len(x), -1), y, weight, ridge)
    steps = slopes.reshape(x.shape[1], N_KNOTS - 1)
    values = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    return Curves(names, knots, values, intercept)


def logistic(design: Floats, y: Bools, weight: Floats, ridge: float) -> tuple[Floats, float]:
    """(p,) slopes and intercept of a logistic regression with ridge / 2 × squared slopes as penalty.

    Newton's steps start from what every PILOT-th row says, so that only a few of them look at all rows.
    """
    from threadpoolctl import threadpool_limits

    share = min(max(float(weight @ y) / float(weight.sum()), 1e-6), 1 - 1e-6)
    found = np.append(np.zeros(design.shape[1]), np.log(share / (1.0 - share)))
    with threadpool_limits(1, "blas"):  # sums in one order, whatever the number of cores
        if len(y) >= PILOT * ENOUGH_ROWS:
            few = slice(None, None, PILOT)
            found = _newton(design[few], y[few], weight[few], ridge / PILOT, found)
        found = _newton(design, y, weight, ridge, found)
    return found[:-1], float(found[-1])


def _newton(design: Floats, y: Bools, weight: Floats, ridge: float, found: Floats) -> Floats:
    """Slopes, then the intercept, from a start; a step that makes the loss larger is halved."""
    from scipy.linalg import solve

    penalty = np.append(np.full(len(found) - 1, max(ridge, 1e-9)), 1e-9)
    loss, gradient, curvature = _sums(design, y, weight, found, penalty)
    for _ in range(MAX_STEPS):
        step = solve(curvature, gradient, assume_a="pos")
        gain = float(gradient @ step) / 2  # of the loss, were it the parabola it looks like from here
        tried = _sums(design, y, weight, found - step, penalty)
        while tried[0] > loss + 1e-6 * abs(loss) and np.abs(step).max() > 1e-6:
            step /= 2
            tried = _sums(design, y, weight, found - step, penalty)
        found, (loss, gradient, curvature) = found - step, tried
        if gain <= TOLERANCE * loss:
            break
    return found


def _sums(
    design: Floats, y: Bools, weight: Floats, found: Floats, penalty: Floats
) -> tuple[float, Floats, Floats]:
    """Penalised loss, its gradient and its curvature: in the design's precision within a block, double across."""
    loss, gradient, curvature = float(penalty @ found**2) / 2, penalty * found, np.diag(penalty)
    for begin in range(0, len(y), BLOCK):
        rows = design[begin : begin + BLOCK]
        rows = np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], axis=1)
        of, bought = weight[begin : begin + BLOCK], y[begin : begin + BLOCK]
        odds = (rows @ found.astype(rows.dtype)).astype(np.float64)
        p = 1.0 / (1.0 + np.exp(-odds))
        loss += float(of @ (np.logaddexp(0.0, odds) - bought * odds))
        gradient += (of * (p - bought)).astype(rows.dtype) @ rows
        rows *= np.sqrt(of * p * (1.0 - p)).astype(rows.dtype)[:, None]
        curvature += rows.T @ rows
    return loss, gradient, curvature


def _distinct(knots: Floats) -> Floats:
    """Knots a little apart, where many rows share one value (interpolation needs rising knots)."""
    span = np.maximum(knots[:, -1:] - knots[:, :1], 1e-6)
    return np.maximum.accumulate(knots, axis=1) + span * 1e-6 * np.arange(N_KNOTS)


def _hinges(x: Floats, knots: Floats) -> Floats:
    """(n, N_KNOTS − 1): how far x has come through each interval between knots, 0 … 1."""
    widths = np.diff(knots)
    return np.clip((x[:, None] - knots[:-1]) / widths, 0.0, 1.0)


def sampled(x: Floats, y: Bools, rng: np.random.Generator) -> tuple[Floats, Bools, Floats]:
    """All positives and, beyond MAX_ROWS, a share of the negatives with the inverse as their weight."""
    negatives = np.flatnonzero(~y)
    room = max(MAX_ROWS - int(y.sum()), MAX_ROWS // 3)
    if len(negatives) <= room:
        return x, y, np.ones(len(y))
    chosen = np.sort(rng.choice(negatives, room, replace=False))
    rows = np.concatenate([np.flatnonzero(y), chosen])
    weight = np.concatenate([np.ones(int(y.sum())), np.full(room, len(negatives) / room)])
    return x[rows], y[rows], weight
