"""A campaign's budget: which incentives it pays for over all customers, and what is left for exploration.

    choice without draws -> what is on the slates, with each incentive it could carry -> the allocation (budget.py)
                         -> one incentive each, none, or no offer -> draws around that

Exploration is drawn around what the budget allows, so that the chances in the log are those the draw had, and only
where the budget pays for an incentive: who gets one is up to the budget, which one is explored. What that is expected
to cost, and three standard deviations more, is set aside first; a budget of which it would take more than a quarter,
as of a handful of customers, is not explored with.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints, ranges
from nextoffer.domain.kinds import DROP
from nextoffer.domain.offers import Candidates
from nextoffer.offers.budget import Allocation, Options, allocate_all
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.exploring import draw
from nextoffer.offers.ranking import Choice, decide, drawable

MOST_EXPLORED = 0.25  # of a budget


def decide_within(
    bundle: Bundle, rows: Ints, candidates: Candidates, policy: Policy, context: Context, budget: float
) -> tuple[Choice, Allocation]:
    """`ranking.decide` for a batch that shares a budget: the expected cost of its incentives stays within it.

    Parameters
    ----------
    budget : currency units, ≥ 0

    Returns
    -------
    the choice, and the allocation of what was not pinned: its gap to the best there is, its price of money
    """
    greedy = decide(bundle, rows, candidates, policy, replace(context, draws=None))
    choice, allocation = _afford(greedy, budget)
    if context.draws is None:
        return choice, allocation
    reserve = _reserve(choice)
    if not 0.0 < reserve <= MOST_EXPLORED * budget:
        return choice, allocation
    choice, allocation = _afford(greedy, budget - reserve)
    explored = replace(choice, question=replace(choice.question, context=context))
    return _explored(explored, budget), allocation


def spent(choice: Choice) -> float:
    """The expected cost of the incentives on the slates, in currency units."""
    return float(choice.valued.cost[choice.best[choice.drop < 0]].sum())


def _afford(choice: Choice, budget: float) -> tuple[Choice, Allocation]:
    """The choice with the incentives the budget pays for; what was pinned is paid first."""
    kept = np.flatnonzero(choice.drop < 0)
    option, at = _options(choice, kept)
    pinned = choice.merit[kept] - choice.valued.profit[choice.best[kept]] > 1.0
    first = pinned[at]
    worth = choice.valued.profit[option]
    # what is pinned is shown even where it loses money
    worth = worth + np.where(first, 1.0 - min(worth[first].min(initial=0.0), 0.0), 0.0)
    too_little = ~first & (choice.valued.profit[option] <= choice.question.policy.min_expected_profit)
    worth[too_little | (choice.fails[option] >= 0)] = 0.0
    cost = choice.valued.cost[option]
    forced, chosen = allocate_all(
        [Options(at[which], worth[which], cost[which], budget) for which in (first, ~first)], budget
    )
    taken: Bools = np.zeros(len(option), dtype=bool)
    taken[first], taken[~first] = forced.chosen, chosen.chosen
    best, drop = choice.best.copy(), choice.drop.copy()
    drop[kept] = DROP["budget"]
    drop[kept[at[taken]]] = -1
    best[kept[at[taken]]] = option[taken]
    return _with(choice, best, drop), chosen


def _options(choice: Choice, kept: Ints) -> tuple[Ints, Ints]:
    """(options each of `kept` may carry, position in `kept` of each): none that costs more than the one it has.

    Whatever costs more earns less, or stacking took it away.
    """
    start, count = choice.start[kept], np.diff(choice.start)[kept]
    option, at = ranges(start, count), np.repeat(np.arange(len(kept)), count)
    has = choice.best[kept][at]
    ok = (option == has) | (choice.valued.cost[option] < choice.valued.cost[has])
    return option[ok], at[ok]


def _paid(choice: Choice) -> Bools:
    """(n,) candidates on a slate with an incentive the budget pays for."""
    paid: Bools = (choice.drop < 0) & (choice.valued.cost[choice.best] > 0)
    return paid


def _reserve(choice: Choice) -> float:
    """What drawing is expected to cost beyond what is spent anyway, and three standard deviations more."""
    paid = np.flatnonzero(_paid(choice) & (choice.question.candidates.rule < 0))
    option = ranges(choice.start[paid], np.diff(choice.start)[paid])
    cost = np.where(drawable(choice)[option] < 0, choice.valued.cost[option], 0.0)
    share = choice.question.policy.explore_share
    return float(share * cost.sum() + 3.0 * np.sqrt(share * np.square(cost).sum()))


def _explored(choice: Choice, budget: float) -> Choice:
    """The choice with an incentive drawn for whoever may carry one; draws the budget cannot pay for are undone."""
    drop = np.where(_paid(choice), choice.drop, DROP["budget"])
    drawn = draw(choice.question, choice.start, drawable(choice), choice.valued, choice.best, drop)
    cost, greedy, on_slate = choice.valued.cost, choice.best, choice.drop < 0
    extra = np.where(drawn.nothing, 0.0, cost[drawn.best]) - cost[greedy]
    over = float(cost[greedy[on_slate]].sum() + extra[on_slate].sum()) - budget
    best, explored, drop = drawn.best.copy(), drawn.explored.copy(), choice.drop.copy()
    if over > 0:
        dear = np.flatnonzero((extra > 0) & on_slate)
        dear = dear[np.argsort(-extra[dear], kind="stable")]
        undone = dear[: int(np.searchsorted(np.cumsum(extra[dear]), over)) + 1]
        best[undone], explored[undone] = greedy[undone], False
    drop[on_slate & drawn.nothing] = DROP["explored-nothing"]
    drawn = replace(drawn, best=best, explored=explored)
    return replace(_with(choice, best, drop), drawn=drawn)


def _with(choice: Choice, best: Ints, drop: Ints) -> Choice:
    """The choice with other incentives, ranked by what the offers are worth with them."""
    merit = choice.merit
    if choice.question.policy.order_by != "p_buy":
        merit = merit + (choice.valued.profit[best] - choice.valued.profit[choice.best])
    return replace(choice, best=best, drop=drop, merit=merit)
