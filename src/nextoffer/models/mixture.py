"""Curves and trees together: the sum of what additive curves and boosted trees say, on the log-odds scale.

Curves carry over to the next month what holds everywhere; trees find what holds together. Their mean was as good as
the better of the two on every set tried, and better than both on most.

References
----------
Bates & Granger (1969), The Combination of Forecasts, OR Quarterly 20(4); Platt (1999) for the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.models import curves as additive
from nextoffer.models import trees as boosted
from nextoffer.models.curves import Curves
from nextoffer.models.trees import Trees

# The say of the curves; chosen on Online Retail, cuts 2011-09-16 and 10-14, and on Ta-Feng one basket back.
CURVES_SHARE = 0.6
MANY = 3_000  # purchases, and ten times the rows: of fewer, trees learn the rows by heart, and the curves speak alone


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Two flat parts whose log-odds add up; each already carries its share of the weight."""

    curves: Curves
    trees: Trees


def fit_mixture(
    x: Floats,
    y: Bools,
    weight: Floats,
    names: tuple[str, ...],
    *,
    seed: int,
    ridge: float,
    tilt: Mapping[str, float],
) -> Mixture:
    """Both learners on (n, n_features) rows with labels and weights, then one calibration of their mean.

    `tilt` adds a slope to a feature: the likelihood is that of all pairs, most of which belong to a few heavy
    customers, while a slate is one customer's. The tilted log-odds are brought back to scale on the same rows.
    """
    curves = additive.fit_rows(x, y, weight, names, ridge)
    share = CURVES_SHARE if y.sum() >= MANY and len(y) >= 10 * MANY else 1.0
    trees = boosted.no_trees(names)
    if share < 1.0:
        trees = boosted.fit_trees(
            x,
            y,
            weight,
            names,
            seed=seed,
            n_trees=60,
            n_leaves=20,
            min_rows=100,
            learning_rate=0.14,
            max_bins=64,
            feature_share=0.5,
        )
    for name, steeper in tilt.items():
        at = names.index(name)
        curves.values[at] += steeper / share * curves.knots[at]
    odds = share * additive.log_odds(curves, x) + (1.0 - share) * boosted.log_odds(trees, x)
    slope, shift = additive.logistic(odds[:, None], y, weight, ridge=0.0)
    of_curves, of_trees = share * float(slope[0]), (1.0 - share) * float(slope[0])
    return Mixture(
        replace(curves, values=curves.values * of_curves, intercept=curves.intercept * of_curves + shift),
        replace(trees, value=trees.value * of_trees, baseline=trees.baseline * of_trees),
    )


def probability(mixture: Mixture, x: Floats) -> Floats:
    """(n,) float32 probabilities of (n, n_features) rows, each row by itself."""
    odds = additive.log_odds(mixture.curves, x) + boosted.log_odds(mixture.trees, x)
    return (1.0 / (1.0 + np.exp(-odds))).astype(np.float32)
