"""What an offer is worth, and which offers make the slate: every term kept, nothing rounded away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Floats, Ints, first_of_each
from nextoffer.domain.offers import DROP, KIND, KINDS, Candidates, Slates
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.eligibility import Question, first_failure
from nextoffer.offers.incentives import final_price, levels_of, meets_floor


@dataclass(frozen=True, slots=True, eq=False)
class Valued:
    """Eligible candidates with their best incentive; money in minor units, profit in currency units."""

    p_offer: Floats
    level: Floats
    list_price: Ints
    final_price: Ints
    expected_profit: Floats


def choose(bundle: Bundle, rows: Ints, candidates: Candidates, policy: Policy, context: Context) -> Slates:
    """The slates of a batch of customers. Pure: no clock, no I/O; the same for any split into batches.

    Parameters
    ----------
    rows : (batch,) customer rows in the bundle, −1 for customers it does not know
    candidates : their candidates, `customer` being the position in `rows`
    """
    if context.kinds is not None:
        candidates = candidates.take(np.isin(candidates.kind, context.kinds))
    drop = first_failure(Question(bundle, rows, candidates, policy, context))
    valued = value(bundle, candidates, policy, policy.contact_cost if context.contact else 0.0)
    merit = candidates.p_buy if policy.order_by == "p_buy" else valued.expected_profit
    _settle(drop, candidates, valued, merit, policy, context)
    kept = np.flatnonzero(drop < 0)
    order = kept[
        np.lexsort(
            (
                candidates.kind[kept],
                candidates.product[kept],
                -merit[kept],
                candidates.customer[kept],
            )
        )
    ]
    dropped = np.flatnonzero(drop >= 0)
    customer = candidates.customer[order]
    start = np.searchsorted(customer, customer)
    return Slates(
        customer=customer,
        rank=(np.arange(len(order)) - start + 1).astype(np.int32),
        kind=candidates.kind[order],
        product=candidates.product[order],
        because=candidates.because[order],
        reason=candidates.reason[order],
        p_buy=candidates.p_buy[order],
        p_offer=valued.p_offer[order],
        expected_profit=valued.expected_profit[order],
        level=valued.level[order],
        list_price=valued.list_price[order],
        final_price=valued.final_price[order],
        dropped_customer=candidates.customer[dropped],
        dropped_kind=candidates.kind[dropped],
        dropped_product=candidates.product[dropped],
        dropped_reason=drop[dropped],
    )


def value(bundle: Bundle, candidates: Candidates, policy: Policy, contact_cost: float) -> Valued:
    """Expected incremental profit of each candidate at its best allowed discount.

    expected_profit = (p_offer − p_buy) × margin − p_offer × incentive cost − contact cost, where
    odds(p_offer) = odds(p_buy) × prior.none × prior.per_tenth^(10 × level).
    """
    best = _at_level(bundle, candidates, policy, np.zeros(len(candidates)), contact_cost)
    discounted = np.flatnonzero(candidates.kind == KIND["win_back"])
    if not len(discounted):
        return best
    some = candidates.take(discounted)
    tried = [
        _at_level(bundle, some, policy, np.full(len(some), level), contact_cost)
        for level in levels_of(policy)
    ]
    worth = np.stack(
        [
            np.where(
                meets_floor(bundle.catalogue, some.product, option.level, policy.floor_share),
                option.expected_profit,
                -np.inf,
            )
            for option in tried
        ]
    )
    chosen = worth.argmax(axis=0)  # the first of equals: the smallest discount
    for name in Valued.__slots__:
        getattr(best, name)[discounted] = np.choose(chosen, [getattr(option, name) for option in tried])
    return best


def _at_level(
    bundle: Bundle, candidates: Candidates, policy: Policy, level: Floats, contact_cost: float
) -> Valued:
    catalogue, product, kind = bundle.catalogue, candidates.product, candidates.kind
    scale = 10.0**catalogue.digits
    price = catalogue.price[product]
    final = final_price(price, level)
    margin = (price - catalogue.unit_cost[product]) / scale
    p_buy = candidates.p_buy.astype(np.float64)
    lift = policy.odds[kind] * policy.odds_per_tenth[kind] ** (level * 10.0)
    p_offer = lift * p_buy / (1.0 - p_buy + lift * p_buy)
    profit = (p_offer - p_buy) * margin - p_offer * (price - final) / scale - contact_cost
    return Valued(p_offer, level.astype(np.float64), price.astype(np.int64), final, profit)


def _settle(
    drop: Ints, candidates: Candidates, valued: Valued, merit: Floats, policy: Policy, context: Context
) -> None:
    """Mark, in `drop`, eligible candidates that do not make the slate, and why."""
    places = policy.n if context.n is None else context.n
    n_kinds = len(KINDS if context.kinds is None else context.kinds)
    per_kind = max(policy.max_per_kind, -(-places // max(n_kinds, 1)))
    worthless = (drop < 0) & (valued.expected_profit <= policy.min_expected_profit)
    drop[worthless] = DROP["low-value"]

    def keep_best(reason: str, group: Ints, n: int) -> None:
        """Keep the `n` of most merit of each group; ties by product, then kind."""
        at = np.flatnonzero(drop < 0)
        tie = candidates.product[at].astype(np.int64) * len(KINDS) + candidates.kind[at]
        best = first_of_each(group[at], -merit[at], tie, n)
        drop[at[~best]] = DROP[reason]

    customer = candidates.customer.astype(np.int64)
    n_products = int(candidates.product.max(initial=0)) + 1
    keep_best("same-product", customer * n_products + candidates.product, 1)
    keep_best("kind-full", customer * len(KINDS) + candidates.kind, per_kind)
    keep_best("slate-full", customer, places)
