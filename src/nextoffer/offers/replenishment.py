"""Replenishment: products the customer buys again and again whose next purchase is due."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, proposals

EARLIEST_SHARE = 0.6  # of the usual gap that must have passed by the middle of the horizon
LATEST_SHARE = 3.0  # a product not bought for three usual gaps is no habit any more


def candidates(batch: Batch, bundle: Bundle) -> Candidates:
    """Pairs bought on two or more days, or of known shelf life, whose usual gap ends about now."""
    scored, pairs = batch.scored, bundle.knowledge.pairs
    habit = np.flatnonzero(scored.repeat)
    pair = scored.pair[habit]
    gap = usual_gap_days(bundle, pair)
    since = pairs.last_age_days[pair]
    middle = since + bundle.ranker.horizon_days / 2
    runs_out = ~np.isnan(supply_days(bundle, pair))
    due = (middle >= EARLIEST_SHARE * gap) & (since <= LATEST_SHARE * gap)

    def because_of(reason: str, pairs_due: Bools) -> Candidates:
        chosen: Bools = np.zeros(len(scored.repeat), dtype=bool)
        chosen[habit[pairs_due]] = True
        return proposals(batch, bundle, "replenishment", reason, chosen, scored.product)

    return Candidates.concat(
        [
            because_of("due-for-refill", due & ~runs_out & (pairs.n_days[pair] >= 2)),
            because_of("runs-out", due & runs_out),
        ]
    )


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
