"""Probabilities made honest: two numbers learned from what happened, no change where little did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import TrainingError

Vector = npt.NDArray[np.float64]
EDGE = 1e-6  # probabilities are kept this far from 0 and 1
PRIOR_PRECISION = 10.0  # pull to "already honest", as strong as some 10 / (p (1 - p)) labels


@dataclass(frozen=True, slots=True)
class Calibration:
    """logit(calibrated) = intercept + slope × logit(p); (0, 1) changes nothing."""

    intercept: float
    slope: float


def calibrate(p: Floats, bought: Bools) -> Calibration:
    """The correction under which the purchases that happened are most likely.

    Parameters
    ----------
    p : (n,) predicted probabilities
    bought : (n,) what happened

    Few labels, or all of one sort, leave p nearly as it was: both numbers have a Gaussian prior around
    (0, 1). The slope is never negative, so the order of customers is kept.

    Raises
    ------
    TrainingError : lengths differ.

    References
    ----------
    Platt (1999), Probabilistic outputs for support vector machines; here on log odds, with a prior.
    """
    if len(p) != len(bought):
        raise TrainingError(f"{len(p)} probabilities but {len(bought)} labels: they must belong together")
    x = logit(np.clip(np.asarray(p, dtype=np.float64), EDGE, 1.0 - EDGE))
    y = np.asarray(bought, dtype=np.float64)
    theta = np.array([0.0, 1.0])
    value, slope, curve = _posterior(theta, x, y)
    for _ in range(50):
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while size > 1e-9:  # halve until it helps
            ahead = _posterior(theta + size * step, x, y)
            if ahead[0] >= value:
                break
            size /= 2.0
        theta = theta + size * step
        value, slope, curve = _posterior(theta, x, y)
        if np.abs(size * step).max() < 1e-10:
            break
    return Calibration(float(theta[0]), max(float(theta[1]), 0.0))


def apply(calibration: Calibration, p: Floats) -> npt.NDArray[np.float32]:
    """Corrected probabilities, (n,) float32 in [0, 1]; 0 and 1 stay what they are."""
    p = np.asarray(p, dtype=np.float64)
    inside = np.clip(p, EDGE, 1.0 - EDGE)
    fixed = expit(calibration.intercept + calibration.slope * logit(inside))
    corrected: npt.NDArray[np.float32] = np.where((p <= 0.0) | (p >= 1.0), p, fixed).astype(np.float32)
    return corrected


def halved(calibration: Calibration) -> Calibration:
    """Half of a correction, on the scale of log odds."""
    return Calibration(calibration.intercept / 2.0, (1.0 + calibration.slope) / 2.0)


def _posterior(theta: Vector, x: Vector, y: Vector) -> tuple[float, Vector, Vector]:
    """Log posterior, its gradient, and minus its second derivative."""
    odds = theta[0] + theta[1] * x
    fitted = expit(odds)
    off = theta - [0.0, 1.0]
    value = float((y * odds - np.logaddexp(0.0, odds)).sum()) - PRIOR_PRECISION / 2.0 * float(off @ off)
    missed, weight = y - fitted, fitted * (1.0 - fitted)
    slope = np.array([missed.sum(), missed @ x]) - PRIOR_PRECISION * off
    cross = weight @ x
    curve = np.array([[weight.sum(), cross], [cross, weight @ (x * x)]]) + PRIOR_PRECISION * np.eye(2)
    return value, slope, curve
