"""Segments beside each other, and targets."""

from __future__ import annotations

import pytest
from tests.measurement.kpi.shops import line, person, shop, window

from nextoffer.measurement.kpi import Filter, Terms, count
from nextoffer.measurement.kpi.cohorts import cohorts
from nextoffer.measurement.kpi.segments import segments, targets
from nextoffer.measurement.records import Records


@pytest.fixture(scope="module")
def three() -> Records:
    return shop(
        [
            line("1", "ann", 1, 10_00),
            line("2", "ann", 2, 30_00),
            line("3", "bob", 3, 60_00),
            line("4", "bob", -3, 60_00),
            line("5", None, 3, 1_00),
            line("6", "cid", -3, 60_00),
        ],
        [person("ann", "club", -9), person("bob")],
        segments={"ann": "champions", "bob": "at_risk", "zoe": "vip"},
    )


def test_each_segment_is_a_row_in_the_order_of_the_segments_and_guests_only_in_all(three: Records) -> None:
    sheet = segments(count(three, window()), ["customers", "orders", "revenue", "average_order", "churn"])

    assert [row[0] for row in sheet.rows] == ["champions", "at_risk", "all"]
    assert [row[2:] for row in sheet.rows] == [
        (1, 2, 40_00, 20_00.0, None),
        (1, 1, 60_00, 60_00.0, 0.0),
        (3, 4, 101_00, pytest.approx(101_00 / 4), 0.5),
    ]
    assert sheet.rows[0][1] == "Champions" and sheet.rows[0][1].in_("ru") == "Лучшие клиенты"  # type: ignore[union-attr]


def test_a_target_is_met_or_missed_by_a_gap_and_less_churn_is_better(three: Records) -> None:
    wanted = {
        "champions": {"frequency": 2},
        "average_order": 30,
        "churn": 0.4,
        "retention": 0.5,
        "nps": 30,
        "at_risk": {"revenue": 100.5, "churn": 0.0},
        "lost": {"orders": 1},
    }
    sheet = targets(count(three, window()), wanted)

    assert [(row[0], row[2], *row[4:]) for row in sheet.rows] == [
        ("average_order", "all", 30_00.0, 25_25.0, -4_75.0, "no"),
        ("churn", "all", 0.4, 0.5, pytest.approx(0.1), "no"),
        ("retention", "all", 0.5, 0.5, 0.0, "yes"),
        ("nps", "all", 30.0, None, None, None),
        ("frequency", "champions", 2.0, 2.0, 0.0, "yes"),
        ("revenue", "at_risk", 100_50, 60_00, -40_50, "no"),
        ("churn", "at_risk", 0.0, 0.0, 0.0, "yes"),
        ("orders", "lost", 1, None, None, None),  # nobody is in it
    ]
    assert sheet.records("EUR")[5] == {
        "kpi": "revenue",
        "heading": "revenue",
        "segment": "at_risk",
        "whose": "At risk",
        "target": "100.50",
        "actual": "60.00",
        "gap": "-40.50",
        "reached": "no",
    }


def test_people_see_no_keys(three: Records) -> None:
    shown = targets(count(three, window()), {"orders": 3}).for_people()

    assert [column.name for column in shown.columns] == [
        "heading",
        "whose",
        "target",
        "actual",
        "gap",
        "reached",
    ]
    assert shown.rows == (("orders", "Everybody", 3, 4, 1, "yes"),)


def test_cohorts_count_who_comes_back_in_later_whole_months() -> None:
    # Months begin on days −59 (January), −28 (February), 0 (March), 31 (April).
    records = shop(
        [
            line("1", "ann", -50, 1_00),
            line("2", "ann", -45, 1_00),  # the same month: not again
            line("3", "ann", -10, 1_00),
            line("4", "ann", 5, 1_00),
            line("5", "bob", -55, 1_00),
            line("6", "bob", 6, 1_00),
            line("7", "cid", -5, 1_00),
            line("8", None, -5, 1_00),
            line("9", "dan", -5, -1_00),  # only a return
        ]
    )

    sheet = cohorts(records, window(0, 31), n_months=3)  # until April begins: March is over
    assert sheet.rows == (("2026-01", 2, 0.5, 1.0, None), ("2026-02", 1, 0.0, None, None))
    sheet = cohorts(records, window(0, 30), n_months=3)  # on the last day of March it is not
    assert sheet.rows == (("2026-01", 2, 0.5, None, None), ("2026-02", 1, None, None, None))
    sheet = cohorts(records, window(0, 31), filter=Filter(segment="lost"))
    assert sheet.rows == ()


def test_months_are_the_shops() -> None:
    records = shop([line("1", "ann", -0.05, 1_00)])  # 22:48 UTC on the last day of February

    assert cohorts(records, window()).rows[0][0] == "2026-02"
    assert cohorts(records, window(), Terms(zone="Europe/Moscow")).rows[0][0] == "2026-03"


def test_old_cohorts_leave_the_table() -> None:
    records = shop([line("1", "ann", -50, 1_00), line("2", "bob", -5, 1_00)])

    assert [row[0] for row in cohorts(records, window(0, 31), n_months=2).rows] == ["2026-02"]
