"""Candidates from what a visitor does right now: cart, views, today's purchases; popular products else.

p_buy = P(orders) × share of the orders that hold the product (`models.fresh`). Whoever has a cart is taken to be
ordering: P(orders) = 1.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND, REASON, Candidates
from nextoffer.models.fresh import CART, Moment, excess, shares, suggest

N_POPULAR = 30
MAX_P = 0.9
# by origin: fresh.CART, BOUGHT, VIEWED
_KINDS = np.array([KIND["cross_sell"], KIND["cross_sell"], KIND["for_you"]], np.int8)
_REASONS = np.array([REASON["goes-with-cart"], REASON["bought-lately"], REASON["like-viewed"]], np.int8)


def suggested(bundle: Bundle, moment: Moment, p_any: float) -> Candidates:
    """What the moment suggests; the strongest of its products is the reason."""
    found = suggest(bundle.knowledge, moment)
    p_buy = _p_order(moment, p_any) * found.share
    return _candidates(_KINDS[found.origin], _REASONS[found.origin], found.product, found.because, p_buy)


def popular(bundle: Bundle, moment: Moment, p_any: float, allowed: Bools | None) -> Candidates:
    """What most customers bought in the last four weeks, of what a filter lets through.

    Its share is smoothed, so that a quiet month is none, and moves with the moment.
    """
    top = np.sort(bundle.knowledge.products.popular(N_POPULAR, allowed))
    top = top[~np.isin(top, moment.taken)]
    share, _ = shares(bundle.knowledge, moment, top)
    n = len(top)
    kind, reason = np.full(n, KIND["for_you"], np.int8), np.full(n, REASON["popular-now"], np.int8)
    return _candidates(kind, reason, top, np.full(n, -1), _p_order(moment, p_any) * share)


def moved(bundle: Bundle, moment: Moment, p_any: float, stored: Candidates) -> Candidates:
    """Tonight's candidates of a customer, likelier by what the moment adds: 1 − (1 − p) × (1 − added).

    The moment's raise of a product's share is a second, independent cause to buy it. Nothing gets less likely.
    """
    if not len(moment) or not len(stored):
        return stored
    p = stored.p_buy
    added = _p_order(moment, p_any) * excess(bundle.knowledge, moment, stored.product)
    both = np.minimum(1.0 - (1.0 - p) * (1.0 - np.minimum(added, 1.0)), MAX_P).astype(np.float32)
    return replace(stored, p_buy=np.where(added > 0, np.maximum(p, both), p))


def _p_order(moment: Moment, p_any: float) -> float:
    return 1.0 if CART in moment.origin else p_any


def _candidates(kind: Ints, reason: Ints, product: Ints, because: Ints, p_buy: Floats) -> Candidates:
    return Candidates.learned(
        np.zeros(len(product), np.int32),
        kind,
        product.astype(np.int32),
        because.astype(np.int32),
        reason,
        np.minimum(p_buy, MAX_P).astype(np.float32),
    )
