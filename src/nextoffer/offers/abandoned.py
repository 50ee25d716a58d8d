"""Abandoned: what a customer looked at or left in the cart, let alone for a while, and not bought since.

Interest is a cause of its own beside taste and habit: p_buy = 1 − (1 − p) × (1 − s), where p is the ranker's chance,
which knows nothing of views, and s the share of such interest that led to a purchase within the horizon in the
shop's own history (`features.diary.Interest`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Floats, Ints, place_in_run
from nextoffer.domain.offers import KIND, Candidates
from nextoffer.offers.batch import PER_KIND, Batch, KindSettings, best_few

NEWEST = 2 * PER_KIND  # products of a customer that are looked at, newest first


def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
    """Products seen at least `abandoned_hours` and at most `abandoned_days` ago, the newest of each customer."""
    interest = bundle.diary.interest
    position, at = interest.of(batch.rows)
    hours = (bundle.as_of.timestamp() - interest.seen_at[at]) / 3600.0
    left = (hours >= when.abandoned_hours) & (hours <= 24 * when.abandoned_days)
    position, at = position[left], at[left]
    newest = place_in_run(position) < NEWEST
    position, at = position[newest], at[newest]
    product = interest.product[at]
    known = _chance(batch.scored.position, batch.scored.product, batch.scored.p_buy, position, product)
    p_order = bundle.knowledge.customers.p_order[batch.rows[position]]
    return _both(bundle, position, product, interest.carted[at], known, p_order)


def from_seen(
    bundle: Bundle,
    row: int,
    seen: Sequence[tuple[int, bool, float]],
    abandoned_hours: float = 24,
    abandoned_days: float = 14,
) -> Candidates:
    """Candidates of one customer from live events, at position 0.

    Parameters
    ----------
    row : of the customer, −1 for one the bundle does not know
    seen : product row, whether it is in the cart, hours since it was last seen; not bought since
    """
    last: dict[int, tuple[float, bool]] = {}
    for row_seen, in_cart, hours in seen:
        ago, before = last.get(row_seen, (hours, False))
        last[row_seen] = min(ago, hours), before or in_cart
    left = sorted(
        (one for one in last.items() if abandoned_hours <= one[1][0] <= 24 * abandoned_days), key=_newest
    )
    product = np.array([row_seen for row_seen, _ in left[:NEWEST]], dtype=np.int32)
    carted = np.array([in_cart for _, (_, in_cart) in left[:NEWEST]], dtype=np.bool_)
    position = np.zeros(len(product), dtype=np.int64)
    known = np.full(len(product), np.nan)
    p_any = bundle.p_newcomer
    if row >= 0:
        p_any = float(bundle.knowledge.customers.p_order[row])
        stored = bundle.candidates.batch(np.array([row]))
        stored = stored.take(stored.kind != KIND["abandoned"])
        stored = stored.take(np.lexsort((stored.p_buy, stored.product)))
        known = _chance(stored.customer, stored.product, stored.p_buy, position, product)
    return _both(bundle, position, product, carted, known, np.full(len(product), p_any))


def _newest(one: tuple[int, tuple[float, bool]]) -> tuple[float, int]:
    product, (hours, _) = one
    return hours, product


def _both(
    bundle: Bundle, position: Ints, product: Ints, carted: Bools, known: Floats, p_order: Floats
) -> Candidates:
    """Candidates of both reasons; where the ranker said nothing, a product has its share of the orders lately."""
    usual = p_order * np.exp(bundle.knowledge.products.log_share_28[product].astype(np.float64))
    habit = np.where(np.isnan(known), usual, known)
    p_buy = 1.0 - (1.0 - habit) * (1.0 - bundle.diary.interest.share(carted))

    def because_of(reason: str, chosen: Bools) -> Candidates:
        columns = position[chosen], product[chosen], p_buy[chosen]
        return best_few(bundle, "abandoned", reason, *columns, product[chosen])

    return Candidates.concat([because_of("left-in-cart", carted), because_of("viewed-not-bought", ~carted)])


def _chance(positions: Ints, products: Ints, p_buy: Floats, position: Ints, product: Ints) -> Floats:
    """(n,) p_buy of pairs among rows sorted by position and product (the last of equals); NaN where there is none."""
    n = 1 + max(int(products.max(initial=0)), int(product.max(initial=0)))
    have = positions.astype(np.int64) * n + products
    want = position.astype(np.int64) * n + product
    at = np.searchsorted(have, want, "right") - 1
    found = at >= 0
    found[found] = have[at[found]] == want[found]
    chance = np.full(len(want), np.nan)
    chance[found] = p_buy[at[found]]
    return chance
