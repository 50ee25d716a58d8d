"""The oracle: the offer worth most with all truth known. Greedy week by week, so within a few per cent of the best."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Floats, Ints, first_of_each
from nextoffer.domain.offers import KIND, KINDS
from nextoffer.simulation import columns
from nextoffer.simulation.catalogue import CLASS_ELASTICITY
from nextoffer.simulation.expected import Before, Effects, effects
from nextoffer.simulation.life import NOT_YET
from nextoffer.simulation.loop import Oracle
from nextoffer.simulation.response import Offers
from nextoffer.simulation.shop import Shop

FATIGUE_PRICE = (
    0.02  # currency units an opened message must earn beyond its value; tuned on a seed of its own
)
BASKET_LEVELS = (0.05, 0.10, 0.20)
PRODUCT_LEVELS = (0.10, 0.20)
BEST_KINDS = 3  # kinds of each customer that are tried with incentives


def oracle(price: float = FATIGUE_PRICE, horizon: int = 16) -> Oracle:
    """For each customer the offer worth most with all truth known, nothing if none is worth its price."""

    def ask(shop: Shop) -> pa.Table:
        now = shop.before()
        plain = alone(*_candidates(now))
        found = effects(now, plain, horizon)
        merit = found.value - price * found.opens
        best = first_of_each(plain.row, -merit, plain.kind, BEST_KINDS)
        tried = [plain.take(best)] + [
            _at_level(plain.take(best), level, basket)
            for basket, levels in ((True, BASKET_LEVELS), (False, PRODUCT_LEVELS))
            for level in levels
        ]
        everything = Offers(
            *(np.concatenate([getattr(part, name) for part in tried]) for name in Offers.__slots__)
        )
        everything = everything.take(everything.basket | (everything.product >= 0))
        found = effects(now, everything, horizon)
        return _best(shop, everything, found, price)

    return ask


def _best(shop: Shop, offers: Offers, found: Effects, price: float) -> pa.Table:
    merit = found.value - price * found.opens
    chosen = first_of_each(offers.row, -merit, offers.kind, 1) & (merit > 0)
    best, world = offers.take(chosen), shop.world
    products = columns.product_ids(world.catalogue, np.arange(world.catalogue.size))
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, best.row),
            "kind": pa.array(KINDS).take(pa.array(best.kind)),
            "product_id": products.take(pa.array(best.product, mask=best.product < 0)),
            "level": pa.array(best.level),
            "basket": pa.array(best.basket),
        }
    )


def _candidates(now: Before) -> tuple[Ints, Ints, Ints]:
    """Customer row, kind and product of the offers worth a thought."""
    state, customers, mean = now.state, now.customers, now.mean
    people = np.flatnonzero(state.subscribed & (state.status != NOT_YET))
    margin = np.where(now.window.available, mean.unit_margin, -1.0)
    recent = state.recent[people]
    partners = np.where((recent >= 0)[:, :, None], now.world.catalogue.companions[recent], -1)
    companion = _dearest(margin, partners.reshape(len(people), -1))
    best = _best_of_family(now, margin)
    of_family = best[customers.price_class[people][:, None], mean.own[people]]
    favourite = _dearest(margin, of_family)
    steps = mean.step_up[customers.price_class[people][:, None], mean.own[people]]
    upward = of_family[np.arange(len(people)), steps.argmax(axis=1)]
    nothing = np.full(len(people), -1)
    chosen = [
        ("cross_sell", np.where(companion >= 0, companion, favourite)),
        ("cross_sell", favourite),
        ("for_you", favourite),
        ("up_sell", upward),
        ("win_back", nothing),
        ("event", nothing),
        ("abandoned", state.cart[people]),
        ("renewal", customers.passes[people]),
        *(("replenishment", customers.refill[people, slot]) for slot in range(customers.refill.shape[1])),
    ]
    empty = ("win_back", "event")
    keep = [(kind, product, (product >= 0) | (kind in empty)) for kind, product in chosen]
    return (
        np.concatenate([people[there] for _, _, there in keep]),
        np.concatenate([np.full(int(there.sum()), KIND[kind]) for kind, _, there in keep]),
        np.concatenate([product[there].astype(np.int64) for _, product, there in keep]),
    )


def _dearest(margin: Floats, products: Ints) -> Ints:
    """(n,) of each row's products the one with the highest margin; −1 if there is none."""
    worth = np.where(products >= 0, margin[products], -np.inf)
    best = worth.argmax(axis=1)
    rows = np.arange(len(products))
    return np.where(np.isfinite(worth[rows, best]), products[rows, best], -1)


def _best_of_family(now: Before, margin: Floats) -> Ints:
    """(3, F) the product of each family whose margin, wanted as it is by a price class, is highest."""
    catalogue = now.world.catalogue
    best = []
    for usual, elasticity in zip(catalogue.usual_price, CLASS_ELASTICITY, strict=True):
        dearer = np.maximum(catalogue.price / usual[catalogue.family], 1.0)
        order = np.lexsort((-margin * dearer**-elasticity, catalogue.family))
        best.append(order[catalogue.first[:-1]])
    return np.stack(best)


def alone(row: Ints, kind: Ints, product: Ints, level: Floats | float = 0.0) -> Offers:
    """Offers in numbers, each as if it were its customer's only one; incentives are on the whole basket."""
    n = len(row)
    return Offers(
        row=row,
        kind=kind,
        product=product,
        level=np.broadcast_to(np.asarray(level, dtype=np.float64), n),
        basket=np.ones(n, dtype=bool),
        eligible=np.ones(n),
        usual=np.ones(n),
        sent_at=np.zeros(n, dtype=np.int64),
        source=np.arange(n),
    )


def _at_level(offers: Offers, level: float, basket: bool) -> Offers:
    n = len(offers.row)
    return Offers(
        offers.row,
        offers.kind,
        offers.product,
        np.full(n, level),
        np.full(n, basket),
        offers.eligible,
        offers.usual,
        offers.sent_at,
        offers.source,
    )
