"""Before and after joining: by hand, against loops over every pair of customers, with the jackknife's error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.measurement.kpi.shops import line, person, shop, window

from nextoffer.measurement.kpi import Filter, Terms
from nextoffer.measurement.kpi.joining import Joined, joined, joining

DAYS = 20


def found(
    lines: list[dict[str, Any]], people: list[dict[str, Any]], first: float = 0, last: float = 60
) -> Joined:
    with shop(lines, people) as records:
        return joined(records, window(first, last), DAYS, Terms(), Filter())


def test_the_gain_of_members_less_that_of_others_over_the_same_days() -> None:
    lines = [
        line("1", "ann", -100, 1_00),
        line("2", "ann", 5, 10_00, 4_00),  # in the 20 days before day 20
        line("3", "ann", 20.5, 500_00),  # on the day of joining: on neither side
        line("4", "ann", 25, 30_00, 10_00),
        line("5", "ann", 39, 20_00, 10_00),
        line("6", "ann", 41, 900_00),  # too late
        line("7", "bob", -100, 1_00),
        line("8", "bob", 10, 6_00, 1_00),
        line("9", "bob", 40, 8_00, 1_00),
        line("10", "cid", 5, 70_00),  # no customer long enough to be held against
    ]
    got = found(lines, [person("ann", "club", 20.2), person("bob")])

    assert (got.n_members, got.n_others, got.left_out) == (1, 1, (0, 0, 0))
    assert got.means.tolist() == [[1, 10_00, 6_00], [2, 50_00, 30_00], [1, 6_00, 5_00], [1, 8_00, 7_00]]
    assert got.difference.tolist() == [1, 40_00 - 2_00, 24_00 - 2_00]


def test_members_whose_days_are_not_whole_are_left_out_and_counted() -> None:
    lines = [line(f"{who}0", who, -100, 1_00) for who in ("ann", "bob", "eve")] + [line("9", "cid", 15, 1_00)]
    people = [
        person("ann", "club", 39.9),  # days 40 to 59 are over when the window ends on day 60
        person("bob", "club", 40),
        person("cid", "club", 30),
        person("dan", "club", 30),  # never bought
        person("fay", "club", -70),
    ]
    got = found(lines, people)

    assert (got.n_members, got.left_out) == (1, (1, 2, 0))
    sheet = joining(shop(lines, people), window(0, 60), DAYS)
    assert len(sheet.rows) == 3 and "not over: 1" in sheet.notes[1] and "began: 2" in sheet.notes[1]


def test_a_short_window_still_has_those_whose_days_after_end_in_it() -> None:
    lines = [line(f"{who}0", who, -100, 1_00) for who in ("ann", "bob", "cid", "dan")]
    people = [person("ann", "club", 31), person("bob", "club", 29), person("cid", "club", 45), person("dan")]
    got = found(lines, people, 50, 60)  # ann's end on day 51; bob's ended on day 49; cid's have not

    assert (got.n_members, got.left_out) == (1, (1, 0, 0))


def test_nobody_to_hold_against_is_said_and_not_guessed() -> None:
    lines = [line("1", "ann", -100, 1_00), line("2", "bob", 15, 1_00)]
    got = found(lines, [person("ann", "club", 20)])

    assert (got.n_members, got.left_out) == (0, (0, 0, 1))
    assert joining(shop(lines, [person("ann", "club", 20)]), window(0, 60), DAYS).rows == ()
    assert joining(shop([]), window(0, 60), DAYS).rows == ()


def drawn(seed: int, n: int = 40, lift: float = 0.0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Customers with their own pace and start; a season all share; members buy `lift` more a day once joined."""
    rng = np.random.default_rng(seed)
    lines, people, number = [], [], 0
    for who in range(n):
        begins = int(rng.integers(-60, 20))
        joins = int(rng.integers(-30, 75)) if rng.random() < 0.4 else None
        people.append(person(f"c{who}", "club" if joins is not None else None, joins))
        pace = rng.gamma(2.0, 0.04)
        for day in range(begins, 80):
            season = 1 + 0.5 * np.sin(day / 12)
            extra = lift if joins is not None and day > joins else 0.0
            for _ in range(rng.poisson(pace * season + extra)):
                number += 1
                back = rng.random() < 0.1
                lines.append(
                    line(f"o{number}", f"c{who}", day + 0.5, int(rng.integers(-900 if back else 100, 2000)))
                )
    return lines, people


def by_hand(
    lines: list[dict[str, Any]], people: list[dict[str, Any]], last: int
) -> tuple[np.ndarray, int, int] | None:
    """Every member beside every other customer there was, day by day."""
    start = window().parameters["start"]
    sold: dict[str, list[tuple[int, np.ndarray]]] = {}
    for each in lines:
        day, revenue = (each["ordered_at"] - start).days, each["revenue"]
        margin = np.sign(revenue) * np.floor(abs(revenue) * 0.3 + 0.5)
        if day < last:
            sold.setdefault(each["customer_id"], []).append(
                (day, np.array([revenue > 0, revenue, margin], float))
            )
    began = {
        who: min((day for day, figures in rows if figures[0]), default=10**6) for who, rows in sold.items()
    }
    joins = {
        row["customer_id"]: (row["joined_at"] - start).days for row in people if row["joined_at"] is not None
    }

    def between(who: str, first: int, until: int) -> np.ndarray:
        return sum((figures for day, figures in sold.get(who, []) if first <= day <= until), np.zeros(3))

    rows, n_others = [], 0
    for who, day in joins.items():
        if not -DAYS <= day < last or day + DAYS >= last or began.get(who, 10**6) >= day - DAYS:
            continue
        others = [other for other in began if other not in joins and began[other] < day - DAYS]
        if not others:
            continue
        n_others = max(n_others, len(others))
        rows.append(
            [
                between(who, day - DAYS, day - 1),
                between(who, day + 1, day + DAYS),
                np.mean([between(other, day - DAYS, day - 1) for other in others], axis=0),
                np.mean([between(other, day + 1, day + DAYS) for other in others], axis=0),
            ]
        )
    return (np.mean(rows, axis=0), len(rows), n_others) if rows else None


@pytest.mark.parametrize("seed", range(1, 9))
def test_means_are_those_of_loops_over_every_pair(seed: int) -> None:
    lines, people = drawn(seed)
    expected = by_hand(lines, people, 60)
    got = found(lines, people)

    assert expected is not None
    assert got.means == pytest.approx(expected[0]) and (got.n_members, got.n_others) == expected[1:]


def test_the_error_is_that_of_the_jackknife_over_customers() -> None:
    lines, people = drawn(5, 90)
    whole = found(lines, people)
    left = []
    for who in people:
        means = by_hand(
            [row for row in lines if row["customer_id"] != who["customer_id"]],
            [row for row in people if row["customer_id"] != who["customer_id"]],
            60,
        )
        assert means is not None
        left.append(means[0][1] - means[0][0] - (means[0][3] - means[0][2]))
    n = len(people)
    spread = np.sqrt((n - 1) / n * ((np.array(left) - np.mean(left, axis=0)) ** 2).sum(axis=0))

    assert whole.error == pytest.approx(
        spread, rel=0.1
    )  # the jackknife draws members and others from one pot


def test_what_joining_adds_is_found() -> None:
    got = found(*drawn(7, 400, lift=0.2))

    assert abs(got.difference[0] - 0.2 * DAYS) < 2.6 * got.error[0]
    assert got.difference[0] > 4 * got.error[0]


def test_days_are_the_shops() -> None:
    lines = [
        line("1", "ann", -100, 1_00),
        line("2", "ann", 20.95, 5_00),  # 22:48 UTC: in Moscow the day after
        line("3", "bob", -100, 1_00),
    ]
    people = [person("ann", "club", 20.2), person("bob")]
    with shop(lines, people) as records:
        utc = joined(records, window(0, 60), DAYS, Terms(), Filter())
        local = joined(records, window(0, 60), DAYS, Terms(zone="Europe/Moscow"), Filter())

    assert utc.means[1].tolist() == [0, 0, 0] and local.means[1].tolist() == [1, 5_00, 1_50]
