"""This period and the one before: relative changes, as the published table of a loyalty programme has them."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from tests.measurement.kpi.shops import answer, line, person, shop, window

from nextoffer.measurement.kpi import Filter, Window, compared, count, kpi
from nextoffer.measurement.kpi.periods import change, periods, trend
from nextoffer.measurement.records import Records

# members, repeat purchases, average order, share paid with points, promo codes, reviews, invited customers
FIRST = (100, 20, 1000, 10, 50, 10, 5)
SECOND = (150, 30, 1200, 15, 70, 20, 10)
CHANGES = {
    "members": 0.5,
    "repeat_orders": 0.5,
    "average_order": 0.2,
    "points_orders": 0.5,
    "promo_orders": 0.4,
    "reviews": 1.0,
    "invited": 1.0,
}


@pytest.fixture(scope="module")
def published() -> Records:
    """A shop of 100 orders in each of two periods that has exactly the figures of the published table."""
    lines, people, surveys = [], [], []
    for name, at, figures in (("a", -15, FIRST), ("b", 15, SECOND)):
        _, n_repeat, price, n_points, n_codes, n_reviews, n_invited = figures
        for number in range(100):
            new = number < 100 - n_repeat
            who = f"{name}{number if new else number - (100 - n_repeat)}"
            lines.append(
                line(
                    f"{name}{number}",
                    who,
                    at if new else at + 1,
                    price * 100,
                    points_spent=10 if number < n_points else 0,
                    promo_code="CODE" if number < n_codes else None,
                )
            )
            if new:
                people.append(person(who, by="old" if number < n_invited else None))
        surveys += [answer("review", 5, at) for _ in range(n_reviews)]
    people += [
        person(f"m{number}", "club", joined=-20 if number < FIRST[0] else 10) for number in range(SECOND[0])
    ]
    return shop(lines, people, surveys)


@pytest.mark.parametrize("name", CHANGES)
def test_changes_are_those_of_the_published_table(published: Records, name: str) -> None:
    sheet = periods(count(published, window()), count(published, window().before), [kpi(name)])

    ((_, _, now, before, moved, went),) = sheet.rows
    at = list(CHANGES).index(name)
    assert (before, now) == tuple(
        pytest.approx(figures[at] * {"average_order": 100, "points_orders": 0.01}.get(name, 1))
        for figures in (FIRST, SECOND)
    )
    assert moved == CHANGES[name]  # exactly: shares are fractions until they are shown
    assert went == "up, better"


def test_a_change_is_a_part_of_what_was_and_from_nothing_there_is_none() -> None:
    assert change(Fraction(15, 100), Fraction(10, 100)) == 0.5
    assert (change(0, 0), change(3, 0), change(None, 3)) == (0.0, None, None)
    assert (change(-5, -10), change(10, -10)) == (0.5, 2.0)


def test_a_trend_says_whether_it_is_good() -> None:
    words = [
        trend(now, before, better)
        for now, before, better in ((2, 1, -1), (1, 2, -1), (1, 2, 0), (1, 0, 1), (1, 1, 1))
    ]
    assert words == ["up, worse", "down, better", "down", "new", "unchanged"]
    assert trend(None, 1) is None


def test_what_is_known_in_neither_period_is_left_out(published: Records) -> None:
    sheet = periods(count(published, window()), count(published, window().before))

    names = [row[0] for row in sheet.rows]
    assert "nps" not in names and "roi_attributed" not in names and "orders" in names
    assert len(sheet.formats) == len(sheet.rows)


def test_a_reader_gets_money_as_text_and_shares_as_numbers(published: Records) -> None:
    counted = count(published, window())
    told = {row["kpi"]: row for row in periods(counted, counted).records("EUR")}

    assert told["revenue"]["now"] == "120000.00" and told["average_order"]["now"] == 1200.0
    assert told["points_orders"]["now"] == 0.15 and told["orders"]["now"] == 100


def test_a_filter_that_narrows_nothing_says_so(published: Records) -> None:
    counted = count(published, window(), filter=Filter(kind="win_back"))

    assert "The filter by kind of offer does not narrow this table." in periods(counted, counted).notes


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("preset", "now", "before"),
    [
        ("previous", ("2026-05-01", "2026-05-31"), ("2026-04-01", "2026-05-01")),
        ("year_ago", ("2026-05-01", "2026-05-31"), ("2025-05-01", "2025-05-31")),
        ("half_year", ("2025-11-30", "2026-05-31"), ("2025-05-31", "2025-11-30")),
        ("year", ("2025-05-31", "2026-05-31"), ("2024-05-31", "2025-05-31")),
        ("quarter", ("2026-01-01", "2026-04-01"), ("2025-10-01", "2026-01-01")),
    ],
)
def test_a_preset_is_a_period_and_the_one_before(
    preset: str, now: tuple[str, str], before: tuple[str, str]
) -> None:
    got = compared(Window(utc("2026-05-01"), utc("2026-05-31")), preset)

    assert got == (Window(*map(utc, now)), Window(*map(utc, before)))


def test_a_quarter_begins_at_the_shops_midnight() -> None:
    now, before = compared(Window(utc("2026-05-01"), utc("2026-05-31")), "quarter", ZoneInfo("Europe/Moscow"))

    assert now.parameters["start"].isoformat() == "2025-12-31T21:00:00"
    assert before.end == now.start
