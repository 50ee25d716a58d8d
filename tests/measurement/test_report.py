"""The whole measurement: what is found, what blocks it, what it calls what, and one document for every reader."""

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

from nextoffer.errors import MeasurementError
from nextoffer.measurement.frames import effects_frame, sheet_frame
from nextoffer.measurement.judging import Question
from nextoffer.measurement.kpi import Filter, Window
from nextoffer.measurement.outcomes import Look
from nextoffer.measurement.readout import METRICS
from nextoffer.measurement.records import Records
from nextoffer.measurement.report import Measurement, measure, page, render, to_json
from nextoffer.measurement.tables import Asked
from nextoffer.texts import said

START = datetime(2026, 1, 10, tzinfo=UTC)
END = datetime(2026, 2, 7, tzinfo=UTC)
MOMENT = pa.timestamp("us")
SLATE = '[{"offer_id":"f1","kind":"for_you","product_id":"p","list_price":"5.00","final_price":"5.00"}]'


def day(offset: float) -> datetime:
    return (START + timedelta(days=offset)).replace(tzinfo=None)


def rows(columns: dict[str, pa.DataType], given: Iterable[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict.fromkeys(columns) | row for row in given], schema=pa.schema(columns.items())
    )


ORDERS = {"order_id": pa.string(), "customer_id": pa.string(), "ordered_at": MOMENT, "revenue": pa.int64()}
ORDERS |= {"cost": pa.int64(), "product_id": pa.string(), "quantity": pa.float64()}
EVENTS = dict.fromkeys(("event_id", "decision_id", "offer_id", "unit_id", "type", "payload"), pa.string())
DECISIONS = dict.fromkeys(
    ("decision_id", "unit_id", "group", "campaign", "slate", "withheld_by"), pa.string()
)


def shop(
    n: int = 3_000,
    lift: float = 1.0,
    share: float = 0.2,
    look: dict[str, Any] | None = None,
    question: dict[str, Any] | None = None,
    met: int = 0,
    clicks: Iterable[int] = (),
    filter: Filter | None = None,
    wanted: dict[str, Any] | None = None,
    other_kind: str | None = None,
    n_permutations: int = 399,
) -> Measurement:
    """Every customer may order once; the treated buy `1 + lift` times as often. Some of the held-out `met` offers."""
    rng = np.random.default_rng(2)
    held_out = np.arange(n) < round(n * share)
    rate = np.where(held_out, 0.15, 0.15 * (1 + lift))
    buyers = np.flatnonzero(rng.random(n) < rate)
    amounts = rng.lognormal(7, 0.8, n).astype(int)
    units = [f"c{number:05d}" for number in range(n)]
    groups = np.where(held_out, "holdout", "treated").tolist()
    strata = np.where(np.arange(n) % 2 == 0, "loyal", "new").tolist()

    def slate_of(row: int) -> str:
        """Half of the treated are offered the other kind, of the holdout nobody would have been."""
        other = other_kind is not None and not held_out[row] and row % 2
        return SLATE.replace("for_you", other_kind or "") if other else SLATE

    slates = [
        {
            "decision_id": f"{name}{row}",
            "unit_id": units[row],
            "group": groups[row],
            "slate": slate_of(row),
            "at": day(at),
        }
        for row in range(0, n, 3)
        for name, at in (("a", -29.9), ("d", 0.5))  # on the day they were assigned, and in the window
    ]
    events = [
        {"event_id": f"m{row}", "unit_id": units[row], "type": "promotion-offered"} for row in range(met)
    ]
    events += [
        {"event_id": f"k{row}", "decision_id": f"d{row}", "offer_id": "f1", "type": "promotion-clicked"}
        for row in clicks
    ]
    with Records.open(
        orders=rows(
            ORDERS,
            (
                {
                    "order_id": f"o{row}",
                    "customer_id": units[row],
                    "ordered_at": day(3),
                    "revenue": int(amounts[row]),
                    "product_id": "p",
                    "quantity": 1.0,
                }
                for row in buyers
            ),
        ),
        assignments=pa.table(
            {
                "unit_id": units,
                "group": groups,
                "assigned_at": pa.array([day(-30)] * n, MOMENT),
                "stratum": strata,
            }
        ),
        decisions=rows(DECISIONS | {"at": MOMENT}, slates),
        events=rows(EVENTS | {"at": MOMENT}, ({"at": day(2)} | event for event in events)),
        currency="GBP",
        margin_share=0.3,
    ) as records:
        asked = Look("always-on", 1, START, END, **(look or {}))
        ask = Question(asked, **({"holdout_share": share, "what": said("all offers")} | (question or {})))
        window = Window(asked.start, asked.end)
        tables = Asked(window, filter or Filter(), wanted=wanted or {})
        return measure(records, [ask], tables, n_permutations=n_permutations)


def text_of(measurement: Measurement, *, full: bool = False) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(render(measurement, full=full))
    return " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]


def test_a_planted_lift_is_found_in_every_metric_that_it_moves() -> None:
    measurement = shop()
    effects = dict(measurement.main.effects)

    assert list(effects) == [*METRICS, "average_order"]
    assert {effects[name].verdict for name in ("profit", "revenue", "margin", "orders", "conversion")} == {
        "win"
    }
    orders = effects["orders"]
    assert orders.low is not None and orders.high is not None
    assert orders.low < 0.15 < orders.high
    assert effects["margin"].difference == pytest.approx(0.3 * (effects["revenue"].difference or 0), abs=0.01)
    assert effects["average_order"].verdict == "not shown"
    assert measurement == shop()


def test_segments_and_kinds_are_families_with_q_and_the_exposed_are_compared_with_their_ghosts() -> None:
    main = shop().main

    assert [part.key for part in main.caused.segments] == ["loyal", "new"]
    assert [part.key for part in main.caused.kinds] == ["for_you"]
    assert all(part.effect.q is not None for part in (*main.caused.segments, *main.caused.kinds))
    exposed = dict(main.caused.triggered)["orders"]
    assert (exposed.treated.n, exposed.holdout.n) == (800, 200)  # every third
    assert sum(part.effect.treated.n for part in main.caused.segments) == 2_400


def test_an_interval_for_any_look_is_wider_and_planned_looks_are_judged_harder() -> None:
    plain = shop().main
    profit, early = plain.effect("profit"), shop(question={"nth_look": 1, "n_looks": 4}).main.effect("profit")

    assert plain.caused.anytime is not None and profit is not None and early is not None
    assert plain.caused.anytime.low < (profit.low or 0) and plain.caused.anytime.high > (profit.high or 0)
    assert early.alpha < profit.alpha == 0.025


def test_an_open_question_is_settled_only_by_the_interval_for_any_number_of_looks() -> None:
    clear, faint = (shop(lift=lift, question={"is_open": True}, n_permutations=4_999) for lift in (1.0, 0.6))
    fixed = shop(lift=0.6)

    assert clear.main.settled and "It pays" in text_of(clear)
    anytime = faint.main.caused.anytime
    assert anytime is not None and anytime.low < 0 < (faint.main.effect("profit").low or 0)  # type: ignore[union-attr]
    assert not faint.main.settled and "More so far, not settled" in text_of(faint)
    assert fixed.main.settled and "It pays" in text_of(fixed)


def test_of_a_category_margin_decides_and_the_parts_are_about_it() -> None:
    caused = shop(look={"category": "Food"}).main.caused
    whole = shop().main.caused

    assert (caused.decides, whole.decides) == ("margin", "profit")
    assert "profit" not in dict(caused.effects)


def test_kinds_whose_groups_are_not_alike_are_left_out_and_named() -> None:
    main = shop(other_kind="win_back").main

    assert main.checks.blocked is None and main.caused.kinds == ()
    assert any("For you" in note and "not compared" in note for note in main.notes)
    asked = shop(other_kind="win_back", filter=Filter(kind="for_you")).main
    assert asked.effects == () and "not compared" in " ".join(asked.notes)


def test_where_half_is_held_out_tea_tasting_stands_beside() -> None:
    second, effect = (found := shop(share=0.5).main).caused.second_opinion, found.effect("profit")

    assert second is not None and effect is not None
    assert second.difference == pytest.approx(effect.difference, rel=1e-6)
    assert shop().main.caused.second_opinion is None


def test_a_segment_alone_is_measured_alone() -> None:
    alone = shop(filter=Filter(segment="loyal")).main.effect("orders")
    assert alone is not None and (alone.treated.n, alone.holdout.n) == (1_200, 300)


def test_the_report_reads_well_on_eighty_columns_and_attributed_is_never_called_caused() -> None:
    told = text_of(shop(clicks=range(600, 660, 3)))

    assert "treated minus holdout" in told
    assert "Attributed (not caused)" in told
    assert "…" not in told
    assert "Welch would say" in text_of(shop(), full=True)


def test_too_little_data_says_how_many_more_customers() -> None:
    small, weak = shop(n=200), shop(lift=0.0)

    verdicts = {effect.verdict for name, effect in small.main.effects}
    assert verdicts == {"too few buyers"}
    assert "more customers before 10 of each group have bought" in text_of(small)
    assert "more customers would let a lift of 5% be found" in text_of(weak)
    assert to_json(small)["incremental"]["revenue"]["p"] is None


def test_what_makes_the_groups_incomparable_blocks_the_readout_and_counts_stay() -> None:
    uneven = shop(question={"holdout_share": 0.05})
    edited = shop(question={"n_altered": 3})
    contaminated = shop(met=7)
    alone = shop(share=0.0)

    assert "changed without a new version" in str(uneven.main.checks.blocked)
    assert "changed by hand" in str(edited.main.checks.blocked)
    assert shop(met=6).main.checks.blocked is None  # 1 % of 600
    assert "1.2% of the holdout met an offer" in str(contaminated.main.checks.blocked)
    assert "Set [experiment] holdout_share above 0" in str(alone.main.checks.blocked)
    for blocked in (uneven, edited, contaminated, alone):
        document = to_json(blocked)
        assert document["incremental"] == document["triggered"] == {}
        assert document["kpis"]["window"]["orders"] > 0
        assert "No answer" in text_of(blocked)
        assert "No answer" in page(blocked)


def test_json_is_json_and_an_unbounded_interval_is_null() -> None:
    measurement = shop()
    revenue = measurement.main.effect("revenue")
    assert revenue is not None
    caused = replace(measurement.main.caused, effects=(("revenue", replace(revenue, high=float("inf"))),))
    open_ended = replace(measurement.main, caused=caused)

    document = orjson.loads(orjson.dumps(to_json(replace(measurement, readouts=(open_ended,)))))

    assert document["incremental"]["revenue"]["high"] is None
    assert document["incremental"]["revenue"]["low"] == revenue.low
    assert document["kpis"]["window"]["revenue"].count(".") == 1
    assert (
        document["experiments"][0]["experiment"]
        == document["experiment"]
        == {"name": "always-on", "version": 1}
    )
    assert document["participation"]["offered"] == pytest.approx(1 / 3)


def test_pandas_has_a_row_for_each_outcome_and_every_table() -> None:
    measurement = shop(wanted={"average_order": 20.0, "orders": 700})
    frame = effects_frame(measurement.readouts).set_index("outcome")
    tables = {sheet.name: sheet_frame(sheet, measurement.currency) for sheet in measurement.sheets}

    assert frame.loc["orders", "difference"] == pytest.approx(measurement.main.effect("orders").difference)  # type: ignore[union-attr]
    periods = tables["periods"].set_index("kpi")
    assert periods.loc["revenue", "now"] / periods.loc["orders", "now"] == pytest.approx(
        periods.loc["average_order", "now"], abs=1e-4
    )
    assert tables["targets"]["target"].tolist() == [20.0, 700]


def test_an_empty_window_is_refused_and_says_when_to_come_back() -> None:
    with pytest.raises(
        MeasurementError, match=r"is empty. Days count once they are over: measure again tomorrow"
    ):
        _empty()


def _empty() -> Measurement:
    with Records.open(orders=rows(ORDERS, ()), currency="GBP", margin_share=0.3) as records:
        return measure(records, [], Asked(Window(START, START)))
