"""Attribution against a clerk who reads the diary backwards: last touch, closed windows, every order once."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.measurement.tables import (
    END,
    START,
    assigned,
    day,
    decided,
    happened,
    live,
    offer,
    opened,
    shop_lines,
)

from nextoffer.measurement.attribution import Attributed, Touched, attributed, naive_difference
from nextoffer.measurement.costs import Costs
from nextoffer.measurement.outcomes import Look, observe
from nextoffer.measurement.reach import attribution_sheet, reach_sheet

LENGTH = 28
KINDS = {"for_you": 14, "win_back": 20}  # the second set by the shop
WINDOWS = {"win_back": 20}


def found(asked: dict[str, Any] | None = None, **tables: Any) -> Attributed:
    with opened(**{"window_days": WINDOWS, **tables}) as records:
        return attributed(records, START, END, **(asked or {}))


def order(name: str, customer: str | None, at: float, revenue: int, cost: int = 0) -> dict[str, Any]:
    return {"order_id": name, "customer_id": customer, "ordered_at": at, "revenue": revenue, "cost": cost}


DAYS = st.sampled_from([-6, 0, 8, 14, 20, 22, 28])  # so that orders often fall on the ends of windows
touches = st.tuples(
    st.sampled_from(["ann", "bob"]),
    st.sampled_from(["promotion-clicked", "promotion-redeemed", "promotion-offered"]),
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(["spring", None]),
    DAYS,
    st.none() | st.integers(0, 25),  # the order it was used in
)
bought = st.tuples(st.sampled_from(["ann", "bob", None]), DAYS, st.integers(-50, 900))


@settings(max_examples=12, deadline=None)
@given(told=st.lists(touches, min_size=5, max_size=25), sold=st.lists(bought, min_size=15, max_size=25))
def test_every_order_is_the_last_touchs_and_counts_once_its_window_is_closed(
    told: list[tuple[str, str, str, str | None, int, int | None]], sold: list[tuple[str | None, int, int]]
) -> None:
    decisions, events = [], []
    for number, (unit, type_, kind, campaign, at, used) in enumerate(told):
        made = {"unit_id": unit, "campaign": campaign, "at": -30, "slate": [offer(kind, f"o{number}")]}
        decisions.append({"decision_id": f"d{number}", **made})
        event = {"decision_id": f"d{number}", "offer_id": f"o{number}", "type": type_, "at": at}
        events.append(event if used is None else event | {"payload": {"order_id": f"b{used}"}})
    expected: dict[tuple[str, str | None], list[int]] = defaultdict(lambda: [0, 0])
    n_open = 0
    for number, (buyer, at, revenue) in enumerate(sold):
        near = [
            (f"b{number}" == f"b{used}", when, type_ == "promotion-redeemed", which, kind, campaign)
            for which, (unit, type_, kind, campaign, when, used) in enumerate(told)
            if unit == buyer
            and type_ != "promotion-offered"
            and when < LENGTH
            and (when <= at < when + KINDS[kind] or used == number)
        ]
        if revenue <= 0 or at >= LENGTH or not near:
            continue
        _, when, _, _, kind, campaign = max(near, key=lambda one: one[:4])
        if when < 0:
            continue
        if when + KINDS[kind] > LENGTH:
            n_open += 1
            continue
        expected[kind, campaign][0] += 1
        expected[kind, campaign][1] += revenue

    got = found(
        orders=shop_lines([order(f"b{number}", *row) for number, row in enumerate(sold)]),
        decisions=decided(decisions),
        events=happened(events),
    )

    assert {
        (row.kind, row.campaign): [row.n_orders, row.revenue] for row in got.rows if row.n_orders
    } == expected
    assert got.n_open_orders == n_open
    assert got.n_orders == sum(n for n, _ in expected.values())
    assert (
        sum(row.revenue for row in got.by_kind) == sum(row.revenue for row in got.by_campaign) == got.revenue
    )


COSTS = Costs(contact=Decimal("0.125"))


def campaign_of(n: int, n_clicked: int, at: float = 1) -> dict[str, pa.Table]:
    """A campaign to c0, c1, …; the first so many opened their offer and bought for 10.00 two days later."""
    decisions = [
        {"decision_id": f"d{i}", "unit_id": f"c{i}", "campaign": "spring", "at": at} for i in range(n)
    ]
    clicks = [{"decision_id": f"d{i}", "offer_id": "o", "at": at + 1} for i in range(n_clicked)]
    orders = [order(f"b{i}", f"c{i}", at + 3, 1000, 600) for i in range(n)]
    return {"orders": shop_lines(orders), "decisions": decided(decisions), "events": happened(clicks)}


def test_return_on_investment_is_revenue_less_cost_over_cost() -> None:
    got = found({"programme": 75}, costs=COSTS, **campaign_of(10, 2))

    (row,) = got.rows
    assert (row.n_offered, row.n_clicked, row.click_rate, row.n_contacts, row.contacts) == (
        10,
        2,
        0.2,
        10,
        125,
    )
    assert (got.n_orders, got.revenue, got.margin, got.cost) == (2, 2000, 800, 200)
    assert got.roi_percent == (2000 - 200) / 200 * 100 == 900.0
    assert row.roi_percent == 1500.0
    assert got.note is None


def test_without_a_cost_there_is_no_return_on_it() -> None:
    got = found(**campaign_of(3, 1))

    assert got.roi_percent is None
    assert got.note == "no cost is known, so a return on it cannot be said"


def test_a_message_costs_only_once_the_window_of_its_offers_is_closed() -> None:
    assert found(costs=COSTS, **campaign_of(10, 2, at=20)) == Attributed((), 0, 0, 2)


def test_an_offer_used_in_the_order_has_it_whatever_was_opened_later() -> None:
    decisions = [
        {"decision_id": "d1", "unit_id": "ann", "at": -9, "slate": [offer("win_back", "wb")]},
        {"decision_id": "d2", "unit_id": "ann", "at": -9, "slate": [offer("for_you", "fy")]},
    ]
    used = {
        "decision_id": "d1",
        "type": "promotion-redeemed",
        "payload": {"order_id": "b", "discount": "0.40"},
    }
    events = [{"decision_id": "d2", "offer_id": "fy", "at": 3}, used | {"offer_id": "wb", "at": 5}]

    got = found(
        orders=shop_lines([order("b", "ann", 4, 500)]), decisions=decided(decisions), events=happened(events)
    )

    assert [(row.kind, row.n_orders, row.n_clicked, row.n_redeemed, row.incentives) for row in got.rows] == [
        ("for_you", 0, 1, 0, 0),
        ("win_back", 1, 0, 1, 40),
    ]


def test_what_came_back_is_no_income() -> None:
    tables = campaign_of(2, 2)
    back = live([{"order_id": "r", "unit_id": "c0", "revenue": -1000, "at": 20, "returns_of": "b0"}])

    got = found(live_orders=back, **tables)

    assert (got.n_orders, got.revenue) == (1, 1000)


@pytest.mark.parametrize(
    "event",
    [
        {"decision_id": "d", "offer_id": "two"},
        {"decision_id": "d", "product_id": "cup"},
        {"unit_id": "ann", "offer_id": "two"},
    ],
)
def test_an_event_finds_its_offer_by_decision_product_or_customer(event: dict[str, str]) -> None:
    slate = [offer("for_you", "one"), offer("win_back", "two", product_id="cup")]

    got = found(
        decisions=decided([{"decision_id": "d", "unit_id": "ann", "slate": slate}]), events=happened([event])
    )

    assert {row.kind: row.n_clicked for row in got.rows} == {"for_you": 0, "win_back": 1}


def test_an_event_that_names_only_its_decision_is_about_the_first_offer_and_one_of_nothing_is_unknown() -> (
    None
):
    slate = [offer("for_you", "one"), offer("win_back", "two")]
    events = [{"decision_id": "d"}, {"unit_id": "ann", "offer_id": "gone", "at": 3}]

    got = found(
        orders=shop_lines([order("b", "ann", 4, 500)]),
        decisions=decided([{"decision_id": "d", "unit_id": "ann", "slate": slate}]),
        events=happened(events),
    )

    assert {row.kind: (row.n_clicked, row.n_orders) for row in got.rows} == {
        "for_you": (1, 0),
        "win_back": (0, 0),
        None: (1, 1),
    }


def test_kind_campaign_segment_and_category_narrow_what_is_told() -> None:
    tables = campaign_of(4, 3) | {
        "products": pa.table({"product_id": ["p"], "category": ["Food > Tea"]}),
        "segments": pa.table({"customer_id": ["c0", "c1", "c3"], "segment": ["loyal", "new", "loyal"]}),
    }

    assert found({"kinds": ("win_back",)}, **tables).rows == ()
    assert found({"campaigns": ("autumn",)}, **tables).rows == ()
    assert found({"campaigns": ("spring",), "kinds": ("for_you",)}, **tables).n_orders == 3
    loyal = found({"segment": "loyal"}, **tables)
    assert [(row.n_offered, row.n_clicked, row.n_orders) for row in loyal.rows] == [(2, 1, 1)]
    assert found({"category": "Food"}, **tables).revenue == 3000
    assert found({"category": "Drinks"}, **tables).revenue == 0


def test_the_naive_figure_is_that_of_the_exposed_less_the_unexposed_among_the_treated() -> None:
    rows = [{"unit_id": f"c{i}", "group": "holdout" if i == 5 else "treated"} for i in range(6)]
    decisions = [{"decision_id": f"d{i}", "unit_id": f"c{i}", "group": rows[i]["group"]} for i in (0, 1, 5)]
    orders = [order(f"b{i}", f"c{i}", 3, revenue) for i, revenue in enumerate((300, 100, 50, 0, 100, 900))]
    with opened(
        orders=shop_lines(orders), assignments=assigned(rows), decisions=decided(decisions)
    ) as records:
        observed = observe(records, Look("e", 1, START, END))

    assert naive_difference(observed) == 2.0 - 0.5
    assert naive_difference(observed, "conversion") == pytest.approx(1 - 2 / 3)
    assert naive_difference(observed.triggered()) is None


def test_sheets_tell_kinds_and_places_with_what_became_of_the_offers() -> None:
    decisions = [
        {
            "decision_id": "1",
            "unit_id": "ann",
            "placement": "home",
            "slate": [offer(), offer("win_back", "w")],
        },
        {"decision_id": "2", "unit_id": "bob", "placement": "home"},
        {"decision_id": "3", "unit_id": "cat", "campaign": "spring"},
        {"decision_id": "4", "unit_id": "dan", "placement": "home", "group": "holdout"},
        {"decision_id": "5", "unit_id": "eve", "placement": "home", "at": -3},
    ]
    events = [
        {"decision_id": "1", "offer_id": "o"},
        {"decision_id": "1", "offer_id": "o", "at": 5},
        {"decision_id": "3", "offer_id": "o", "type": "promotion-redeemed"},
    ]
    with opened(decisions=decided(decisions), events=happened(events)) as records:
        sheet = reach_sheet(records, START, END)
        told = attribution_sheet(attributed(records, START, END))

    assert [row[0:1] + row[2:] for row in sheet.rows] == [
        ("for_you", "home", 2, 1, 0.5, 0, 0.0),
        ("for_you", "spring", 1, 0, 0.0, 1, 1.0),
        ("win_back", "home", 1, 0, 0.0, 0, 0.0),
    ]
    assert {len(row) for row in told.rows} == {len(told.columns)}
    assert "not caused" in told.notes[0]
    assert {record["revenue"] for record in told.records("GBP")} == {"0.00"}


def test_sums_of_rows_keep_every_count() -> None:
    one = Touched("for_you", "a", 1, 2, 3, 4, 5, 6, 7, 8, 9)
    rows = (one, replace(one, campaign="b"), replace(one, kind=None), replace(one, kind="win_back"))

    got = Attributed(rows, 36, 0, 0)

    assert [(row.kind, row.revenue) for row in got.by_kind] == [("for_you", 10), ("win_back", 5), (None, 5)]
    assert [(row.campaign, row.n_contacts) for row in got.by_campaign] == [("a", 24), ("b", 8)]
    assert day(0) < day(1)
