"""Every rule of offers.toml judged by itself: who may get it, for whom it is worth it, what it costs and earns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.kinds import DROPS, SLATE_DROPS
from nextoffer.offers.by_hand import Reach, offered
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.ranking import decide

LOOKED_AT = 300_000  # customers × rules that are judged; beyond it each rule by a sample
AT_LEAST = 40  # of the customers of a rule
BLOCK = 20_000
_MADE = np.isin(DROPS, SLATE_DROPS)  # dropped by the slate, not by a rule of eligibility


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What came out for each rule, (n_rules,): customers looked at, eligible, offered; money; (n_rules, drops + 1)."""

    looked_at: Ints
    eligible: Ints
    offered: Ints
    uses: Floats
    cost: Floats
    profit: Floats
    dropped: Ints


def judged_rules(found: Reach, policy: Policy) -> Judged:
    """Every rule by itself: each customer × rule is a batch position of its own, so that no rule stands in another's
    way."""
    n = len(found.rules)
    counts, amounts = np.zeros((3, n), dtype=np.int64), np.zeros((3, n))
    dropped = np.zeros((n, len(DROPS) + 1), dtype=np.int64)
    for rows, at in _blocks(found):
        own = offered(found, rows, np.arange(len(rows)), at)
        choice = decide(found.bundle, rows, own, policy, Context(n=1, max_per_kind=1))
        drop, pair, best = choice.drop, own.customer, choice.best
        made, eligible = drop < 0, np.zeros(len(rows), dtype=bool)
        eligible[pair[made | _MADE[drop]]] = True
        reason = np.full(len(rows), len(DROPS))  # nothing to offer at all
        reason[pair[::-1]] = drop[::-1]
        np.add.at(dropped, (at[~eligible], reason[~eligible]), 1)
        made_of = at[pair[made]]
        for count, which in zip(counts, (at, at[eligible], made_of), strict=True):
            count += np.bincount(which, minlength=n)
        worths = choice.valued.p_offer, choice.valued.cost, choice.valued.profit
        for amount, worth in zip(amounts, worths, strict=True):
            amount += np.bincount(made_of, worth[best[made]], minlength=n)
    looked_at, eligible_of, offered_to = counts
    uses, cost, profit = amounts
    return Judged(looked_at, eligible_of, offered_to, uses, cost, profit, dropped)


def _blocks(found: Reach) -> Iterator[tuple[Ints, Ints]]:
    """(customer rows, rules), a block at a time: of each rule all it reaches, or an even sample."""
    n = len(found.bundle.customer_ids.ids)
    most = max(LOOKED_AT // len(found.rules), AT_LEAST)
    bits = np.ascontiguousarray(found.bits[:n].T)
    rows: list[Ints] = []
    at: list[Ints] = []
    waiting = 0
    for rule, group in enumerate(found.group.tolist()):
        member = np.flatnonzero(bits[group // 8] & (1 << group % 8))
        if len(member) > most:
            member = member[np.arange(most) * len(member) // most]
        rows.append(member)
        at.append(np.full(len(member), rule))
        waiting += len(member)
        if waiting >= BLOCK:
            yield np.concatenate(rows), np.concatenate(at)
            rows, at, waiting = [], [], 0
    if waiting:
        yield np.concatenate(rows), np.concatenate(at)
