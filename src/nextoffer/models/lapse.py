"""Who will order again: P(any order within so many days), by a purchase law or by boosted trees, calibrated.

Each horizon is taught by the moments of the past year whose answer is known by now. The newest of them
decides: trees taught by older moments replace the law of lifetime.py only where their Brier score there is
better; the correction learned there is the one applied tonight.

References
----------
Fader, Hardie & Lee (2005), Marketing Science 24(2); Friedman (2001), Annals of Statistics 29(5); Platt (1999);
Brier (1950), Monthly Weather Review 78(1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.models.activity import (
    NAMES,
    OrderLog,
    customers_of,
    features,
    ordered_after,
    rewound,
    sampled,
    summarise,
    thinned,
)
from nextoffer.models.calibration import EDGE, Calibration, apply, calibrate, halved
from nextoffer.models.lifetime import Lifetime, buys_within, expected_revenue, fit_lifetime
from nextoffer.models.trees import Trees, fit_trees, probability

Vector = npt.NDArray[np.float64]
MAX_CUSTOMERS = 60_000  # a larger shop is sampled evenly: by then more customers teach nothing
MAX_ROWS = 120_000  # rows the trees see, over all moments
STEP_DAYS, N_CUTS = 28, 13  # a year of moments, so that every season has been seen
MIN_HISTORY_DAYS = 14  # a moment needs so long a past to teach
SMALL_TREES: dict[str, Any] = {
    "n_trees": 60,
    "n_leaves": 8,
    "min_rows": 40,
    "learning_rate": 0.08,
    "l2": 5.0,
    "max_bins": 64,
}
MIN_LABELS = 50  # customers who did order, and who did not, without whom there are no trees
NO_CHANGE = Calibration(0.0, 1.0)
LIMITS = (0.1, 10.0)  # how far a calibrated rate may move an expected value


@dataclass(frozen=True, slots=True)
class Chance:
    """How P(an order within `days`) is worked out.

    trees : None where the law serves
    calibrated_days : horizon of the labels behind `calibration`; shorter than `days` where none is known for
        it yet (extrapolated: the same correction of log odds), 0 where none is known at all
    brier_law, brier_trees : on the newest moment with a known answer, learned before it; NaN if not judged
    """

    days: int
    trees: Trees | None
    calibration: Calibration
    calibrated_days: int
    brier_law: float = np.nan
    brier_trees: float = np.nan

    def to_json(self) -> dict[str, Any]:
        """What serves and why, for the quality report."""
        judged = {"law": self.brier_law, "trees": self.brier_trees}
        return {
            "days": self.days,
            "method": "law" if self.trees is None else "trees",
            "calibrated_days": self.calibrated_days,
            "brier": {name: round(value, 5) for name, value in judged.items() if np.isfinite(value)},
        }


@dataclass(frozen=True, slots=True)
class Lapse:
    """One chance per horizon, ascending in days."""

    chances: tuple[Chance, ...]

    @property
    def days(self) -> tuple[int, ...]:
        """The horizons, ascending."""
        return tuple(chance.days for chance in self.chances)


def fit_lapse(log: OrderLog, days: tuple[int, ...], seed: int) -> Lapse:
    """Learn the chance of an order within each of `days`, from the orders before now. Never fails.

    About as much work for any shop: at most MAX_CUSTOMERS customers and MAX_ROWS rows a horizon are looked at.
    """
    sample = sampled(log, MAX_CUSTOMERS)
    chances: list[Chance] = []
    for horizon in sorted(set(days)):
        shorter = chances[-1] if chances else Chance(horizon, None, NO_CHANGE, 0)
        chances.append(_fit_chance(sample, horizon, seed, shorter))
    return Lapse(tuple(chances))


def p_order(lapse: Lapse, log: OrderLog, lifetime: Lifetime) -> npt.NDArray[np.float32]:
    """(n_customers, n_days) calibrated P(any order within each of `lapse.days`), rows as `customers_of`.

    A row depends on its own orders only; never 0, 1 or NaN; a longer horizon is never less likely.
    """
    p = np.stack([_chance(chance, log, lifetime) for chance in lapse.chances], axis=1)
    return np.maximum.accumulate(np.clip(p, EDGE, 1.0 - EDGE), axis=1).astype(np.float32)


def expected_value(lapse: Lapse, p: Floats, log: OrderLog, lifetime: Lifetime, days: int) -> Vector:
    """(n_customers,) revenue expected within `days`, currency; times `margin_shares` it is the profit.

    Within the horizons of `lapse` the law's orders are moved to the calibrated chance at the nearest horizon
    that covers `days`. A longer one is the law's alone: a half-year's season says little of a year
    (moved so, a year's value was ranked worse on a log of eleven years).

    Parameters
    ----------
    p : (n_customers, n_days) from `p_order`
    """
    about = summarise(log)
    ages = (about.n_order_days, about.recency_days, about.first_age_days)
    value = expected_revenue(lifetime, *ages, about.value, about.n_orders, days)
    column = int(np.searchsorted(lapse.days, days))
    if column == len(lapse.days):
        return value
    return value * rate_ratio(p[:, column], buys_within(lifetime, *ages, lapse.days[column]))


def rate_ratio(p: Floats, p_law: Floats) -> Vector:
    """(n,) calibrated purchase rate ÷ the law's, each the rate that gives its chance of no order.

    Multiplies what the law expects (orders, revenue, profit), so that money follows the calibrated chance.
    """
    p, p_law = (np.clip(np.asarray(each, dtype=np.float64), EDGE, 1.0 - EDGE) for each in (p, p_law))
    ratio: Vector = np.clip(np.log1p(-p) / np.log1p(-p_law), *LIMITS)
    return ratio


def _fit_chance(log: OrderLog, days: int, seed: int, shorter: Chance) -> Chance:
    cuts = _labelled_cuts(log, days)
    if not cuts:
        return Chance(days, None, shorter.calibration, shorter.calibrated_days)
    newest, before = cuts[0], [cut for cut in cuts if cut >= cuts[0] + days]
    y, p_law = _law_at(log, newest, days)
    law = Chance(days, None, calibrate(p_law, y), days)
    judged = _fit_trees(log, before, days, seed)
    if judged is None:
        return law
    p_trees = _clipped(probability(judged, features(rewound(log, newest), days)))
    y_before, p_before = _law_at(log, before[0], days)
    miss_law = (apply(calibrate(p_before, y_before), p_law) - y) ** 2
    miss_trees = (p_trees - y) ** 2
    brier = float(miss_law.mean()), float(miss_trees.mean())
    if brier[0] <= brier[1]:
        return Chance(days, None, law.calibration, days, *brier)
    # What is off at one moment is partly that season's: half of it is carried on.
    return Chance(days, _fit_trees(log, cuts, days, seed), halved(calibrate(p_trees, y)), days, *brier)


def _labelled_cuts(log: OrderLog, days: int) -> list[int]:
    """Moments with a past and a known answer, newest first, as days before now."""
    cuts = [days + STEP_DAYS * back for back in range(N_CUTS)]
    return [cut for cut in cuts if cut + MIN_HISTORY_DAYS <= log.since_days]


def _law_at(log: OrderLog, cut_days: int, days: int) -> tuple[Bools, Floats]:
    """What happened after a moment, and what the law fitted before it says."""
    past = rewound(log, cut_days)
    about = summarise(past)
    ages = (about.n_order_days, about.recency_days, about.first_age_days)
    lifetime = fit_lifetime(*ages, about.value / np.maximum(about.n_orders, 1))
    happened = ordered_after(log, customers_of(past), cut_days, days)
    return happened, buys_within(lifetime, *ages, days)


def _fit_trees(log: OrderLog, cuts: list[int], days: int, seed: int) -> Trees | None:
    """Trees taught by these moments; None where they say too little."""
    n_customers = len(customers_of(log))
    stride = max(-(-n_customers * len(cuts) // MAX_ROWS), 1)
    x: list[Floats] = []
    y: list[Bools] = []
    for turn, cut in enumerate(cuts):  # each moment shows other customers
        past = rewound(log, cut)
        some = thinned(past, stride, turn)
        x.append(features(some, days, past))
        y.append(ordered_after(log, customers_of(some), cut, days))
    if not x:
        return None
    rows, labels = np.concatenate(x), np.concatenate(y)
    if min(labels.sum(), (~labels).sum()) < MIN_LABELS:
        return None
    rows[:, np.isnan(rows).all(axis=0)] = 0.0  # its histograms need a number
    return fit_trees(rows, labels, None, NAMES, seed=seed, **SMALL_TREES)


def _chance(chance: Chance, log: OrderLog, lifetime: Lifetime) -> Floats:
    if chance.trees is not None:
        p = _clipped(probability(chance.trees, features(log, chance.days)))
    else:
        about = summarise(log)
        p = _clipped(
            buys_within(lifetime, about.n_order_days, about.recency_days, about.first_age_days, chance.days)
        )
    return apply(chance.calibration, p)


def _clipped(p: Floats) -> Floats:
    return np.clip(p, EDGE, 1.0 - EDGE)
