"""Exploration of the depth of discounts: every allowed incentive, and no offer, keep a chance that is logged.

Without it nobody could learn later which depth was needed: offers that are never varied explain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.kinds import KINDS
from nextoffer.offers.value import Valued

if TYPE_CHECKING:
    from nextoffer.offers.eligibility import Question

_GOLDEN, _MIX = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """What was drawn, (n,) per candidate: the option, whether it was no offer at all, and the chance of it.

    `chances` (m,) are those of every option, 0 for the forbidden; what is missing to 1 is that of no offer. Only
    candidates in `explored` had a choice: an incentive they could carry.
    """

    best: Ints
    nothing: Bools
    propensity: Floats
    explored: Bools
    chances: Floats


def draw(q: Question, start: Ints, fails: Ints, valued: Valued, best: Ints, drop: Ints) -> Drawn:
    """Draw an incentive for every eligible candidate that may carry one.

    The best option (no offer, where none is worth the least that is asked) gets what the others leave:
    `explore_share` each.
    """
    n, count = len(best), np.diff(start)
    owner = np.repeat(np.arange(n), count)
    allowed = fails < 0
    n_allowed = np.bincount(owner, weights=allowed, minlength=n)
    explored = (drop < 0) & (count > 1) & (n_allowed > 0) & (q.candidates.rule < 0)
    share = q.policy.explore_share
    worth = np.zeros(n, dtype=bool) if not n else valued.profit[best] > q.policy.min_expected_profit
    chances = np.where(allowed & explored[owner], share, 0.0)
    chances[best[explored & worth]] += 1.0 - share * (n_allowed[explored & worth] + 1.0)
    p_nothing = 1.0 - np.bincount(owner, weights=chances, minlength=n)
    total = np.cumsum(chances)
    before = total - chances
    u = _uniform(q)
    reached = (u[owner] >= before - before[start[:-1]][owner]) & (
        u[owner] < total - before[start[:-1]][owner]
    )
    chosen, found = best.copy(), np.zeros(n, dtype=bool)
    hit = np.flatnonzero(reached & (chances > 0))
    chosen[owner[hit]], found[owner[hit]] = hit, True
    chosen = np.where(explored, chosen, best)
    propensity = np.where(explored, np.where(found, chances[chosen] if n else 0.0, p_nothing), 1.0)
    return Drawn(chosen, explored & ~found, propensity, explored, chances)


def _uniform(q: Question) -> Floats:
    """(n,) in [0, 1): the customer's draw, made another number for each kind and product (splitmix64's mixer)."""
    draws, candidates = q.context.draws, q.candidates
    if draws is None:
        return np.zeros(len(candidates))
    own = (draws[candidates.customer] * 2.0**53).astype(np.uint64)
    offer = (candidates.product.astype(np.int64) + 1) * len(KINDS) + candidates.kind
    with np.errstate(over="ignore"):
        bits = own + _GOLDEN * (offer.astype(np.uint64) + np.uint64(1))
        bits = (bits ^ (bits >> np.uint64(30))) * _MIX
        bits = bits ^ (bits >> np.uint64(27))
    return np.asarray((bits >> np.uint64(11)) / 2.0**53, dtype=np.float64)
