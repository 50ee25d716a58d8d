"""Which offers a budget pays for: one price of money for all customers, and never a cent too much.

Each customer takes the option of highest value − λ · cost, or nothing; λ is the lowest price of money at which
the budget suffices (multiple-choice knapsack, Lagrangian relaxation). On the concave frontiers of the customers'
options this is Dantzig's greedy: steps up the frontiers are taken by what they gain for what they cost. That
solves the linear relaxation, so at most the worth of one step is lost; what is left then fills up.

References
----------
Sinha & Zoltners, The multiple-choice knapsack problem, Operations Research 27 (1979) 503-515.
Kellerer, Pferschy & Pisinger, Knapsack Problems, Springer 2004, chapter 11.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.errors import CampaignError

_BITS = 62  # of a packed key (group, cost), and of any sum of costs: int64 without overflow


@dataclass(frozen=True, slots=True, eq=False)
class Allocation:
    """What a budget buys, in the unit of money of the options.

    Parameters
    ----------
    chosen : (n,) options taken, at most one of each group
    spent : their costs, rounded up, never above the budget
    value : what they earn
    bound : no choice within the budget earns more (the Lagrangian dual at `multiplier`)
    multiplier : the price of money λ, what the last unit of budget earned; 0 if the budget binds nobody
    paid : groups that got an option with a cost
    """

    chosen: Bools
    spent: float
    value: float
    bound: float
    multiplier: float
    paid: int

    @property
    def gap(self) -> float:
        """The share of the bound that was missed at most, 0 to 1."""
        return 1.0 - self.value / self.bound if self.bound > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Options:
    """What one campaign may do, as `allocate` takes it; `group` holds positions of customers."""

    group: Ints
    value: Floats
    cost: Floats
    budget: float = math.inf


def allocate(group: Ints, value: Floats, cost: Floats, budget: float) -> Allocation:
    """The options worth most that the budget pays for; nothing (value 0, cost 0) is always allowed.

    Parameters
    ----------
    group : (n,) integers, whose option it is; at most one of each group is taken
    value : (n,) what it earns; an option of no, negative or unknown (NaN) value is never taken
    cost : (n,) ≥ 0, expected cost of its incentive; infinite or unknown = never taken
    budget : ≥ 0; infinite = no limit

    All money is in one unit. Minor units are best: whole amounts are then exact. Costs are counted as integers of
    a fine binary unit, each rounded up and the budget down, so that the true sum never exceeds it. Ties go to
    the lower group, then the earlier row. O(n log n).

    Raises
    ------
    CampaignError : a negative or unknown budget, or a negative cost

    >>> taken = allocate(np.array([0, 0, 1]), np.array([5.0, 8.0, 4.0]), np.array([1.0, 3.0, 1.0]), 3.0)
    >>> taken.chosen.tolist(), taken.spent, taken.value, taken.bound, taken.multiplier
    ([True, False, True], 2.0, 9.0, 10.5, 1.5)
    """
    value, cost = np.asarray(value, np.float64), np.asarray(cost, np.float64)
    if not budget >= 0:
        raise CampaignError(f"a budget must be 0 or more, but it is {budget}; 0 gives nothing away")
    if len(below := np.flatnonzero(cost < 0)):
        at = int(below[0])
        raise CampaignError(f"an incentive cannot cost less than nothing: option {at} costs {cost[at]}")
    chosen: Bools = np.zeros(len(value), dtype=bool)
    usable = np.flatnonzero((value > 0) & (value < np.inf) & (cost <= budget) & (cost < np.inf))
    if not len(usable):
        return Allocation(chosen, 0.0, 0.0, 0.0, 0.0, 0)
    ladders = _ladders(np.asarray(group)[usable], value[usable], cost[usable])
    limit = ladders.units(budget)
    held, rate = _climb(ladders, limit)
    if rate > 0:
        worth = np.where(ladders.cost <= limit, ladders.value, 0.0)
        if worth.max() > ladders.value[held].sum():  # small steps must not keep out what outweighs them all
            held = np.array([worth.argmax()])
        held = _fill(ladders, held, limit)
    chosen[usable[ladders.row[held]]] = True
    total, price = float(ladders.value[held].sum()), math.ldexp(rate, ladders.exponent)
    dual = _dual(ladders, cost[usable[ladders.row]], budget, price)
    spent = _up(Fraction(int(ladders.cost[held].sum())) / Fraction(2) ** ladders.exponent)
    return Allocation(chosen, spent, total, max(dual, total), price, int((ladders.cost[held] > 0).sum()))


def allocate_all(
    campaigns: Sequence[Options], budget: float = math.inf, room: Ints | None = None
) -> tuple[Allocation, ...]:
    """Campaigns in order of priority: each spends what its own and the common budget leave it.

    Parameters
    ----------
    campaigns : the most important first
    budget : for all of them together
    room : (n_customers,) messages each customer may still be sent; being chosen takes one, and a customer without
        room is passed over. None = no cap.
    """
    free = None if room is None else np.array(room, dtype=np.int64)
    made: list[Allocation] = []
    for options in campaigns:
        value = options.value if free is None else np.where(free[options.group] > 0, options.value, 0.0)
        made.append(allocate(options.group, value, options.cost, min(options.budget, budget)))
        if budget < math.inf:
            budget = _down(Fraction(budget) - Fraction(made[-1].spent))
        if free is not None:
            free[options.group[made[-1].chosen]] -= 1
    return tuple(made)


@dataclass(frozen=True, slots=True, eq=False)
class _Ladders:
    """Options sorted by group, cost, row; `cost` is whole units of 2^−exponent, rounded up; `code` 0, 1, 2, …"""

    row: Ints
    code: Ints
    value: Floats
    cost: Ints
    exponent: int

    def units(self, budget: float) -> int:
        """How many whole units of cost a budget holds."""
        if budget == math.inf:
            return 1 << _BITS
        return min(1 << _BITS, math.floor(Fraction(budget) * Fraction(2) ** self.exponent))


def _ladders(group: Ints, value: Floats, cost: Floats) -> _Ladders:
    """Sorted by one packed integer; the unit is the finest that leaves room for the groups (at most 2^−40)."""
    if (group[1:] < group[:-1]).any():
        code = np.unique(group, return_inverse=True)[1]
    else:
        code = np.zeros(len(group), np.int64)
        np.cumsum(group[1:] != group[:-1], out=code[1:])
    width = _BITS - (int(code.max()) + 1).bit_length()
    exponent = min(40, width - 1 - math.frexp(float(cost.max()))[1])
    units = np.ceil(np.ldexp(cost, exponent)).astype(np.int64)
    row = np.argsort(code << width | units, kind="stable")
    return _Ladders(row, code[row], value[row], units[row], exponent)


def _climb(ladders: _Ladders, limit: int) -> tuple[Ints, float]:
    """(option each group holds, gain for a unit of cost below which no step was taken), the linear greedy."""
    step, rate, extra = _frontiers(ladders)
    taken, price = _within(rate, extra, limit)
    step = step[taken]  # of each group the lowest steps, since rates fall along a frontier
    return step[_last(ladders.code[step])], price


def _frontiers(ladders: _Ladders) -> tuple[Ints, Floats, Ints]:
    """Steps of each group's concave frontier: option reached, gain for its cost (falling), extra cost.

    A point whose rate from the one before is no higher than the next one's lies below their chord. Dropping all
    such points at once, until there is none, is right: each of them is below two points that were there.
    """
    step = np.arange(len(ladders.row))
    while True:
        code, value, cost = ladders.code[step], ladders.value[step], ladders.cost[step]
        gain, extra, rate = _steps(code, value, cost)
        keep = (gain > 0) & (_last(code) | (rate > np.append(rate[1:], 0.0)))
        if keep.all():
            return step, rate, extra
        step = step[keep]


def _steps(code: Ints, value: Floats, cost: Ints) -> tuple[Floats, Ints, Floats]:
    """(gain, extra cost, gain for cost) of each point over the one before it in its group, else over nothing."""
    same = code[1:] == code[:-1]
    gain, extra = value.copy(), cost.copy()
    gain[1:] -= np.where(same, value[:-1], 0.0)
    extra[1:] -= np.where(same, cost[:-1], 0)
    return gain, extra, _rate(gain, extra)


def _rate(gain: Floats, extra: Ints) -> Floats:
    """Gain for a unit of cost: infinite for a gain that costs nothing, 0 where there is no gain."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(gain > 0, gain / extra, 0.0)


def _within(rate: Floats, extra: Ints, limit: int) -> tuple[Bools, float]:
    """Steps of highest rate whose costs stay within the limit, and the rate of the first that does not fit.

    The critical rate is looked for among ever fewer steps, those on one side of the middle: O(n), no sort.
    """
    taken: Bools = np.zeros(len(rate), dtype=bool)
    open_ = np.arange(len(rate))
    while len(open_):
        rates = rate[open_]
        pivot = np.partition(rates, len(rates) // 2)[len(rates) // 2]
        above = open_[rates > pivot]
        if int(extra[above].sum()) > limit:
            open_ = above
            continue
        equal = open_[rates == pivot]
        spent = int(extra[above].sum()) + np.cumsum(extra[equal])
        fits = spent <= limit
        taken[above] = taken[equal[fits]] = True
        if not fits.all():
            return taken, float(pivot)
        limit -= int(spent[-1])
        open_ = open_[rates < pivot]
    return taken, 0.0


def _fill(ladders: _Ladders, held: Ints, limit: int) -> Ints:
    """Spend what is left: in rounds, each group's best exchange for what it holds, as far as money goes.

    What is out of reach once stays so: the rest shrinks at least as much as any exchange gets cheaper.
    """
    n_groups = int(ladders.code[-1]) + 1
    best, value, cost = np.full(n_groups, -1), np.zeros(n_groups), np.zeros(n_groups, np.int64)
    whose = ladders.code[held]
    best[whose], value[whose], cost[whose] = held, ladders.value[held], ladders.cost[held]
    rest = limit - int(cost.sum())
    better = ladders.value > value[ladders.code]
    open_ = np.flatnonzero(better & (ladders.cost - cost[ladders.code] <= rest))
    while len(open_):
        code = ladders.code[open_]
        gain, extra = ladders.value[open_] - value[code], ladders.cost[open_] - cost[code]
        reach = (gain > 0) & (extra <= rest)
        if not reach.any():
            break
        open_, code, gain, extra = open_[reach], code[reach], gain[reach], extra[reach]
        rate = _rate(gain, extra)
        at = _first_best(code, rate)
        at = at[_within(rate[at], extra[at], rest)[0]]
        row, whose = open_[at], code[at]
        best[whose], value[whose], cost[whose] = row, ladders.value[row], ladders.cost[row]
        rest -= int(extra[at].sum())
    return best[best >= 0]


def _first_best(code: Ints, rate: Floats) -> Ints:
    """The first row of the highest rate in each run of equal codes."""
    starts = np.flatnonzero(_first(code))
    top = np.repeat(np.maximum.reduceat(rate, starts), np.diff(np.append(starts, len(code))))
    at = np.flatnonzero(rate == top)
    return at[_first(code[at])]


def _first(code: Ints) -> Bools:
    """Where runs of equal codes begin."""
    first: Bools = np.ones(len(code), dtype=bool)
    np.not_equal(code[1:], code[:-1], out=first[1:])
    return first


def _last(code: Ints) -> Bools:
    """Where runs of equal codes end."""
    return _first(code[::-1])[::-1]


def _dual(ladders: _Ladders, cost: Floats, budget: float, price: float) -> float:
    """The Lagrangian bound: everyone takes what is best when money has this price, and the budget is worth it."""
    reduced = np.maximum(ladders.value - price * cost, 0.0)
    best = np.maximum.reduceat(reduced, np.flatnonzero(_first(ladders.code)))
    return float(best.sum()) + (price * budget if price > 0 else 0.0)


def _up(exact: Fraction) -> float:
    """The least float that is no smaller."""
    near = float(exact)
    return near if near >= exact else math.nextafter(near, math.inf)


def _down(exact: Fraction) -> float:
    """The greatest float that is no larger."""
    return -_up(-exact)
