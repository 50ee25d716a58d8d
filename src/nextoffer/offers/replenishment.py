"""Replenishment: products the customer buys again and again whose next purchase is due."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, proposals

EARLIEST_SHARE = 0.6  # of the usual gap that must have passed by the middle of the horizon
LATEST_SHARE = 3.0  # a product not bought for three usual gaps is no habit any more


def candidates(batch: Batch, bundle: Bundle) -> Candidates:
    """Pairs bought on two or more days whose usual gap ends about now."""
    scored, pairs = batch.scored, bundle.knowledge.pairs
    habit = np.flatnonzero(scored.repeat)
    pair = scored.pair[habit]
    gap = usual_gap_days(bundle, pair)
    since = pairs.last_age_days[pair]
    middle = since + bundle.ranker.horizon_days / 2
    due = (pairs.n_days[pair] >= 2) & (middle >= EARLIEST_SHARE * gap) & (since <= LATEST_SHARE * gap)
    chosen = np.zeros(len(scored.repeat), dtype=bool)
    chosen[habit[due]] = True
    return proposals(batch, bundle, "replenishment", "due-for-refill", chosen, scored.product)


def usual_gap_days(bundle: Bundle, pair: Ints) -> Floats:
    """Mean days between a customer's purchases of a product; the shelf life where it is longer known."""
    pairs = bundle.knowledge.pairs
    span = pairs.first_age_days[pair] - pairs.last_age_days[pair]
    gap = span / np.maximum(pairs.n_days[pair] - 1, 1)
    shelf = bundle.catalogue.shelf_life_days[pairs.product[pair]]
    return np.where(np.isnan(shelf), gap, np.maximum(gap, shelf))
