"""Eligibility: one ordered tuple of rules; the first that fails drops a candidate and names the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints, ranges
from nextoffer.domain.offers import DROP, KIND, Candidates
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.incentives import levels_of, meets_floor


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What a rule may look at: candidates of the customers at `rows` (−1 = unknown to the bundle)."""

    bundle: Bundle
    rows: Ints
    candidates: Candidates
    policy: Policy
    context: Context


Rule = Callable[[Question], Bools]


def filtered(q: Question) -> Bools:
    """The request's own filter (category, brand, price) leaves it out."""
    if q.context.allowed is None:
        return np.zeros(len(q.candidates), dtype=bool)
    return ~q.context.allowed[q.candidates.product]


def hidden(q: Question) -> Bools:
    """Not shown in the shop now, or it has no price."""
    catalogue, product = q.bundle.catalogue, q.candidates.product
    return catalogue.hidden[product] | (catalogue.price[product] <= 0)


def restricted(q: Question) -> Bools:
    """Must never be promoted (alcohol, tobacco, medicine, …)."""
    return q.bundle.catalogue.restricted[q.candidates.product]


def out_of_stock(q: Question) -> Bools:
    """Stock is tracked and there is none."""
    stock = q.context.stock if q.context.stock is not None else q.bundle.catalogue.stock
    return np.asarray(stock[q.candidates.product] <= 0)  # NaN (not tracked) compares false


def bought_recently(q: Question) -> Bools:
    """Bought within `repurchase_days` or since the bundle was made, unless the product is repeatable.

    Whoever has bought since the bundle was made needs no refill of it, and need not be won back.
    """
    kind, product = q.candidates.kind, q.candidates.product
    once = ~q.bundle.catalogue.repeatable[product]
    recent = (last_age_days(q) < q.policy.repurchase_days) & once
    if q.context.bought is not None:
        refilled = np.isin(product, q.context.bought)
        recent |= refilled & (once | (kind == KIND["replenishment"])) | (kind == KIND["win_back"])
    return np.asarray(recent)


def margin_floor(q: Question) -> Bools:
    """Sold with the smallest incentive of its kind, it would earn less than the floor."""
    smallest = np.where(q.candidates.kind == KIND["win_back"], min(levels_of(q.policy)), 0.0)
    return ~meets_floor(q.bundle.catalogue, q.candidates.product, smallest, q.policy.floor_share)


def in_cart(q: Question) -> Bools:
    """In the cart already."""
    if q.context.cart is None:
        return np.zeros(len(q.candidates), dtype=bool)
    return np.isin(q.candidates.product, q.context.cart)


def contact_cap(q: Question) -> Bools:
    """This slate would be one message too many for the customer, today or this week."""
    context, policy = q.context, q.policy
    if not context.contact:
        return np.zeros(len(q.candidates), dtype=bool)
    none = np.zeros(len(q.rows), dtype=np.int64)
    today = none if context.messages_today is None else context.messages_today
    week = none if context.messages_week is None else context.messages_week
    capped = (today >= policy.max_per_day) | (week >= policy.max_per_week)
    return np.asarray(capped[q.candidates.customer])


RULES: tuple[tuple[str, Rule], ...] = (
    ("filtered", filtered),
    ("hidden", hidden),
    ("restricted", restricted),
    ("out-of-stock", out_of_stock),
    ("bought-recently", bought_recently),
    ("margin-floor", margin_floor),
    ("in-cart", in_cart),
    ("contact-cap", contact_cap),
)


def first_failure(q: Question) -> Ints:
    """(n,) int8 code (index into DROPS) of the first rule each candidate fails; −1 if it is eligible."""
    failure = np.full(len(q.candidates), -1, dtype=np.int8)
    for name, rule in RULES:
        failure[(failure < 0) & rule(q)] = DROP[name]
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
        found = have[place] == want
        ages[found] = pairs.last_age_days[at[place[found]]]
    return ages
