"""Candidates from what a visitor does right now: cart, views, today's purchases; popular products else."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND, REASON, Candidates
from nextoffer.models.collaborative import Neighbours

N_POPULAR = 30
MAX_P = 0.9


def from_cart(bundle: Bundle, cart: Ints) -> Candidates:
    """Companions of the cart: P(in the same order | the cart item is), the strongest is the reason."""
    return _through(bundle.knowledge.companions, cart, "cross_sell", "goes-with-cart", 1.0)


def from_bought(bundle: Bundle, bought: Ints, p_any: float) -> Candidates:
    """Companions of what was bought since the bundle was made, for the customer's next order."""
    return _through(bundle.knowledge.companions, bought, "cross_sell", "bought-lately", p_any)


def from_viewed(bundle: Bundle, viewed: Ints, p_any: float) -> Candidates:
    """Products alike, by their buyers, to what is being looked at."""
    return _through(bundle.knowledge.similar, viewed, "for_you", "like-viewed", p_any)


def popular(bundle: Bundle, p_any: float, allowed: Bools | None) -> Candidates:
    """What most customers bought in the last four weeks, of what a filter lets through.

    p_buy = P(orders) × the product's share of the buyers, which is smoothed, so that a quiet month is none.
    """
    products = bundle.knowledge.products
    top = products.popular(N_POPULAR, allowed)
    share = np.exp(products.log_share_28[top])
    return _candidates("for_you", "popular-now", top, np.full(len(top), -1), p_any * share)


def _through(neighbours: Neighbours, sources: Ints, kind: str, reason: str, factor: float) -> Candidates:
    """Neighbours of a handful of products; each keeps its best score and the product that gave it."""
    found: dict[int, tuple[float, int]] = {}
    for source in sources.tolist():
        products, scores = neighbours.of(source)
        for product, score in zip(products.tolist(), scores.tolist(), strict=True):
            if score > found.get(product, (0.0, -1))[0]:
                found[product] = (score, source)
    for source in sources.tolist():
        found.pop(source, None)
    product = np.array(sorted(found), dtype=np.int64)
    score = np.array([found[row][0] for row in product.tolist()])
    because = np.array([found[row][1] for row in product.tolist()], dtype=np.int64)
    return _candidates(kind, reason, product, because, factor * score)


def _candidates(kind: str, reason: str, product: Ints, because: Ints, p_buy: Floats) -> Candidates:
    n = len(product)
    return Candidates(
        np.zeros(n, np.int32),
        np.full(n, KIND[kind], np.int8),
        product.astype(np.int32),
        because.astype(np.int32),
        np.full(n, REASON[reason], np.int8),
        np.minimum(p_buy, MAX_P).astype(np.float32),
    )
