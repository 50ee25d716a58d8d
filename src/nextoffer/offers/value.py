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
    menu, beliefs, plain = q.policy.menu, q.policy.beliefs, _plain(q, buyer)
    at, incentive, deal = option.candidate, option.incentive, option.deal
    customer, kind = q.candidates.customer[at], q.candidates.kind[at]
    scale, whole = 10.0**q.bundle.catalogue.digits, menu.basket[incentive]
    p_buy, p_any, before, basket, margin, own, order = (column[at] for column in plain)
    some = q.candidates.product[at] >= 0
    saved, cost = deal.saved / scale, deal.cost / scale
    depth = saved / np.maximum(np.maximum(basket, deal.price / scale), 1e-9)

    delta = beliefs.order[kind] + beliefs.order_per_tenth[kind] * 10.0 * depth
    if beliefs.measured is not None:
        segment = buyer.segment[customer]
        delta = delta * np.where(segment >= 0, beliefs.measured[kind, segment, incentive], 1.0)
    caused = np.minimum(delta * buyer.pull[customer], MAX_DELTA) * (1.0 - p_any)
    lift = beliefs.odds[kind] * np.exp(np.log(beliefs.odds_per_tenth)[kind] * (10.0 * _off(q, option)))
    after = lift * before / (1.0 - before + lift * before)
    p_offer = (p_any + caused) * after

    used = np.where(whole, p_any + caused, p_offer) * cost
    terms = np.empty((len(TERMS), len(at)))
    terms[0] = (p_offer - p_buy) * margin
    terms[1] = np.where(some, caused * np.maximum(order - before * margin, 0.0), 0.0)
    terms[2] = caused * buyer.later[customer] * order
    terms[3] = -caused * order * beliefs.moved_share * own
    terms[4] = -used
    terms[5] = -q.policy.contact_cost if q.context.contact else 0.0
    return Valued(p_offer, terms.T, used, terms.sum(axis=0))


def _plain(q: Question, buyer: Buyer) -> tuple[Floats, ...]:
    """What an incentive does not change, (n,) per candidate: p_buy, P(any order), the share of orders that hold the
    product, the value of a usual order, the product's margin, P(an order of their own soon), a usual order's margin."""
    candidates, shelf = q.candidates, q.shelf
    customer, product = candidates.customer, candidates.product
    basket, p_buy = buyer.basket[customer], candidates.p_buy.astype(np.float64)
    some, order = product >= 0, basket * shelf.margin_share
    scale = 10.0**q.bundle.catalogue.digits
    margin = np.where(some, (shelf.price[product] - shelf.unit_cost[product]) / scale, order)
    p_any = np.maximum(buyer.p_any[customer], p_buy)
    before = np.where(some, p_buy / np.maximum(p_any, 1e-12), 1.0)
    own = 1.0 - (1.0 - p_any) ** (MOVED_DAYS / q.bundle.knowledge.horizon_days)
    return p_buy, p_any, before, basket, margin, own, order


def _off(q: Question, option: Option) -> Floats:
    """The share of its price that the product itself gets cheaper by."""
    menu, deal = q.policy.menu, option.deal
    percent = np.where(menu.type == TYPE["percent"], menu.millionths / MILLION, 0.0)[option.incentive]
    own = (deal.price - deal.final) / np.maximum(deal.price, 1)
    return np.where(menu.basket[option.incentive], percent, own)
