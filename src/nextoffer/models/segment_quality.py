"""Do the segments tell more than plain quintiles? Measured every night on what customers spent since.

References
----------
Cohen (1973), Eta-squared and partial eta-squared in fixed factor ANOVA designs.
"""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.models.activity import OrderLog, customers_of, rewound, spent_after, summarise
from nextoffer.models.segments import (
    HIGH_IS_GOOD,
    Codes,
    Segments,
    Vector,
    percentiles,
    predict_segments,
    published_codes,
)


def quintiles(recency_days: Ints | Floats, frequency: Ints | Floats, monetary: Floats) -> Codes:
    """(n, 3) plain R, F, M scores 1..5 (5 = most recent, often, spent); equal values score alike."""
    columns: Vector = np.column_stack([recency_days, frequency, monetary]).astype(np.float64) * HIGH_IS_GOOD
    scores: Codes = np.minimum(1 + np.floor(5 * percentiles(columns)), 5).astype(np.int8)
    return scores


def quintile_grid(scores: Codes) -> Codes:
    """(n,) 0..9: the usual named grid of recency and frequency quintiles, the plain way to ten segments.

    Parameters
    ----------
    scores : (n, 3) from `quintiles`
    """
    r, f = scores[:, 0], scores[:, 1]
    low, middling = r <= 2, r == 3
    cells = [low & (f <= 2), low & (f <= 4), low, middling & (f <= 2), middling & (f == 3)]
    cells += [(r <= 4) & (f >= 4), (r == 4) & (f == 1), (r == 5) & (f == 1), (r >= 4) & (f <= 3)]
    return np.select(cells, range(9), 9).astype(np.int8)


def explained(values: Floats, groups: Ints) -> float:
    """η²: share of the variance of (n,) `values` that lies between groups; 0 where nothing varies."""
    values = np.asarray(values, dtype=np.float64)
    total = float(((values - values.mean()) ** 2).sum()) if len(values) else 0.0
    if total <= 0.0:
        return 0.0
    _, group = np.unique(groups, return_inverse=True)
    n, sums = np.bincount(group), np.bincount(group, weights=values - values.mean())
    return float((sums**2 / n).sum()) / total


def compare_with_quintiles(segments: Segments, log: OrderLog, days: int) -> dict[str, float]:
    """η² of the log spend of the last `days`, by what was known before them; {} where nothing was.

    `clusters` and `published` (the names) are ours, `quintiles` the plain grid.
    """
    past = rewound(log, days)
    if not len(past):
        return {}
    about = summarise(past)
    columns = about.recency_days, about.n_orders, about.value
    spend: Vector = np.log1p(np.maximum(spent_after(log, customers_of(past), days, days), 0.0))
    clusters = predict_segments(segments, *columns)
    names = published_codes(segments, clusters, about.recency_days, about.n_orders)
    return {
        "clusters": round(explained(spend, clusters), 4),
        "published": round(explained(spend, names), 4),
        "quintiles": round(explained(spend, quintile_grid(quintiles(*columns))), 4),
    }
