"""A budget is never exceeded, and little is lost by it: against all choices, and an exact solver of others."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from scipy.optimize import LinearConstraint, milp

from nextoffer.errors import CampaignError
from nextoffer.offers.budget import Allocation, Options, allocate, allocate_all

money = st.floats(0, 1e6, allow_subnormal=False) | st.sampled_from([0.0, 0.1, 0.3, 1.0, 2.0, 10.0])
worth = money | st.floats(-100, 0) | st.just(math.nan) | st.just(math.inf)
options = st.lists(
    st.tuples(st.integers(0, 4), worth, money | st.just(math.nan) | st.just(math.inf)), max_size=9
)
budgets = money | st.just(math.inf)


def columns(rows: list[tuple[int, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = list(zip(*rows, strict=True)) or [(), (), ()]
    return np.array(table[0], dtype=np.int64), np.array(table[1], float), np.array(table[2], float)


def exact(amounts: Any) -> Fraction:
    return sum((Fraction(float(amount)) for amount in amounts), Fraction(0))


def best_of_all(group: np.ndarray, value: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """The most any choice can earn, by trying each: exact rational arithmetic."""
    rows_of = [
        [None, *(i for i in range(len(group)) if group[i] == g and value[i] > 0 and cost[i] < math.inf)]
        for g in sorted(set(group.tolist()))
    ]
    most = 0.0
    for choice in product(*rows_of):
        taken = [i for i in choice if i is not None and value[i] < math.inf]
        if budget == math.inf or exact(cost[taken]) <= Fraction(budget):
            most = max(most, float(value[taken].sum()))
    return most


def largest_step(group: np.ndarray, value: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """No step along a group's frontier gains more than its best affordable option."""
    fit = (value > 0) & (value < math.inf) & (cost <= budget) & (cost < math.inf)
    return float(value[fit].max(initial=0.0))


@limits(max_examples=300)
@given(rows=options, budget=budgets)
@example(rows=[(0, 1.0, 0.1), (1, 1.0, 0.1), (2, 1.0, 0.1)], budget=0.3)  # 0.1 + 0.1 + 0.1 > 0.3 in binary
@example(rows=[(0, 5.0, 1e6), (0, 1.0, 1e-7), (1, 1.0, 1e-7)], budget=1e-7)
def test_the_choice_keeps_every_promise(rows: list[tuple[int, float, float]], budget: float) -> None:
    group, value, cost = columns(rows)

    made = allocate(group, value, cost, budget)

    taken = np.flatnonzero(made.chosen)
    assert len(set(group[taken].tolist())) == len(taken)
    assert (value[taken] > 0).all() and np.isfinite(value[taken]).all()
    spent = exact(cost[taken])
    if budget < math.inf:
        assert spent <= Fraction(made.spent) <= Fraction(budget)
    assert made.spent == pytest.approx(float(spent), abs=1e-5 * len(taken))
    assert made.value == pytest.approx(value[taken].sum())
    assert made.paid == (cost[taken] > 0).sum()
    best = best_of_all(group, value, cost, budget)
    slack = 1e-9 * max(best, 1.0)
    assert made.value <= best + slack
    assert best <= made.bound + slack
    assert 0.0 <= made.gap <= 1.0


@limits(max_examples=200)
@given(seed=st.integers(0, 2**32 - 1), whole=st.booleans())
def test_at_most_one_step_is_lost_and_never_more_than_half(seed: int, whole: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 9))
    group, value, cost = rng.integers(0, 4, n), rng.gamma(1.0, 5.0, n), rng.gamma(1.0, 4.0, n)
    if whole:  # many ties
        value, cost = value.round(), cost.round()
    budget = float(rng.integers(0, 25))

    made = allocate(group, value, cost, budget)

    best = best_of_all(group, value, cost, budget)
    assert made.value >= made.bound - largest_step(group, value, cost, budget) - 1e-9
    assert made.value >= best / 2 - 1e-9


@pytest.mark.parametrize("seed", range(6))
def test_an_exact_solver_finds_hardly_more(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, each = 60, 4
    group = rng.permutation(np.repeat(np.arange(n), each))
    value, cost = rng.gamma(1.0, 5.0, n * each), rng.gamma(1.0, 4.0, n * each).round(2)
    budget = float(cost.sum() / each / 4)
    one_each = (group[None, :] == np.arange(n)[:, None]).astype(float)
    constraints = [LinearConstraint(one_each, ub=1), LinearConstraint(cost[None, :], ub=budget)]

    found = milp(-value, constraints=constraints, integrality=np.ones(len(value)), bounds=(0, 1))
    made = allocate(group, value, cost, budget)

    assert -found.fun * 0.995 <= made.value <= -found.fun + 1e-6
    assert made.bound >= -found.fun - 1e-6
    assert made.spent > 0.99 * budget  # what is left is filled up


def test_the_multiplier_is_the_price_at_which_the_money_runs_out() -> None:
    """One option each, every cost 1: the twentieth best value is the last one paid."""
    value = np.random.default_rng(0).permutation(np.arange(1.0, 101.0))

    made = allocate(np.arange(100), value, np.ones(100), 20.0)

    assert set(value[made.chosen]) == set(range(81, 101))
    assert (made.multiplier, made.spent, made.paid, made.gap) == (80.0, 20.0, 20, 0.0)


def test_a_dearer_level_is_paid_only_where_it_earns_its_extra_cost() -> None:
    # the second step earns 4 for 2; 3 for 2; 1 for 2
    group = np.array([0, 0, 1, 1, 2, 2])
    value = np.array([5.0, 9.0, 5.0, 8.0, 5.0, 6.0])
    cost = np.array([1.0, 3.0, 1.0, 3.0, 1.0, 3.0])

    assert allocate(group, value, cost, 3.0).chosen.tolist() == [True, False] * 3
    assert allocate(group, value, cost, 5.0).chosen.tolist() == [False, True, True, False, True, False]
    assert allocate(group, value, cost, 7.0).chosen.tolist() == [False, True, False, True, True, False]
    assert allocate(group, value, cost, 9.0).chosen.tolist() == [False, True] * 3


def test_a_giant_option_is_not_kept_out_by_small_change() -> None:
    """Small change has the better rate, but with it there is no money for what counts."""
    group = np.arange(6)
    value, cost = np.array([2.0] * 5 + [1000.0]), np.array([1.0] * 5 + [1000.0])

    made = allocate(group, value, cost, 1000.0)
    beyond = allocate(group, value, cost, 999.0)

    assert made.chosen.tolist() == [False] * 5 + [True]
    assert beyond.chosen.tolist() == [True] * 5 + [False]
    assert (beyond.bound, beyond.gap) == (10.0, 0.0)  # what no budget pays for is not in the bound


def test_a_cheap_option_that_was_no_step_still_uses_the_rest() -> None:
    group, value, cost = np.array([0, 1, 1]), np.array([10.0, 1.0, 10.0]), np.array([1.0, 1.0, 2.0])

    made = allocate(group, value, cost, 2.0)

    assert made.chosen.tolist() == [True, True, False]


def test_of_equals_the_earlier_are_paid() -> None:
    made = allocate(np.arange(10), np.full(10, 2.0), np.full(10, 3.0), 14.0)

    assert made.chosen.tolist() == [True] * 4 + [False] * 6
    of_one = allocate(np.zeros(3, int), np.full(3, 2.0), np.full(3, 3.0), 14.0)
    assert of_one.chosen.tolist() == [True, False, False]


@pytest.mark.parametrize("budget", [0.0, 5.0, math.inf])
def test_what_costs_nothing_is_taken_whatever_the_budget(budget: float) -> None:
    group, value, cost = np.array([0, 0, 1]), np.array([3.0, 2.0, -1.0]), np.zeros(3)

    made = allocate(group, value, cost, budget)

    assert made.chosen.tolist() == [True, False, False]
    assert (made.spent, made.paid, made.multiplier, made.gap) == (0.0, 0, 0.0, 0.0)


def test_without_a_limit_everyone_gets_what_is_worth_most() -> None:
    rng = np.random.default_rng(1)
    group, value, cost = rng.integers(0, 500, 3000), rng.normal(0, 1, 3000), rng.gamma(1.0, 1.0, 3000)

    made = allocate(group, value, cost, math.inf)

    best = np.zeros(500)
    np.maximum.at(best, group, value)
    assert made.value == pytest.approx(best.sum())
    assert made.paid == (best > 0).sum()
    assert made.multiplier == 0.0 and made.gap < 1e-12


def test_nothing_to_choose_from_spends_nothing() -> None:
    none = np.zeros(0)
    nothing = Allocation(np.zeros(0, bool), 0.0, 0.0, 0.0, 0.0, 0)

    made = allocate(np.zeros(0, int), none, none, 10.0)

    assert (len(made.chosen), made.spent, made.value, made.bound, made.gap) == (0, 0.0, 0.0, 0.0, nothing.gap)
    assert not allocate(np.arange(2), np.array([math.nan, -1.0]), np.ones(2), 10.0).chosen.any()


@pytest.mark.parametrize(
    ("budget", "cost", "message"),
    [
        (-1.0, 1.0, "budget must be 0 or more, but it is -1.0"),
        (math.nan, 1.0, "budget must be 0 or more, but it is nan"),
        (5.0, -0.5, "option 1 costs -0.5"),
    ],
)
def test_impossible_money_is_one_clear_message(budget: float, cost: float, message: str) -> None:
    with pytest.raises(CampaignError, match=message):
        allocate(np.arange(2), np.ones(2), np.array([1.0, cost]), budget)


@limits(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_many_customers_are_paid_to_within_one_step_of_the_bound(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 3000
    group = rng.integers(0, 1000, n) * 7 - 3000
    value, cost = rng.lognormal(2, 1, n) - 3.0, rng.lognormal(1, 2, n) * (rng.random(n) < 0.8)
    budget = float(cost.sum() * rng.uniform(0, 0.3))
    order = rng.permutation(n)

    made = allocate(group, value, cost, budget)
    shuffled = allocate(group[order], value[order], cost[order], budget)

    assert exact(cost[made.chosen]) <= Fraction(budget)
    assert made.value >= made.bound - largest_step(group, value, cost, budget) - 1e-6
    assert made.gap < 0.01
    assert (
        shuffled.chosen == made.chosen[order]
    ).all()  # no two rows are alike, so their order is irrelevant


def test_a_campaign_of_priority_spends_first_and_the_rest_what_is_left() -> None:
    customers = np.arange(4)
    first = Options(customers, np.array([4.0, 3.0, 2.0, 1.0]), np.full(4, 2.0), budget=5.0)
    second = Options(customers, np.array([10.0, 20.0, 30.0, 40.0]), np.full(4, 3.0))

    made = allocate_all([first, second], budget=10.0)

    assert [each.chosen.tolist() for each in made] == [[True, True, False, False], [False, False, True, True]]
    assert [each.spent for each in made] == [4.0, 6.0]


def test_a_customer_gets_no_more_messages_than_there_is_room_for() -> None:
    customers, free = np.arange(4), np.zeros(4)
    campaigns = [Options(customers, np.ones(4), free) for _ in range(3)]
    room = np.array([0, 1, 2, 9])

    made = allocate_all(campaigns, room=room)

    assert sum(each.chosen.astype(int) for each in made).tolist() == [0, 1, 2, 3]  # type: ignore[union-attr]
    assert made[0].chosen.tolist() == [False, True, True, True]
    assert room.tolist() == [0, 1, 2, 9]  # the caller's own stays
    masked = allocate_all(campaigns, room=np.array([True, False, True, True]))
    assert sum(each.chosen.astype(int) for each in masked).tolist() == [1, 0, 1, 1]  # type: ignore[union-attr]


@limits(max_examples=100)
@given(
    rows=st.lists(options, max_size=4),
    own=st.lists(budgets, min_size=4, max_size=4),
    budget=budgets,
    seed=st.integers(0, 999),
)
def test_campaigns_together_stay_within_both_budgets(
    rows: list[list[tuple[int, float, float]]], own: list[float], budget: float, seed: int
) -> None:
    room = np.random.default_rng(seed).integers(0, 3, 5)
    campaigns = [Options(*columns(each), limit) for each, limit in zip(rows, own, strict=False)]

    made = allocate_all(campaigns, budget, room)

    spent = [exact(options.cost[each.chosen]) for options, each in zip(campaigns, made, strict=True)]
    for options, each in zip(campaigns, spent, strict=True):
        assert options.budget == math.inf or each <= Fraction(options.budget)
    assert budget == math.inf or sum(spent) <= Fraction(budget)
    sent = np.zeros(5, int)
    for options, each in zip(campaigns, made, strict=True):
        np.add.at(sent, options.group[each.chosen], 1)
    assert (sent <= room).all()
