"""Up-sell: one step up the price ladder of a product family the customer buys from.

Its p_buy is the up-sell model's own: a calibrated chance of this purchase within the horizon, as the ranker's is,
so both stand on one scale. Of a product that other kinds offer too, a slate keeps the offer worth most.
"""

from __future__ import annotations

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import Candidates
from nextoffer.models.up_sell import score_steps
from nextoffer.offers.batch import Batch, KindSettings, best_few


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Never-bought products of the same family as a recent purchase, 1.1 to 1.6 times its price.

    A step is taken on what both usually cost; it is offered only if it is the dearer today too.
    """
    steps = score_steps(bundle.taught.up_sell, bundle.knowledge, batch.rows)
    price = bundle.catalogue.price
    dearer = price[steps.product] > price[steps.anchor]
    customer, product, p_buy = steps.position[dearer], steps.product[dearer], steps.p_buy[dearer]
    return best_few(bundle, "up_sell", "step-up", customer, product, p_buy, steps.anchor[dearer])
