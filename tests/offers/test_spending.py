"""A shared budget: never exceeded, worth as much as brute force finds, and explored with chances that are true."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextoffer.config import IncentiveTerms
from nextoffer.domain.kinds import DROP
from nextoffer.domain.offers import Candidates
from nextoffer.offers.choosing import ByHand, Context, Policy
from nextoffer.offers.display import propensities
from nextoffer.offers.ranking import Choice, decide, slates_of
from nextoffer.offers.spending import decide_within, spent

KINDS = ("for_you", "cross_sell", "replenishment", "up_sell", "win_back")
LEVELS = {
    f"p{percent}": IncentiveTerms(type="percent", value=Decimal(percent), kinds=KINDS)
    for percent in (5, 10, 15)
}


@pytest.fixture(scope="module")
def policy(small_shop_learned: Any) -> Policy:
    shop = small_shop_learned.settings
    return Policy.of(shop.model_copy(update={"incentives": LEVELS}))


@pytest.fixture(scope="module")
def free(small_shop_learned: Any, policy: Policy) -> Choice:
    return decided(small_shop_learned.bundle, policy, Context(n=2, contact=True))


def decided(bundle: Any, policy: Policy, context: Context, budget: float | None = None) -> Choice:
    rows = np.arange(len(bundle.customer_ids.ids))
    candidates: Candidates = bundle.candidates.batch(rows)
    if budget is None:
        return decide(bundle, rows, candidates, policy, context)
    return decide_within(bundle, rows, candidates, policy, context, budget)[0]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(share=st.floats(0, 1.5), seed=st.integers(0, 1000), explore=st.booleans(), stacking=st.integers(0, 2))
def test_the_incentives_never_cost_more_than_the_budget(
    small_shop_learned: Any,
    policy: Policy,
    free: Choice,
    share: float,
    seed: int,
    explore: bool,
    stacking: int,
):
    bundle = small_shop_learned.bundle
    policy = replace(policy, stacking=("best-of", "exclusive", "additive")[stacking])
    draws = np.random.default_rng(seed).random(len(bundle.customer_ids.ids))
    budget = share * spent(free)
    choice = decided(bundle, policy, Context(n=2, contact=True, draws=draws if explore else None), budget)
    slates = slates_of(choice)

    assert spent(choice) == pytest.approx(float(slates.cost.sum()))
    assert slates.cost.sum() <= budget + 1e-9
    assert (np.bincount(slates.customer) <= 2).all()
    if stacking == 1:
        assert (np.bincount(slates.customer[slates.incentive > 0], minlength=1) <= 1).all()
    assert np.allclose(slates.terms.sum(axis=1), slates.expected_profit)
    if not explore:
        ranked = np.lexsort((slates.rank, slates.customer))
        same = np.diff(slates.customer[ranked]) == 0
        assert (np.diff(slates.expected_profit[ranked])[same] <= 1e-12).all()


def test_a_budget_that_binds_nobody_changes_nothing_and_0_gives_nothing_away(
    small_shop_learned: Any, policy: Policy, free: Choice
):
    bundle, context = small_shop_learned.bundle, Context(n=2, contact=True)
    ample = slates_of(decided(bundle, policy, context, 1e6))
    plain = slates_of(decided(bundle, policy, context, 0.0))
    whole = slates_of(free)

    for name in ("customer", "product", "incentive", "expected_profit"):
        assert np.array_equal(getattr(ample, name), getattr(whole, name))
    assert (plain.incentive == 0).all() and len(plain) > 0
    assert (whole.incentive > 0).any()


def test_half_the_budget_earns_more_than_half_and_what_it_drops_is_told(
    small_shop_learned: Any, policy: Policy, free: Choice
):
    bundle, context = small_shop_learned.bundle, Context(n=2, contact=True)
    plain, whole = decided(bundle, policy, context, 0.0), slates_of(free).expected_profit.sum()
    half = decided(bundle, policy, context, spent(free) / 2)
    none = slates_of(plain).expected_profit.sum()

    assert slates_of(half).expected_profit.sum() - none > (whole - none) / 2
    lost = (plain.drop == DROP["budget"]).sum() + (plain.drop < 0).sum()
    assert lost == (free.drop < 0).sum()


def test_of_a_few_customers_the_choice_is_worth_what_brute_force_finds(
    small_shop_learned: Any, policy: Policy
):
    bundle, context = small_shop_learned.bundle, Context(n=1, contact=True)
    rows = np.arange(7)
    candidates = bundle.candidates.batch(rows)
    greedy = decide(bundle, rows, candidates, policy, context)
    kept = np.flatnonzero(greedy.drop < 0)
    for share in (0.2, 0.5, 0.8):
        budget = share * spent(greedy)
        choice, allocation = decide_within(bundle, rows, candidates, policy, context, budget)
        options = [
            [(0.0, 0.0)]
            + [
                (float(greedy.valued.profit[o]), float(greedy.valued.cost[o]))
                for o in range(greedy.start[c], greedy.start[c + 1])
                if greedy.fails[o] < 0
            ]
            for c in kept.tolist()
        ]
        best = max(
            sum(value for value, _ in chosen)
            for chosen in product(*options)
            if sum(cost for _, cost in chosen) <= budget
        )
        worth = slates_of(choice).expected_profit.sum()
        assert worth <= best + 1e-9
        assert best <= allocation.bound + 1e-9
        assert worth >= 0.97 * best


def test_chances_logged_are_those_of_the_draw(small_shop_learned: Any, policy: Policy, free: Choice):
    bundle = small_shop_learned.bundle
    n, budget = len(bundle.customer_ids.ids), 0.9 * spent(free)
    policy = replace(policy, explore_share=0.01)
    shown, counted, repeats = {}, {}, 100
    for seed in range(repeats):
        draws = np.random.default_rng(seed).random(n)
        choice = decided(bundle, policy, Context(n=2, contact=True, draws=draws), budget)
        assert choice.drawn is not None
        for at in np.flatnonzero(choice.drawn.explored).tolist()[:40]:
            key = at, "nothing" if choice.drop[at] >= 0 else int(choice.option.incentive[choice.best[at]])
            counted[key] = counted.get(key, 0) + 1
        if not shown:
            for at in np.flatnonzero(choice.drawn.explored).tolist()[:40]:
                for option in range(choice.start[at], choice.start[at + 1]):
                    shown[at, int(choice.option.incentive[option])] = float(choice.drawn.chances[option])
    total = repeats * 40
    for level in range(4):
        expected = sum(chance for (_, incentive), chance in shown.items() if incentive == level) / 40
        seen = sum(n for (_, incentive), n in counted.items() if incentive == level) / total
        assert seen == pytest.approx(expected, abs=5 * np.sqrt(expected * (1 - expected) / total) + 1e-3)
    assert sum(n for (_, incentive), n in counted.items() if incentive == "nothing") / total == pytest.approx(
        0.01, abs=0.006
    )


def test_a_budget_too_small_to_explore_with_is_not_explored_with(small_shop_learned: Any, policy: Policy):
    bundle = small_shop_learned.bundle
    draws = np.random.default_rng(1).random(len(bundle.customer_ids.ids))
    choice = decided(bundle, policy, Context(n=2, contact=True, draws=draws), 0.001)

    assert choice.drawn is None
    assert propensities(choice, len(draws)) == [None] * len(draws)


def test_what_the_budget_leaves_is_worth_the_least_that_is_asked(small_shop_learned: Any, policy: Policy):
    policy, context = replace(policy, min_expected_profit=0.05), Context(n=3)
    free = decided(small_shop_learned.bundle, policy, context)
    slates = slates_of(decided(small_shop_learned.bundle, policy, context, spent(free) * 0.3))

    assert len(slates) and slates.expected_profit.min() > 0.05


def test_what_the_marketer_pinned_is_paid_first(small_shop_learned: Any, policy: Policy):
    bundle, context = small_shop_learned.bundle, Context(n=3, contact=True)
    rows = np.arange(40)
    learned = bundle.candidates.batch(rows)
    own = learned.take(np.flatnonzero(np.diff(learned.customer, prepend=-1) > 0))
    own = replace(own, rule=np.zeros(len(own), np.int16))
    candidates = Candidates.concat([learned, own])
    rules = ByHand(("spring",), np.array([policy.menu.name.index("p15")]), np.array([True]), np.array([1]))
    policy = replace(policy, rules=rules)
    whole = decide(bundle, rows, candidates, policy, context)
    pinned = (whole.question.candidates.rule >= 0) & (whole.drop < 0)
    need = float(whole.valued.cost[whole.best[pinned]].sum())
    choice, _ = decide_within(bundle, rows, candidates, policy, context, need * 1.0001)

    assert ((choice.question.candidates.rule >= 0) & (choice.drop < 0)).sum() == pinned.sum() > 0
    assert spent(choice) <= need * 1.0001
