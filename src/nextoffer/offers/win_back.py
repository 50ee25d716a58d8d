"""Win-back: repeat customers who have stayed away for longer than is usual for them."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, proposals

MIN_SILENT_DAYS = 45
MIN_GAPS = 2.0  # usual gaps of silence that make a customer lapsing
MAX_SILENT_DAYS = 365  # beyond a year a customer is lost: hardly anyone comes back for a discount


def candidates(batch: Batch, bundle: Bundle) -> Candidates:
    """The products a lapsing customer would most likely buy, to be offered at a discount."""
    scored = batch.scored
    chosen = lapsing(batch, bundle)[scored.position]
    return proposals(batch, bundle, "win_back", "we-miss-you", chosen)


def lapsing(batch: Batch, bundle: Bundle) -> Bools:
    """(n,) customers with two orders or more, silent for two of their own usual gaps, but not for a year."""
    customers, rows = bundle.knowledge.customers, batch.rows
    silent = customers.recency_days[rows]
    span = customers.first_age_days[rows] - silent
    gap = span / np.maximum(customers.frequency[rows] - 1, 1)
    overdue = silent >= np.maximum(MIN_GAPS * gap, MIN_SILENT_DAYS)
    return (customers.frequency[rows] >= 2) & overdue & (silent <= MAX_SILENT_DAYS)
