"""Exploration of the depth of discounts: every allowed incentive, and no offer, keep a chance that is logged.

Without it nobody could learn later which depth was needed: offers that are never varied explain nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints, ranges
from nextoffer.domain.kinds import KINDS
from nextoffer.domain.menu import MILLION
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

    The best option (no offer, where none is worth the least that is asked) gets what the others leave: `explore_share`
    each, or less where there are so many that the best would get less than they.
    """
    n, count = len(best), np.diff(start)
    explored = (drop < 0) & (count > 1) & (q.candidates.rule < 0)
    rows = np.flatnonzero(explored)
    option, at = ranges(start[rows], count[rows]), np.repeat(np.arange(len(rows)), count[rows])
    allowed = fails[option] < 0
    n_allowed = np.bincount(at[allowed], minlength=len(rows))
    # whole millionths add up exactly, whoever else is in the batch
    share = np.minimum(round(MILLION * q.policy.explore_share), MILLION // (n_allowed + 2))
    worth = valued.profit[best[rows]] > q.policy.min_expected_profit
    rest = np.where(worth, MILLION - share * (n_allowed + 1), 0)
    chance = np.where(allowed, share[at], 0) + np.where(option == best[rows][at], rest[at], 0)
    until = np.cumsum(chance)
    first = np.cumsum(count[rows]) - count[rows]
    base = until[first] - chance[first]
    u = np.floor(_uniform(q, rows) * MILLION).astype(np.int64)
    hit = np.flatnonzero((u[at] >= until - chance - base[at]) & (u[at] < until - base[at]))
    chosen, nothing, propensity = best.copy(), explored.copy(), np.ones(n)
    chosen[rows[at[hit]]], nothing[rows[at[hit]]] = option[hit], False
    propensity[rows] = 1.0 - np.bincount(at, chance, minlength=len(rows)) / MILLION  # of no offer
    propensity[rows[at[hit]]] = chance[hit] / MILLION
    chances = np.zeros(len(fails))
    chances[option] = chance / MILLION
    return Drawn(chosen, nothing, propensity, explored, chances)


def _uniform(q: Question, rows: Ints) -> Floats:
    """(r,) in [0, 1): the customer's draw, another number for each kind and product (splitmix64's mixer)."""
    draws, candidates = q.context.draws, q.candidates
    if draws is None:
        return np.zeros(len(rows))
    own = (draws[candidates.customer[rows]] * 2.0**53).astype(np.uint64)
    offer = (candidates.product[rows].astype(np.int64) + 1) * len(KINDS) + candidates.kind[rows]
    with np.errstate(over="ignore"):
        bits = own + _GOLDEN * (offer.astype(np.uint64) + np.uint64(1))
        bits = (bits ^ (bits >> np.uint64(30))) * _MIX
        bits = bits ^ (bits >> np.uint64(27))
    return np.asarray((bits >> np.uint64(11)) / 2.0**53, dtype=np.float64)
