"""What an offer is expected to earn, term by term: what it causes, less what it gives away.

Two things are caused (see config/priors.py): an order that would not have come, with chance Δ, and this product in
an order that comes. With P = P(any order), s = p_buy / P the share of the customer's orders that hold the product,
s' the same once it was offered, B the margin of a usual order and m that of the product:

    δ = (order + order_per_tenth × 10 × depth) × 2^(−days silent / half-life) × fatigue^(messages in 7 days)
    Δ = δ × (1 − P)                                whoever would order anyway cannot be made to
    odds(s') = odds(s) × none × per_tenth^(10 × share off its price)
    p_offer = (P + Δ) × s'

    product    (p_offer − p_buy) × m
    basket     Δ × (B − s × m)                     the rest of a caused order
    later      Δ × P(lapsed) × B × orders in later_days at the old pace
    moved      − Δ × B × moved_share × P(an order of their own within ten weeks)
    incentive  − p_offer × cost, or − (P + Δ) × cost where the whole basket gains
    contact    − cost of one message

expected_profit is their sum. `depth` is the share of a usual order that the incentive saves.

References
----------
Hillstrom (2008), MineThatData e-mail test: effects add in points, alike for recent and older buyers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.kinds import TERMS
from nextoffer.domain.menu import MILLION, TYPE
from nextoffer.offers.eligibility import Option, Question

MOVED_DAYS = 70
USUAL_ORDERS = 2.0  # orders of shop-mean value a customer's own are shrunk towards
MAX_LATER = 3.0  # orders
MAX_DELTA = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Buyer:
    """How the customers of a batch buy without offers, (batch,) each; money in currency units.

    Parameters
    ----------
    p_any : P(any order within the horizon); basket : value of a usual order
    pull : what is left of a message's effect after silence and other messages
    later : orders to come if they come back, times the chance they would not
    """

    p_any: Floats
    basket: Floats
    pull: Floats
    later: Floats
    segment: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Valued:
    """What each option is worth, (m,) each: currency units, `terms` (m, n_terms)."""

    p_offer: Floats
    terms: Floats
    cost: Floats
    profit: Floats


def buyers(q: Question) -> Buyer:
    """How the customers at `q.rows` buy; one the bundle does not know is a newcomer."""
    customers, beliefs, rows = q.bundle.knowledge.customers, q.policy.beliefs, q.rows
    known = rows >= 0
    at = np.where(known, rows, 0)

    def of(name: str, otherwise: float) -> Floats:
        column = getattr(customers, name)
        return np.where(known, column[at], otherwise) if len(column) else np.full(len(rows), otherwise)

    frequency, silent = of("frequency", 0.0), of("recency_days", 0.0)
    basket = (of("monetary", 0.0) + USUAL_ORDERS * q.shelf.order_value) / (frequency + USUAL_ORDERS)
    pull = np.exp2(-silent / beliefs.half_life_days)
    if q.context.messages_week is not None:
        pull = pull * beliefs.fatigue**q.context.messages_week
    pace = frequency / np.maximum(of("first_age_days", 1.0), 28.0)
    later = of("p_lapsed", 0.0) * np.minimum(pace * beliefs.later_days, MAX_LATER)
    return Buyer(
        of("p_order", q.bundle.p_newcomer),
        np.maximum(basket, 0.0),
        pull,
        later,
        of("segment", -1).astype(int),
    )


def value(q: Question, option: Option, buyer: Buyer) -> Valued:
    """Expected incremental profit of each option, with its terms."""
    menu, beliefs, at = q.policy.menu, q.policy.beliefs, option.candidate
    plain = _plain(q, buyer)
    p_any, before, p_buy = plain.p_any[at], plain.before[at], plain.p_buy[at]
    delta, lift = plain.order[at], plain.lift[at]
    given = np.flatnonzero(option.incentive)
    if len(given):
        more, times = _incentive(q, option, plain, given)
        delta[given] += more
        lift[given] *= times
    if beliefs.measured is not None:
        kind, segment = q.candidates.kind[at], buyer.segment[q.candidates.customer[at]]
        delta = delta * np.where(segment >= 0, beliefs.measured[kind, segment, option.incentive], 1.0)
    caused = np.minimum(delta * plain.pull[at], MAX_DELTA) * (1.0 - p_any)
    odds = lift * before
    p_order = p_any + caused
    p_offer = p_order * (odds / (1.0 - before + odds))

    used = np.where(menu.basket[option.incentive], p_order, p_offer) * option.deal.cost
    used /= 10.0**q.bundle.catalogue.digits
    terms = np.empty((len(TERMS), len(at)))
    terms[0] = (p_offer - p_buy) * plain.margin[at]
    terms[1] = caused * plain.rest[at]
    terms[2] = caused * plain.later[at]
    terms[3] = caused * plain.moved[at]
    terms[4] = -used
    terms[5] = -q.policy.contact_cost if q.context.contact else 0.0
    return Valued(p_offer, terms.T, used, terms.sum(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Plain:
    """What an incentive does not change, (n,) per candidate; money in currency units.

    p_buy, p_any (any order), before (share of orders that hold the product), margin (of the product); what a caused
    order brings: rest (of its basket), later, moved (negative); order and lift as without incentive; pull; basket.
    """

    p_buy: Floats
    p_any: Floats
    before: Floats
    margin: Floats
    rest: Floats
    later: Floats
    moved: Floats
    order: Floats
    lift: Floats
    pull: Floats
    basket: Floats


def _plain(q: Question, buyer: Buyer) -> _Plain:
    candidates, shelf, beliefs = q.candidates, q.shelf, q.policy.beliefs
    customer, product, kind = candidates.customer, candidates.product, candidates.kind
    basket, p_buy = buyer.basket[customer], candidates.p_buy.astype(np.float64)
    some, order = product >= 0, basket * shelf.margin_share
    scale = 10.0**q.bundle.catalogue.digits
    margin = np.where(some, (shelf.price[product] - shelf.unit_cost[product]) / scale, order)
    p_any = np.maximum(buyer.p_any[customer], p_buy)
    before = np.where(some, p_buy / np.maximum(p_any, 1e-12), 1.0)
    own = 1.0 - (1.0 - p_any) ** (MOVED_DAYS / q.bundle.knowledge.horizon_days)
    return _Plain(
        p_buy=p_buy,
        p_any=p_any,
        before=before,
        margin=margin,
        rest=np.where(some, np.maximum(order - before * margin, 0.0), 0.0),
        later=buyer.later[customer] * order,
        moved=-beliefs.moved_share * own * order,
        order=beliefs.order[kind],
        lift=beliefs.odds[kind],
        pull=buyer.pull[customer],
        basket=basket,
    )


def _incentive(q: Question, option: Option, plain: _Plain, rows: Ints) -> tuple[Floats, Floats]:
    """What options that carry an incentive add to the chance of causing an order, and multiply the odds with."""
    menu, beliefs, deal = q.policy.menu, q.policy.beliefs, option.deal
    at, incentive, price = option.candidate[rows], option.incentive[rows], deal.price[rows]
    kind, whole = q.candidates.kind[at], menu.basket[incentive]
    scale = 10.0**q.bundle.catalogue.digits
    depth = deal.saved[rows] / np.maximum(np.maximum(plain.basket[at] * scale, price), 1e-9 * scale)
    percent = np.where(menu.type == TYPE["percent"], menu.millionths / MILLION, 0.0)[incentive]
    off = np.where(whole, percent, (price - deal.final[rows]) / np.maximum(price, 1))
    more = 10.0 * beliefs.order_per_tenth[kind] * depth
    return more, np.exp(10.0 * np.log(beliefs.odds_per_tenth)[kind] * off)
