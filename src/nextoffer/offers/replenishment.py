"""Replenishment: products the customer buys again and again whose next purchase is due.

Its p_buy is the calibrated chance of `models.due`, on the ranker's scale: that of this purchase in the horizon.
"""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import Candidates
from nextoffer.models.due import due_window, p_due
from nextoffer.offers.batch import Batch, KindSettings, best_few

WINDOW_SHARE = 0.9  # of the ways the wait can end: a window opens once one in twenty has
LATEST_SHARE = 3.0  # a product not bought for three usual gaps is no habit any more


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Pairs bought on two or more days, or of known shelf life, whose window opens, and whose usual gap is over,
    within half a horizon: the reason must convince whoever reads it."""
    model, knowledge, pairs = bundle.taught.due, bundle.knowledge, bundle.knowledge.pairs
    habit = np.flatnonzero(batch.scored.repeat)
    habit = habit[~given_up(bundle, batch.scored.pair[habit])]
    pair, position = batch.scored.pair[habit], batch.scored.position[habit]
    supply = supply_days(bundle, pair)
    opens, _, _ = due_window(model, knowledge, pair, supply, WINDOW_SHARE)
    soon = model.choice.horizon_days / 2
    due = (opens <= soon) & (pairs.last_age_days[pair] + soon >= usual_gap_days(bundle, pair))
    runs_out = ~np.isnan(supply)

    def because_of(reason: str, chosen: Bools) -> Candidates:
        product = pairs.product[pair[chosen]]
        p_buy = p_due(model, knowledge, pair[chosen])
        return best_few(bundle, "replenishment", reason, position[chosen], product, p_buy, product)

    return Candidates.concat(
        [
            because_of("due-for-refill", due & ~runs_out & (pairs.n_days[pair] >= 2)),
            because_of("runs-out", due & runs_out),
        ]
    )


def given_up(bundle: Bundle, pair: Ints) -> Bools:
    """(n,) pairs that are no habit any more."""
    return bundle.knowledge.pairs.last_age_days[pair] > LATEST_SHARE * usual_gap_days(bundle, pair)


def usual_gap_days(bundle: Bundle, pair: Ints) -> Floats:
    """How long one purchase lasts where the shelf life is known, else mean days between the purchases."""
    pairs = bundle.knowledge.pairs
    span = pairs.first_age_days[pair] - pairs.last_age_days[pair]
    gap = span / np.maximum(pairs.n_days[pair] - 1, 1)
    supply = supply_days(bundle, pair)
    return np.where(np.isnan(supply), gap, supply)


def supply_days(bundle: Bundle, pair: Ints) -> Floats:
    """Shelf life × units usually bought at a time (at least one), NaN where the shelf life is not known."""
    pairs = bundle.knowledge.pairs
    shelf = bundle.catalogue.shelf_life_days[pairs.product[pair]].astype(np.float64)
    units = np.maximum(pairs.quantity[pair] / pairs.n_orders[pair], 1.0)
    return np.where(shelf > 0, shelf * units, np.nan)
