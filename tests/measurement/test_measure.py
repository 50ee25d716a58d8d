"""Outcomes and key figures against sums by hand, and an honest report: what blocks it, what it calls what."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from rich.console import Console

from nextoffer.config import Experiment
from nextoffer.errors import MeasurementError
from nextoffer.measurement.kpi import Figures, Window
from nextoffer.measurement.outcomes import outcomes
from nextoffer.measurement.report import Measurement, measure, render, to_json

START = datetime(2026, 1, 10, tzinfo=UTC)
END = datetime(2026, 2, 7, tzinfo=UTC)
MOMENT = pa.timestamp("us")


def day(offset: float) -> datetime:
    return (START + timedelta(days=offset)).replace(tzinfo=None)


def lines(rows: Iterable[tuple[str, str | None, float, int, int | None]]) -> pa.Table:
    """(order, customer, day, revenue, cost) of the shop's history, in minor units."""
    columns = list(zip(*rows, strict=True)) or [(), (), (), (), ()]
    return pa.table(
        {
            "order_id": pa.array(columns[0], pa.string()),
            "customer_id": pa.array(columns[1], pa.string()),
            "ordered_at": pa.array([day(offset) for offset in columns[2]], MOMENT),
            "revenue": pa.array(columns[3], pa.int64()),
            "cost": pa.array(columns[4], pa.int64()),
        }
    )


def live(rows: Iterable[tuple[str, str | None, float, int, int | None]]) -> pa.Table:
    return lines(rows).rename_columns(["order_id", "unit_id", "at", "revenue", "cost"])


def assigned(groups: dict[str, str], offset: float = -30) -> pa.Table:
    return pa.table(
        {
            "unit_id": pa.array(sorted(groups), pa.string()),
            "group": pa.array([groups[unit] for unit in sorted(groups)], pa.string()),
            "assigned_at": pa.array([day(offset)] * len(groups), MOMENT),
        }
    )


def decided(rows: Iterable[dict[str, Any]] = ()) -> pa.Table:
    names = ("decision_id", "unit_id", "group", "campaign", "slate")
    plain = {"group": "treated", "campaign": None, "slate": "[]"}
    full = [plain | row for row in rows]
    columns = {name: pa.array([row[name] for row in full], pa.string()) for name in names}
    return pa.table(columns | {"at": pa.array([row.get("at", day(1)) for row in full], MOMENT)})


def happened(rows: Iterable[dict[str, Any]] = ()) -> pa.Table:
    names = ("event_id", "decision_id", "offer_id", "unit_id", "type", "payload")
    full = [{"event_id": str(number), **row} for number, row in enumerate(rows)]
    columns = {name: pa.array([row.get(name) for row in full], pa.string()) for name in names}
    return pa.table(columns | {"at": pa.array([row.get("at", day(2)) for row in full], MOMENT)})


def test_a_customers_outcome_is_what_they_bought_after_assignment_inside_the_window() -> None:
    groups = {"ann": "treated", "bob": "holdout", "cat": "treated", "dan": "holdout"}
    history = lines(
        [
            ("o1", "ann", 0, 1000, 600),
            ("o1", "ann", 0, 500, None),  # no cost known: the margin share
            ("o2", "ann", -0.001, 9999, None),  # before the window
            ("o3", "ann", 28, 9999, None),  # the window's end is outside
            ("o4", "bob", 5, 2000, None),
            ("r4", "bob", 6, -500, None),  # a return is no order, but it counts
            ("o5", "eve", 5, 9999, None),  # never assigned
            ("o6", None, 5, 9999, None),  # a guest
        ]
    )
    live_orders = live(
        [
            ("o4", "bob", 5, 77, None),  # known already
            ("o7", "bob", 7, 300, 100),
            ("o6", "dan", 5, 77, None),  # says whose the guest's order was
        ]
    )

    got = outcomes(history, live_orders, assigned(groups), START, END, 0.3, "GBP")

    assert got.treated.tolist() == [True, False, True, False]
    assert got.n_orders.tolist() == [1, 2, 0, 1]
    assert got.revenue.tolist() == [15.0, 18.0, 0.0, 99.99]
    assert got.margin.tolist() == [4.0 + 1.5, 6.0 - 1.5 + 2.0, 0.0, 30.0]


def test_orders_before_a_late_assignment_do_not_count_and_later_assignments_are_no_rows() -> None:
    history = lines([("o1", "ann", 2, 100, None), ("o2", "ann", 4, 100, None)])

    got = outcomes(history, live([]), assigned({"ann": "treated"}, 3), START, END, 0.3, "JPY")

    assert got.revenue.tolist() == [100.0]
    assert len(outcomes(history, live([]), assigned({"ann": "treated"}, 28), START, END, 0.3, "JPY")) == 0


def test_the_order_of_lines_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    rows = [
        (f"o{n % 50}", f"c{n % 50 % 9}", float(n % 20), int(rng.integers(1, 999)), None) for n in range(200)
    ]
    groups = {f"c{n}": "treated" if n % 2 else "holdout" for n in range(9)}

    one, other = (
        outcomes(lines(some), live([]), assigned(groups), START, END, 0.37, "GBP")
        for some in (rows, rows[::-1])
    )

    assert one.margin.tolist() == other.margin.tolist()


HISTORY = [
    ("o0", "ann", -100, 5000, None),
    ("o1", "ann", 1, 1000, None),
    ("o2", "ann", 3, 3000, None),
    ("o3", "bob", 4, 2000, None),
    ("o4", "eve", -5, 700, None),
    ("o5", None, 5, 9999, None),
]


def test_key_figures_are_those_counted_by_hand() -> None:
    members = pa.table({"customer_id": ["ann", "zoe"], "programme": ["gold", None]})
    figures = Figures(lines(HISTORY), live([("o6", "bob", 6, 1000, None)]), members, 0.3)
    window = Window(START, END)

    now, before, ann = figures.kpis(window), figures.kpis(window.before), figures.kpis(window, members=True)

    assert (now.n_customers, now.n_orders, now.revenue, now.repeat_rate, now.frequency) == (
        2,
        4,
        7000,
        1.0,
        2.0,
    )
    assert (now.average_order, now.lifetime_value) == (1750.0, (9000 + 3000) / 2)
    assert (before.n_customers, before.n_orders, before.revenue, before.repeat_rate) == (1, 1, 700, 0.0)
    assert (ann.n_customers, ann.revenue) == (1, 4000)
    assert figures.kpis(window, members=False).revenue == 3000
    nothing = figures.kpis(Window(START - timedelta(days=900), START - timedelta(days=800)))
    assert (nothing.n_customers, nothing.repeat_rate, nothing.average_order) == (0, None, None)


SLATE = orjson.dumps(
    [
        {"offer_id": "f1", "list_price": "10.00", "final_price": "9.00"},
        {"offer_id": "f2", "list_price": "4.00", "final_price": "4.00"},
    ]
).decode()


def attributed_to(events: list[dict[str, Any]]) -> Any:
    figures = Figures(lines(HISTORY), live([]), None, 0.3)
    decisions = decided(
        [
            {"decision_id": "d1", "unit_id": "ann", "campaign": "spring", "slate": SLATE},
            {"decision_id": "d2", "unit_id": "bob", "slate": SLATE},
            {"decision_id": "d3", "unit_id": "eve", "campaign": "spring"},
            {"decision_id": "d4", "unit_id": "hal", "campaign": "spring", "slate": SLATE, "group": "holdout"},
        ]
    )
    return figures.attributed(
        decisions, happened(events), Window(START, END), "GBP", contact_cost=0.25, programme_cost=1.0
    )


def test_orders_within_a_week_of_a_click_are_attributed_once() -> None:
    got = attributed_to(
        [
            {"decision_id": "d1", "type": "promotion-clicked"},  # whose it was, the decision says
            {"decision_id": "d1", "type": "promotion-clicked", "at": day(2.5)},
            {
                "decision_id": "d1",
                "type": "promotion-redeemed",
                "offer_id": "f1",
                "unit_id": "ann",
                "at": day(3),
            },
            {
                "decision_id": "d1",
                "type": "promotion-redeemed",
                "offer_id": "f1",
                "unit_id": "ann",
                "at": day(3),
            },
            {"decision_id": "d2", "type": "promotion-offered", "unit_id": "bob"},  # seen is not opened
        ]
    )

    assert (got.n_orders, got.revenue) == (1, 3000)
    assert (got.incentives, got.contacts, got.programme, got.cost) == (100, 25, 100, 225)
    assert got.roi_percent == pytest.approx((3000 - 225) / 225 * 100)


def test_an_incentive_costs_what_the_till_took_off_also_of_two_units_or_of_the_whole_basket() -> None:
    redeemed: dict[str, Any] = {"type": "promotion-redeemed", "unit_id": "ann", "at": day(3)}
    till = [
        {**redeemed, "decision_id": "d1", "offer_id": "f1", "payload": '{"order_id":"o1","discount":"2.00"}'},
        {**redeemed, "decision_id": "d1", "offer_id": "basket", "payload": '{"discount":"5.00"}'},
    ]

    told = attributed_to(till)
    twice = attributed_to([*till, {**redeemed, "decision_id": "d1", "offer_id": "f1"}])

    assert told.incentives == twice.incentives == 700  # that it was used is told twice, and costs once


def test_orders_before_the_click_or_a_week_later_are_not_attributed() -> None:
    assert attributed_to([{"unit_id": "ann", "type": "promotion-clicked", "at": day(3.01)}]).n_orders == 0
    history = lines([("o1", "ann", 9, 100, None), ("o2", "ann", 8.99, 100, None)])
    events = happened([{"unit_id": "ann", "type": "promotion-clicked", "at": day(2)}])

    got = Figures(history, live([]), None, 0.3).attributed(decided(), events, Window(START, END), "GBP")

    assert (got.n_orders, got.cost, got.roi_percent) == (1, 0, None)
    assert got.note is not None and "no cost is known" in got.note


def test_participation_counts_customers_not_events() -> None:
    figures = Figures(
        lines(HISTORY), live([]), pa.table({"customer_id": ["ann"], "programme": ["gold"]}), 0.3
    )
    groups = {"ann": "treated", "bob": "treated", "cat": "treated", "dan": "treated", "hal": "holdout"}
    decisions = decided(
        [
            {"decision_id": "d1", "unit_id": "ann", "slate": SLATE},
            {"decision_id": "d2", "unit_id": "ann", "slate": SLATE},
            {"decision_id": "d3", "unit_id": "bob", "slate": SLATE},
            {"decision_id": "d4", "unit_id": "cat"},
            {"decision_id": "d5", "unit_id": "hal", "slate": SLATE, "group": "holdout"},
        ]
    )
    events = happened(
        [{"decision_id": "d1", "type": kind} for kind in ("promotion-clicked", "promotion-clicked")]
        + [{"decision_id": "d3", "type": "promotion-redeemed"}]
    )

    got = figures.participation(assigned(groups), decisions, events, Window(START, END))

    assert (got.n_treated, got.offered, got.clicked, got.redeemed) == (4, 0.5, 0.5, 0.25)
    assert got.members == 0.5


def shop(n: int = 3_000, lift: float = 1.0, share: float = 0.2) -> dict[str, Any]:
    """Every customer may order once; the treated buy `1 + lift` times as often."""
    rng = np.random.default_rng(2)
    held_out = np.arange(n) < round(n * share)
    rate = np.where(held_out, 0.15, 0.15 * (1 + lift))
    buyers = np.flatnonzero(rng.random(n) < rate)
    amounts = rng.lognormal(7, 0.8, n).astype(int)
    units = [f"c{number:05d}" for number in range(n)]
    return {
        "orders": lines([(f"o{row}", units[row], 3.0, int(amounts[row]), None) for row in buyers]),
        "live_orders": live([]),
        "assignments": assigned(
            dict(zip(units, np.where(held_out, "holdout", "treated").tolist(), strict=True))
        ),
        "decisions": decided(),
        "events": happened(),
        "customers": None,
        "experiment": Experiment(holdout_share=share),
        "currency": "GBP",
        "start": START,
        "end": END,
        "margin_share": 0.3,
        "n_permutations": 399,
    }


def text_of(measurement: Measurement, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(render(measurement))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_a_planted_lift_is_found_in_orders_revenue_and_margin() -> None:
    measurement = measure(**shop())
    effects = dict(measurement.effects)

    assert list(effects) == ["orders", "revenue", "margin"]
    assert {effect.verdict for effect in effects.values()} == {"win"}
    orders = effects["orders"]
    assert orders.low is not None and orders.high is not None
    assert orders.low < 0.15 < orders.high
    assert effects["margin"].difference == pytest.approx(0.3 * (effects["revenue"].difference or 0), abs=0.01)
    assert measurement == measure(**shop())


def test_the_report_reads_well_on_eighty_columns_and_attributed_is_never_called_caused() -> None:
    text = text_of(measure(**shop()))

    assert "treated minus holdout" in text
    assert "Attributed (not caused)" in text
    assert "attributed ROI: no cost is known" in " ".join(text.split())
    assert "incremental" not in text
    assert "…" not in text
    assert "Welch would say" in text


def test_too_little_data_says_how_many_more_customers() -> None:
    small = measure(**shop(n=200))
    weak = measure(**shop(lift=0.0))

    assert {effect.verdict for _, effect in small.effects} == {"too few buyers"}
    assert "more customers before 10 of each group have bought" in " ".join(text_of(small).split())
    assert "more customers would let a lift of 5% be found" in " ".join(text_of(weak).split())
    assert to_json(small)["incremental"]["revenue"]["p"] is None


def test_a_split_that_is_not_as_configured_blocks_the_readout() -> None:
    measurement = measure(**shop() | {"experiment": Experiment(holdout_share=0.05)})

    assert measurement.effects == ()
    assert measurement.checks.split_p is not None and measurement.checks.split_p < 0.001
    assert "changed without a new version" in str(measurement.checks.blocked)
    assert "No readout" in text_of(measurement)
    assert to_json(measurement)["incremental"] == {}


def test_a_holdout_that_met_offers_blocks_the_readout() -> None:
    few = [{"unit_id": f"c{number:05d}", "type": "promotion-offered"} for number in range(6)]
    many = [*few, {"unit_id": "c00006", "type": "promotion-clicked"}]

    assert measure(**shop() | {"events": happened(few)}).checks.blocked is None  # 1 % of 600
    blocked = measure(**shop() | {"events": happened(many)}).checks.blocked
    assert blocked is not None and "1.2% of the holdout met an offer" in blocked


def test_without_a_holdout_the_report_says_what_to_set() -> None:
    blocked = measure(**shop(share=0.0)).checks.blocked

    assert blocked is not None and "Set [experiment] holdout_share above 0" in blocked
    empty = measure(**shop() | {"assignments": assigned({})})
    assert empty.checks.blocked is not None
    assert text_of(empty)


def test_json_is_json_and_an_unbounded_interval_is_null() -> None:
    measurement = measure(**shop())
    revenue = dict(measurement.effects)["revenue"]
    open_ended = replace(measurement, effects=(("revenue", replace(revenue, high=float("inf"))),))

    document = orjson.loads(orjson.dumps(to_json(open_ended)))

    assert document["incremental"]["revenue"]["high"] is None
    assert document["incremental"]["revenue"]["low"] == revenue.low
    assert document["kpis"]["window"]["revenue"].count(".") == 1
    assert document["attributed"]["note"] is not None
    assert "∞" in text_of(open_ended)


def test_an_empty_window_is_refused() -> None:
    with pytest.raises(MeasurementError, match="choose an earlier --from"):
        measure(**shop() | {"end": START})
