"""Up-sell: one step up the price ladder of a product family the customer buys from."""

from __future__ import annotations

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.offers.batch import Batch, proposals


def candidates(batch: Batch, bundle: Bundle) -> Candidates:
    """Never-bought products of the same family as a recent purchase, 1.1 to 1.6 times its price."""
    scored = batch.scored
    because = scored.because["ladder"]
    price = bundle.catalogue.price
    dearer = (because >= 0) & (price[scored.product] > price[because])
    return proposals(batch, bundle, "up_sell", "step-up", ~scored.repeat & dearer, because)
