"""For you: what customers with the same taste buy; what is popular now where taste is not known yet."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, KindSettings, proposals

ENOUGH = 3  # personal proposals a customer needs before nothing is filled up with what is popular


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Collaborative filtering by factors and by similar products, else popular products."""
    scored = batch.scored
    personal = ~scored.repeat & ((scored.source["factors"] >= 0) | (scored.source["similar"] >= 0))
    n_personal = np.bincount(scored.position[personal], minlength=len(batch.rows))
    thin = n_personal[scored.position] < ENOUGH
    popular = ~scored.repeat & ~personal & thin & (scored.source["popular"] >= 0)
    return Candidates.concat(
        [
            proposals(batch, bundle, "for_you", "similar-customers", personal),
            proposals(batch, bundle, "for_you", "popular-now", popular),
        ]
    )
