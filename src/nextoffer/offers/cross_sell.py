"""Cross-sell: companions of what the customer bought last, never a product they already buy."""

from __future__ import annotations

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, KindSettings, proposals


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Products bought in the same basket as the customer's recent purchases."""
    scored = batch.scored
    chosen = ~scored.repeat & (scored.source["companions"] >= 0)
    return proposals(batch, bundle, "cross_sell", "bought-together", chosen, scored.because["companions"])
