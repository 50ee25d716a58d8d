"""Where rules of offers.toml get in each other's way: the same offer twice, or two prices for one product."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from nextoffer.config import Rule
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.offers.by_hand import Reach, candidates
from nextoffer.offers.choosing import Policy

LOOKED_AT = 1_000_000  # offers the overlap of audiences is told from; beyond it by a sample of customers
NEIGHBOURS = 3  # other rules on one product of a customer that each rule is held against
MOST = 1000


@dataclass(frozen=True, slots=True)
class Conflict:
    """Two rules at once: `what` is "overlap" (same audience, same offer) or "incentives" (same customers, same
    product, different incentives); `customers` who get both, `wins` the rule of higher priority, else by value."""

    what: str
    rules: tuple[str, str]
    customers: int
    first_day: date | None
    last_day: date | None
    wins: str | None

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary."""
        days = {"from": self.first_day, "until": self.last_day}
        return {
            "what": self.what,
            "rules": list(self.rules),
            "customers": self.customers,
            **{name: None if day is None else day.isoformat() for name, day in days.items()},
            "wins": self.wins,
        }


def conflicts(found: Reach, policy: Policy, alive: Bools) -> list[Conflict]:
    """Every conflict, the one of most customers first.

    `alive` is (n_rules,) whether anybody may get it at all: a rule that is never made meets no other's incentive.
    """
    made = {conflict.rules: conflict for conflict in _incentives(found, policy, alive)}
    made |= {conflict.rules: conflict for conflict in _overlaps(found)}
    return sorted(made.values(), key=lambda one: (-one.customers, one.rules))[:MOST]


def _overlaps(found: Reach) -> Iterator[Conflict]:
    """Rules with the same audience and the same offer whose days overlap, each with the one that lasts longest."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for at, rule in enumerate(found.rules):
        key = (rule.audience, rule.wanted, rule.category, rule.brand)
        alike.setdefault(key, []).append(at)
    for same in alike.values():
        longest: int | None = None
        for at in sorted(same, key=lambda at: (found.rules[at].first_day or date.min, at)):
            if longest is not None and _meet(found.rules[longest], found.rules[at]):
                yield _conflict(found, "overlap", longest, at, int(found.size[found.group[at]]))
            if longest is None or _end(found.rules[at]) > _end(found.rules[longest]):
                longest = at


def _incentives(found: Reach, policy: Policy, alive: Bools) -> Iterator[Conflict]:
    """Rules that offer one product to the same customers with different incentives."""
    n = len(found.bundle.customer_ids.ids)
    offers = max(int(found.size[found.group].sum()), 1)
    some = min(n, max(n * LOOKED_AT // offers, 1))
    made = candidates(found, np.arange(some) * n // some, alive)
    order = np.lexsort((made.rule, made.product, made.customer))
    customer, product, rule = made.customer[order], made.product[order], made.rule[order].astype(np.int64)
    terms = _terms(policy)[rule]
    pairs = []
    for apart in range(1, NEIGHBOURS + 1):
        one, other = slice(None, -apart), slice(apart, None)
        both = (customer[one] == customer[other]) & (product[one] == product[other])
        both &= (terms[one] != terms[other]) & (rule[one] != rule[other])
        pairs.append(rule[one][both] * len(found.rules) + rule[other][both])
    keys, counts = np.unique(np.concatenate(pairs), return_counts=True)
    for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
        one_rule, other_rule = divmod(key, len(found.rules))
        if _meet(found.rules[one_rule], found.rules[other_rule]):
            yield _conflict(found, "incentives", one_rule, other_rule, round(count * n / some))


def _terms(policy: Policy) -> Ints:
    """(n_rules,) a code for what each rule gives: two rules may give the same under different names."""
    codes: dict[object, int] = {}
    given = [tuple(policy.menu.wire(int(row)).items()) for row in policy.rules.incentive]
    return np.array([codes.setdefault(terms, len(codes)) for terms in given], dtype=np.int64)


def _conflict(found: Reach, what: str, at: int, other: int, customers: int) -> Conflict:
    one, two = found.rules[min(at, other)], found.rules[max(at, other)]
    first, last = max(_start(one), _start(two)), min(_end(one), _end(two))
    wins = None if one.priority == two.priority else one.name if one.priority > two.priority else two.name
    return Conflict(
        what=what,
        rules=(one.name, two.name),
        customers=customers,
        first_day=None if first == date.min else first,
        last_day=None if last == date.max else last,
        wins=wins,
    )


def _meet(one: Rule, two: Rule) -> bool:
    """Whether both can be made on one day in one place."""
    if max(_start(one), _start(two)) > min(_end(one), _end(two)):
        return False
    if one.channels and two.channels and not set(one.channels) & set(two.channels):
        return False
    places = [
        {*(("placement", name) for name in rule.placements), *(("campaign", name) for name in rule.campaigns)}
        for rule in (one, two)
    ]
    return not all(places) or bool(places[0] & places[1])


def _start(rule: Rule) -> date:
    return rule.first_day or date.min


def _end(rule: Rule) -> date:
    return rule.last_day or date.max
