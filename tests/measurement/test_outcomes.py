"""Outcomes against a count by hand: who is counted, from when until when, what of it is profit."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measurement.tables import (
    END,
    SHARE,
    START,
    assigned,
    decided,
    happened,
    linked,
    live,
    offer,
    opened,
    shop_lines,
)

from nextoffer.config import Campaign, Trial
from nextoffer.measurement.costs import Costs
from nextoffer.measurement.outcomes import METRICS, OF_A_CATEGORY, Look, Observed, observe, window_of
from nextoffer.measurement.records import WINDOW_DAYS

PERMANENT = Look("e", 1, START, END, before_days=10)
TRIAL = Look("e", 1, START, END, window_days=7, before_days=10)
UNITS = ["ann", "bob", "cat", "dan", "eve"]


def seen(look: Look, **tables: Any) -> Observed:
    with opened(**tables) as records:
        return observe(records, look)


def order(number: int, customer: str | None, at: float, revenue: int, cost: int | None = 0) -> dict[str, Any]:
    return {
        "order_id": f"o{number}",
        "customer_id": customer,
        "ordered_at": at,
        "revenue": revenue,
        "cost": cost,
    }


DAYS = st.sampled_from([-17, -10, -7, 0, 7, 14, 21, 28])  # so that moments often fall on the ends of windows


@st.composite
def shops(draw: st.DrawFn) -> tuple[dict[str, tuple[str, int]], list[dict[str, Any]]]:
    groups = {
        unit: (draw(st.sampled_from(["treated", "holdout"])), draw(DAYS))
        for unit in draw(st.lists(st.sampled_from(UNITS), unique=True))
    }
    drawn = draw(
        st.lists(
            st.tuples(st.sampled_from([*UNITS, None]), DAYS, st.integers(-50, 900)),
            min_size=10,
            max_size=40,
        )
    )
    return groups, [order(number, *row) for number, row in enumerate(drawn)]


@pytest.mark.parametrize("look", [PERMANENT, TRIAL, replace(PERMANENT, before_days=0)])
@settings(max_examples=8, deadline=None)
@given(shop=shops())
def test_outcomes_are_what_one_would_count_by_hand(
    look: Look, shop: tuple[dict[str, tuple[str, int]], list[dict[str, Any]]]
) -> None:
    groups, orders = shop
    rows = [{"unit_id": unit, "group": group, "assigned_at": at} for unit, (group, at) in groups.items()]
    last, expected, n_open, early = 28, {}, 0, 0
    sizes = [0, 0]
    for unit, (group, at) in sorted(groups.items()):
        starts, ends = (max(at, 0), last) if look.window_days is None else (at, at + look.window_days)
        if at >= last or (look.window_days is not None and at < 0):
            continue
        if ends > last:
            n_open += 1
            continue
        sizes[group == "holdout"] += 1
        own = [one for one in orders if one["customer_id"] == unit]
        now = [one["revenue"] for one in own if starts <= one["ordered_at"] < ends]
        past = [one["revenue"] for one in own if at - look.before_days <= one["ordered_at"] < at]
        early += sum(one["revenue"] > 0 and 0 <= one["ordered_at"] < at for one in own)
        if now or past:
            expected[unit] = (group == "treated", now, past)

    got = seen(look, orders=shop_lines(orders), assignments=assigned(rows))

    assert (got.n_treated, got.n_holdout, got.n_open, got.n_early_orders) == (*sizes, n_open, early)
    assert got.treated.tolist() == [treated for treated, _, _ in expected.values()]
    for name, part in (("now", 1), ("before", 2)):
        sums = [row[part] for row in expected.values()]
        values = got.values if name == "now" else got.before
        if not values:
            assert look.before_days == 0
            continue
        assert values["revenue"].tolist() == [sum(some) / 100 for some in sums]
        assert values["margin"].tolist() == [sum(some) / 100 for some in sums]
        assert values["profit"].tolist() == [sum(some) / 100 for some in sums]
        counts = [sum(one > 0 for one in some) for some in sums]
        assert values["orders"].tolist() == counts
        assert values["conversion"].tolist() == [float(n > 0) for n in counts]
        assert values["repeat"].tolist() == [float(n > 1) for n in counts]
    assert set(got.values) == set(METRICS)


def test_a_permanent_holdouts_past_is_that_before_assignment_even_if_the_look_starts_later() -> None:
    orders = [order(1, "ann", -12, 500), order(2, "ann", -3, 70), order(3, "ann", 3, 9)]
    rows = [{"unit_id": "ann", "assigned_at": -5}]

    got = seen(PERMANENT, orders=shop_lines(orders), assignments=assigned(rows))

    assert got.before["revenue"].tolist() == [5.0]  # what came after assignment may be caused by offers
    assert got.values["revenue"].tolist() == [0.09]


def test_another_experiment_or_version_is_not_counted() -> None:
    rows = [
        {"unit_id": "ann"},
        {"unit_id": "bob", "version": 2},
        {"unit_id": "cat", "experiment": "other"},
    ]

    got = seen(PERMANENT, assignments=assigned(rows))

    assert (got.n_treated, got.n_holdout) == (1, 0)


def test_a_visitors_orders_are_the_customers_and_crossing_is_told() -> None:
    rows = [
        {"unit_id": "v", "group": "treated", "assigned_at": -1},
        {"unit_id": "ann", "group": "holdout", "assigned_at": -1},
    ]
    told = live([{"order_id": "o", "unit_id": "v", "revenue": 300, "at": 2}])

    got = seen(PERMANENT, live_orders=told, assignments=assigned(rows), identities=linked([("v", "ann")]))

    assert got.sizes.tolist() == [[0, 1]]
    assert got.values["revenue"].tolist() == [3.0]
    assert got.excluded["in_both_groups"] == 1


COSTS = Costs(
    contact=Decimal("0.05"),
    point_value=Decimal("0.01"),
    per_use={"set": 40},
    partner_share={"shared": 0.5, "set": 0.25},
)
PRODUCTS = pa.table({"product_id": ["mug", "cup"], "price": [8.0, 4.0], "unit_cost": [3.0, None]})


@pytest.mark.parametrize(
    ("made", "payload", "spent", "not_in_price"),
    [
        ({"incentive": {"type": "percent", "value": "10"}}, {"discount": "1.50"}, 150, 0),
        ({"incentive": {"type": "percent"}, "list_price": "5.00", "final_price": "4.25"}, None, 75, 0),
        ({"incentive": {"type": "percent"}, "incentive_name": "shared"}, {"discount": "1.01"}, 51, -50),
        (
            {"incentive": {"type": "amount", "value": "2.00"}, "incentive_name": "set"},
            {"discount": "2.00"},
            30,
            -170,
        ),
        ({"incentive": {"type": "amount", "value": "2.00"}}, None, 200, 0),
        ({"incentive": {"type": "points", "value": "250"}}, {"discount": "0"}, 250, 250),
        ({"incentive": {"type": "free_shipping", "value": "4.00"}}, {"discount": "3.20"}, 320, 320),
        ({"incentive": {"type": "free_shipping", "value": "4.00"}}, None, 400, 400),
        ({"incentive": {"type": "gift", "product_id": "mug"}}, None, 300, 300),
        (
            {"incentive": {"type": "gift", "product_id": "cup"}},
            {"discount": "0.00"},
            300,
            300,
        ),  # by the margin share
        (
            {"incentive": {"type": "gift", "product_id": "mug"}},
            {"discount": "8.00"},
            300,
            0,
        ),  # among the lines
        ({}, {"discount": "0.90"}, 90, 0),
    ],
)
def test_profit_bears_what_the_orders_price_does_not(
    made: dict[str, Any], payload: dict[str, str] | None, spent: int, not_in_price: int
) -> None:
    event: dict[str, Any] = {"decision_id": "d", "offer_id": "o", "type": "promotion-redeemed", "at": 3}
    told = event if payload is None else event | {"payload": payload}

    got = seen(
        PERMANENT,
        orders=shop_lines([order(1, "ann", 3, 1000, 400)]),
        products=PRODUCTS,
        assignments=assigned([{"unit_id": "ann"}]),
        decisions=decided(
            [{"decision_id": "d", "unit_id": "ann", "campaign": "c", "slate": [offer(**made)]}]
        ),
        events=happened([told]),
        costs=COSTS,
    )

    assert SHARE == 0.25
    assert got.values["incentive_cost"].tolist() == [spent / 100]
    assert got.values["contact_cost"].tolist() == [0.05]
    assert got.values["profit"][0] == pytest.approx(6.0 - 0.05 - not_in_price / 100)


def test_a_use_that_both_the_till_and_the_shop_tell_of_costs_once_and_outside_the_window_nothing() -> None:
    slate = [offer(incentive={"type": "percent"}, list_price="5.00", final_price="4.00")]
    use = {"decision_id": "d", "offer_id": "o", "type": "promotion-redeemed"}
    events = [
        use,
        use | {"payload": {"discount": "0.70", "order_id": "x"}},
        use | {"payload": {"discount": "0.60", "order_id": "y"}},
        use | {"payload": {"discount": "9.99", "order_id": "z"}, "at": 28},
    ]

    got = seen(
        PERMANENT,
        assignments=assigned([{"unit_id": "ann"}]),
        decisions=decided([{"decision_id": "d", "unit_id": "ann", "slate": slate}]),
        events=happened(events),
    )

    assert got.values["incentive_cost"].tolist() == [1.3]


@pytest.mark.parametrize(
    ("told", "n_counted"),
    [
        ([("d1", None), ("d2", None)], 2),  # a use of each
        ([("d1", None), ("d1", None), ("d2", None)], 2),
        ([("d1", None), (None, None)], 1),  # of which one is not known: the same
        ([(None, None), (None, None)], 1),
        ([("d1", "2.00"), ("d1", None), ("d2", None)], 2),
        ([(None, "2.00"), ("d2", None)], 1),  # what the till tells may be that of d2
        ([("d1", "2.00"), (None, None)], 1),
        ([("d1", "2.00"), ("d2", "2.00"), ("d2", None)], 2),
    ],
)
def test_a_use_counts_once_for_every_decision_that_offered_it(
    told: list[tuple[str | None, str | None]], n_counted: int
) -> None:
    slate = [offer(incentive={"type": "points", "value": "200"})]
    made = [
        {"decision_id": name, "unit_id": "ann", "slate": slate, "at": at}
        for name, at in (("d1", 1), ("d2", 8))
    ]
    uses = [
        {
            "unit_id": "ann",
            "decision_id": decision,
            "offer_id": "o",
            "type": "promotion-redeemed",
            "at": 9 + n,
        }
        | ({} if discount is None else {"payload": {"discount": discount}})
        for n, (decision, discount) in enumerate(told)
    ]

    got = seen(
        PERMANENT,
        assignments=assigned([{"unit_id": "ann"}]),
        decisions=decided(made),
        events=happened(uses),
    )

    assert got.values["incentive_cost"].tolist() == [2.0 * n_counted]


def test_an_incentive_of_a_large_order_costs_what_it_is_worth() -> None:
    slate = [offer(incentive={"type": "percent"}, list_price="30000000000.00", final_price="20000000000.00")]
    use = {"decision_id": "d", "offer_id": "o", "type": "promotion-redeemed"}

    for payload, cost in ((None, 1e10), ({"discount": "25000000000.01"}, 25_000_000_000.01)):
        got = seen(
            PERMANENT,
            assignments=assigned([{"unit_id": "ann"}]),
            decisions=decided([{"decision_id": "d", "unit_id": "ann", "slate": slate}]),
            events=happened([use if payload is None else use | {"payload": payload}]),
        )
        assert got.values["incentive_cost"].tolist() == [cost]


def test_messages_cost_the_treated_who_were_sent_one() -> None:
    rows = [{"unit_id": unit, "group": "holdout" if unit == "cat" else "treated"} for unit in UNITS]
    decisions = [
        {"decision_id": "1", "unit_id": "ann", "campaign": "c"},
        {"decision_id": "2", "unit_id": "ann", "campaign": "c", "at": 8, "slate": [offer(), offer()]},
        {"decision_id": "3", "unit_id": "bob", "placement": "home"},
        {"decision_id": "4", "unit_id": "cat", "campaign": "c", "group": "holdout"},
        {"decision_id": "5", "unit_id": "dan", "campaign": "c", "slate": []},
        {"decision_id": "6", "unit_id": "eve", "campaign": "c", "at": 30},
    ]

    got = seen(PERMANENT, assignments=assigned(rows), decisions=decided(decisions), costs=COSTS)

    assert got.values["contact_cost"].tolist() == [0.1]
    assert got.values["profit"].tolist() == [-0.1]


def test_only_who_was_offered_something_or_would_have_been_is_triggered_by_kind() -> None:
    rows = [
        {"unit_id": unit, "group": "holdout" if unit in ("dan", "eve") else "treated", "stratum": unit[0]}
        for unit in UNITS
    ]
    decisions = [
        {"decision_id": "1", "unit_id": "ann", "slate": [offer("for_you"), offer("win_back")], "at": 0.2},
        {"decision_id": "2", "unit_id": "bob", "slate": []},
        {"decision_id": "3", "unit_id": "cat", "at": 40},
        {"decision_id": "4", "unit_id": "dan", "group": "holdout", "slate": [offer("win_back")], "at": 0.5},
        # held back whole by another experiment: exposed to this one all the same, but not on the first day
        {"decision_id": "5", "unit_id": "bob", "group": "holdout", "withheld_by": "other:1", "at": 2},
    ]
    orders = [order(number, unit, 5, 100) for number, unit in enumerate(UNITS)]

    got = seen(PERMANENT, orders=shop_lines(orders), assignments=assigned(rows), decisions=decided(decisions))

    assert (got.exposed(), got.exposed(early=True)) == ((2, 1), (1, 1))
    assert got.triggered().sizes.tolist() == [[1, 0], [1, 0], [0, 1]]
    assert got.triggered().strata == ("a", "b", "d")
    assert got.triggered("win_back").treated.tolist() == [True, False]
    assert got.triggered("for_you").treated.tolist() == [True]
    assert got.triggered("renewal").sizes.sum() == 0
    assert got.segment("b").sizes.tolist() == [[1, 0]]
    assert got.segment("b").values["revenue"].tolist() == [1.0]
    assert len(got.segment("nobody").treated) == 0


def test_a_trial_compares_its_own_offers_with_their_ghosts() -> None:
    look = replace(TRIAL, kinds=("win_back",), campaigns=("c",))
    rows = [{"unit_id": unit, "group": "holdout" if unit in ("dan", "eve") else "treated"} for unit in UNITS]
    decisions = [
        {"decision_id": "1", "unit_id": "ann", "campaign": "c", "slate": [offer("win_back")]},
        {"decision_id": "2", "unit_id": "bob", "campaign": "c", "slate": [offer("for_you")]},  # another kind
        {
            "decision_id": "3",
            "unit_id": "cat",
            "campaign": "b",
            "slate": [offer("win_back")],
        },  # another campaign
        {
            "decision_id": "4",
            "unit_id": "dan",
            "campaign": "c",
            "group": "holdout",
            "withheld_by": "e:1",
            "slate": [offer("win_back")],
        },
        {
            "decision_id": "5",
            "unit_id": "eve",
            "campaign": "c",
            "slate": [offer("for_you")],
        },  # what is left of it
    ]

    got = seen(look, assignments=assigned(rows), decisions=decided(decisions))

    assert got.exposed() == (1, 1)
    assert (got.n_treated, got.n_holdout) == (3, 2)


def test_of_a_category_only_its_own_lines_count_and_no_costs() -> None:
    products = pa.table(
        {"product_id": ["tea", "pot", "car"], "category": ["Food > Tea", "Food>Pots", "Foods"]}
    )
    lines = [
        order(1, "ann", 3, 1000) | {"product_id": "tea"},
        order(1, "ann", 3, 50) | {"product_id": "car"},
        order(2, "ann", 4, 300) | {"product_id": "pot"},
        order(2, "ann", 9, -300) | {"product_id": "pot", "quantity": -1},
        order(3, "bob", 4, 700) | {"product_id": "car"},
    ]
    rows = [{"unit_id": unit} for unit in UNITS]
    tables = {"orders": shop_lines(lines), "products": products, "assignments": assigned(rows)}

    food = seen(replace(PERMANENT, category=" Food"), **tables)
    tea = seen(replace(PERMANENT, category="Food>Tea"), **tables)

    assert food.values["revenue"].tolist() == tea.values["revenue"].tolist() == [10.0]
    assert food.values["orders"].tolist() == [1.0]
    assert set(food.values) == set(OF_A_CATEGORY)
    assert food.n_treated == len(UNITS)


def test_a_giant_customer_guests_and_late_assignments_are_told() -> None:
    orders = [
        order(1, "ann", 3, 100_000),
        order(2, None, 3, 50),
        *(order(9 + n, "bob", n, 10) for n in range(3, 9)),
    ]
    rows = [{"unit_id": "ann"}, {"unit_id": "bob", "assigned_at": 5}, {"unit_id": "cat", "assigned_at": 25}]

    got = seen(TRIAL, orders=shop_lines(orders), assignments=assigned(rows))

    assert got.excluded == {
        "still_open": 1,
        "orders_before_assignment": 2,
        "guest_orders": 1,
        "in_both_groups": 0,
    }
    assert [str(note) for note in got.notes] == [
        "1 customer was assigned too lately: their window is still open",
        "2 orders came before their customers were assigned: not counted",
        "1 order of a guest belongs to no group: not counted",
        "one customer brought 100% of all revenue: a single order may decide",
    ]


def test_the_order_of_rows_changes_nothing() -> None:
    rng = np.random.default_rng(3)
    orders = [order(n, f"c{n % 37}", float(n % 27), int(rng.integers(1, 999)), None) for n in range(300)]
    rows = [{"unit_id": f"c{n}", "group": "treated" if n % 3 else "holdout"} for n in range(37)]
    there = seen(PERMANENT, orders=shop_lines(orders), assignments=assigned(rows))

    rng.shuffle(orders)
    back = seen(PERMANENT, orders=shop_lines(orders), assignments=assigned(rows[::-1]), threads=2)

    for name in METRICS:
        assert there.values[name].tolist() == back.values[name].tolist()
    assert there.matrix(METRICS).shape == (37, len(METRICS))
    before = there.matrix_before(METRICS)
    assert before is not None and before.shape == (37, len(METRICS))


def test_nobody_assigned_is_no_row() -> None:
    got = seen(PERMANENT)

    assert (got.n_treated, got.n_holdout, len(got.treated), got.largest_share) == (0, 0, 0, 0.0)
    assert got.sizes.shape == (0, 2)


def test_a_trials_window_is_the_longest_of_the_kinds_it_keeps_back() -> None:
    campaigns = {"c": Campaign(kinds=("for_you", "replenishment")), "all": Campaign()}

    assert window_of(Trial(kinds=("for_you",)), campaigns, WINDOW_DAYS) == 14
    assert window_of(Trial(kinds=("for_you",), campaigns=("c",)), campaigns, WINDOW_DAYS) == 14
    assert window_of(Trial(campaigns=("c",)), campaigns, WINDOW_DAYS) == 28
    assert window_of(Trial(campaigns=("all",)), campaigns, WINDOW_DAYS) == 56
    assert window_of(Trial(campaigns=("c",)), campaigns, {**WINDOW_DAYS, "for_you": 90}) == 90
    assert timedelta(days=TRIAL.window_days or 0) < END - START
