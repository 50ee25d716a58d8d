"""Eligibility: one ordered tuple of rules; the first that fails drops a candidate and names the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints, ranges
from nextoffer.domain.kinds import DROP, KIND, REASON
from nextoffer.domain.offers import Candidates
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.incentives import Deal, meets_floor
from nextoffer.offers.shelf import Shelf

REACH = 0.5  # an order of less than this share of the minimum would have to more than double: nobody does


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a rule may look at: candidates of the customers at `rows` (−1 = unknown to the bundle)."""

    bundle: Bundle
    shelf: Shelf
    rows: Ints
    candidates: Candidates
    policy: Policy
    context: Context

    def nobody(self) -> Bools:
        """A rule that holds for no candidate."""
        return np.zeros(len(self.candidates), dtype=bool)

    def customers(self, flags: Bools | None) -> Bools:
        """A rule that holds for all candidates of the flagged customers."""
        return self.nobody() if flags is None else np.asarray(flags[self.candidates.customer], dtype=bool)

    def products(self, flags: Bools) -> Bools:
        """A rule that holds for the candidates of the flagged products; `flags` has one row per product."""
        return np.asarray(self.some() & self.column(flags), dtype=bool)

    def column(self, values: np.ndarray) -> np.ndarray:
        """The value of each candidate's product; a request looks at these alone, never at the whole catalogue."""
        product = self.candidates.product
        return values[product] if len(values) else np.zeros(len(product), values.dtype)

    def some(self) -> Bools:
        """A rule that holds for the candidates that are about a product."""
        return np.asarray(self.candidates.product >= 0)


@dataclass(frozen=True, slots=True, eq=False)
class Option:
    """Candidates with one incentive each: rows of the candidates, rows of the menu, and what the deal is."""

    candidate: Ints
    incentive: Ints
    basket: Ints
    deal: Deal


Rule = Callable[[Question], Bools]
OptionRule = Callable[[Question, Option], Bools]


def no_consent(q: Question) -> Bools:
    """The customer has not agreed to this channel."""
    return q.customers(q.context.no_consent)


def holdout(q: Question) -> Bools:
    """The customer gets no offers, so that uplift can be measured."""
    return q.customers(q.context.held_out)


def filtered(q: Question) -> Bools:
    """The request's own filter (category, brand, price) leaves it out."""
    return q.nobody() if q.context.allowed is None else q.some() & ~q.column(q.context.allowed)


def excluded(q: Question) -> Bools:
    """The shop offers neither this product, nor its brand, nor its category."""
    return np.asarray(q.shelf.excluded[q.candidates.product], dtype=bool)


def hidden(q: Question) -> Bools:
    """Not shown in the shop now, or it has no price."""
    catalogue = q.bundle.catalogue
    return q.some() & (q.column(catalogue.hidden) | (q.column(catalogue.price) <= 0))


def restricted(q: Question) -> Bools:
    """Must never be promoted (alcohol, tobacco, medicine, …)."""
    return q.products(q.bundle.catalogue.restricted)


def out_of_stock(q: Question) -> Bools:
    """Stock is tracked and there is none."""
    stock = q.context.stock if q.context.stock is not None else q.bundle.catalogue.stock
    return q.some() & (q.column(stock) <= 0)  # NaN (not tracked) compares false


def bought_recently(q: Question) -> Bools:
    """Bought within `repurchase_days` or since the bundle was made, unless the product is repeatable.

    Whoever has bought since the bundle was made needs no refill of it, no reminder of their cart, no renewal, and
    need not be won back.
    """
    kind, product = q.candidates.kind, q.candidates.product
    once = q.some() & ~q.column(q.bundle.catalogue.repeatable)
    recent = once
    if once.any():
        recent = (last_age_days(q) < q.policy.repurchase_days) & once
    if q.context.bought is not None:
        again = np.isin(product, q.context.bought)
        moot = np.isin(kind, (KIND["replenishment"], KIND["abandoned"], KIND["renewal"]))
        recent |= again & (once | moot) | (kind == KIND["win_back"])
    return np.asarray(recent)


def returned(q: Question) -> Bools:
    """They bought it and sent it back."""
    back, candidates = q.bundle.diary.returned, q.candidates
    rows = q.rows.astype(back.customer.dtype)  # of another type, the whole column would be copied
    first = np.searchsorted(back.customer, rows)
    counts = np.searchsorted(back.customer, rows, side="right") - first
    at = ranges(first, counts)
    if not len(at):
        return q.nobody()
    n = len(q.bundle.catalogue)
    have = np.repeat(np.arange(len(rows)), counts) * n + back.product[at]
    want = candidates.customer.astype(np.int64) * n + candidates.product
    found = have[np.minimum(np.searchsorted(have, want), len(have) - 1)] == want
    return np.asarray(found & q.some(), dtype=bool)


def once_a_year(q: Question) -> Bools:
    """A birthday or an anniversary was remembered within the year; points may expire more often."""
    occasion = (q.candidates.kind == KIND["event"]) & (q.candidates.reason != REASON["points-expire"])
    return np.asarray(q.customers(q.context.event_made) & occasion)


def in_cart(q: Question) -> Bools:
    """In the cart already; an abandoned cart is what is not in it now."""
    if q.context.cart is None:
        return q.nobody()
    return np.isin(q.candidates.product, q.context.cart)


def contact_cap(q: Question) -> Bools:
    """This slate would be one message too many for the customer: today, this week, or of this campaign."""
    context, policy = q.context, q.policy
    if not context.contact or context.transactional:
        return q.nobody()
    none = np.zeros(len(q.rows), dtype=np.int64)
    today = none if context.messages_today is None else context.messages_today
    week = none if context.messages_week is None else context.messages_week
    capped = (today >= policy.max_per_day) | (week >= policy.max_per_week)
    if context.capped is not None:
        capped |= context.capped
    return q.customers(capped)


def quiet_hours(q: Question) -> Bools:
    """Nobody is disturbed now."""
    return np.full(len(q.candidates), q.context.quiet and q.context.contact and not q.context.transactional)


RULES: tuple[tuple[str, Rule], ...] = (
    ("no-consent", no_consent),
    ("holdout", holdout),
    ("filtered", filtered),
    ("excluded", excluded),
    ("hidden", hidden),
    ("restricted", restricted),
    ("out-of-stock", out_of_stock),
    ("bought-recently", bought_recently),
    ("returned", returned),
    ("once-a-year", once_a_year),
    ("in-cart", in_cart),
    ("contact-cap", contact_cap),
    ("quiet-hours", quiet_hours),
)


def margin_floor(q: Question, option: Option) -> Bools:
    """Sold with this incentive, it would earn less than the floor."""
    product = q.candidates.product[option.candidate]
    floor = q.policy.floor_share
    terms = (q.policy.menu, option.incentive, product, option.deal, option.basket, floor)
    return ~meets_floor(q.shelf, *terms)


def minimum_order(q: Question, option: Option) -> Bools:
    """The customer's order, with this product in it, would hardly reach the least value."""
    least = q.policy.menu.min_order[option.incentive]
    order = option.basket if q.context.cart_value is None else np.int64(q.context.cart_value)
    return (least > 0) & (order + option.deal.price < REACH * least)


def already_discounted(q: Question, option: Option) -> Bools:
    """The product is cheaper than usual already, and the shop gives nothing on top."""
    product = q.candidates.product[option.candidate]
    return q.shelf.discounted[product] & (option.incentive > 0) & q.policy.exclude.discounted


def redeemed_already(q: Question, option: Option) -> Bools:
    """The customer has used this incentive as often as they may."""
    most = q.policy.menu.per_customer[option.incentive]
    if q.context.used_by is None:
        return np.zeros(len(most), dtype=bool)
    return (most >= 0) & (
        q.context.used_by[q.candidates.customer[option.candidate], option.incentive] >= most
    )


def quota(q: Question, option: Option) -> Bools:
    """All of a limited incentive are used."""
    most = q.policy.menu.quota[option.incentive]
    used = 0 if q.context.used is None else q.context.used[option.incentive]
    return np.asarray((most >= 0) & (used >= most))


def no_gift(q: Question, option: Option) -> Bools:
    """The gift is not there to be given: not known, hidden, restricted, excluded or out of stock."""
    menu = q.policy.menu
    if not any(menu.gift) or not len(q.bundle.catalogue):
        return np.asarray(np.array([gift is not None for gift in menu.gift])[option.incentive])
    catalogue, stock = q.bundle.catalogue, q.context.stock
    stock = catalogue.stock if stock is None else stock
    rows = np.array([-1 if gift is None else q.bundle.product_row(gift) for gift in menu.gift])
    gone = (rows < 0) | catalogue.hidden[rows] | catalogue.restricted[rows]
    gone |= q.shelf.excluded[rows] | (stock[rows] <= 0)
    gone &= np.array([gift is not None for gift in menu.gift])
    return np.asarray(gone[option.incentive])


OPTION_RULES: tuple[tuple[str, OptionRule], ...] = (
    ("no-gift", no_gift),
    ("margin-floor", margin_floor),
    ("minimum-order", minimum_order),
    ("already-discounted", already_discounted),
    ("redeemed-already", redeemed_already),
    ("quota", quota),
)


def first_failure(q: Question) -> Ints:
    """(n,) int8 code (index into DROPS) of the first rule each candidate fails; −1 if it is eligible."""
    failure = np.full(len(q.candidates), -1, dtype=np.int8)
    for name, rule in RULES:
        failure[(failure < 0) & rule(q)] = DROP[name]
    return failure


def first_option_failure(q: Question, option: Option) -> Ints:
    """(m,) the same for each candidate with one of its incentives."""
    failure = np.full(len(option.candidate), -1, dtype=np.int8)
    for name, rule in OPTION_RULES:
        failure[(failure < 0) & rule(q, option)] = DROP[name]
    return failure


def last_age_days(q: Question) -> Ints:
    """(n,) days before as_of of the customer's last purchase of the product; very large if never."""
    pairs, candidates = q.bundle.knowledge.pairs, q.candidates
    ages = np.full(len(candidates), 1_000_000, dtype=np.int64)
    known = np.flatnonzero(q.rows >= 0)
    counts = pairs.indptr[q.rows[known] + 1] - pairs.indptr[q.rows[known]]
    at = ranges(pairs.indptr[q.rows[known]], counts)
    n = len(q.bundle.catalogue)
    have = np.repeat(known, counts) * n + pairs.product[at]
    want = candidates.customer.astype(np.int64) * n + candidates.product
    place = np.minimum(np.searchsorted(have, want), max(len(have) - 1, 0))
    if len(have):
        found = (have[place] == want) & (candidates.product >= 0)
        ages[found] = pairs.last_age_days[at[place[found]]]
    return ages
