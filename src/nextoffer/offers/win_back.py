"""Win-back: repeat customers who stay away for longer than is usual for them and will hardly come by themselves.

Someone who bought once was never won; someone silent for a year is lost, and hardly comes for a discount. What a
return is worth is for the value of the offer to say: the product they would most likely buy is proposed.
"""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, KindSettings, proposals

MIN_ORDERS = 2
MIN_SILENT_DAYS = 45
MIN_GAPS = 2.0  # usual gaps of silence; else whoever buys once a season would look lapsed between two seasons
MAX_SILENT_DAYS = 365
MIN_P_LAPSED = 0.5  # more likely than not, no order for half a year


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """The products a lapsing customer would most likely buy, to be offered at a discount."""
    scored = batch.scored
    chosen = lapsing(batch, bundle)[scored.position]
    return proposals(batch, bundle, "win_back", "we-miss-you", chosen)


def lapsing(batch: Batch, bundle: Bundle) -> Bools:
    """(n,) repeat customers silent for two of their own usual gaps, but not for a year, and likely to stay away."""
    customers, rows = bundle.knowledge.customers, batch.rows
    silent = customers.recency_days[rows]
    span = customers.first_age_days[rows] - silent
    gap = span / np.maximum(customers.frequency[rows] - 1, 1)
    overdue = (silent >= np.maximum(MIN_GAPS * gap, MIN_SILENT_DAYS)) & (silent <= MAX_SILENT_DAYS)
    likely = customers.p_lapsed[rows] >= MIN_P_LAPSED
    return np.asarray((customers.frequency[rows] >= MIN_ORDERS) & overdue & likely)
