"""Birthdays, anniversaries and points: against the calendar itself."""

from __future__ import annotations

import calendar
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import best_of_each
from nextoffer.domain.offers import REASONS
from nextoffer.features.diary import Calendar, Diary
from nextoffer.offers.batch import PER_KIND, KindSettings, make_batch
from nextoffer.offers.event import candidates, comes_up, occasions

days = st.dates(date(1920, 1, 1), date(2040, 12, 31))


def birthday_in(born: date, year: int) -> date:
    if (born.month, born.day) == (2, 29) and not calendar.isleap(year):
        return date(year, 2, 28)
    return born.replace(year=year)


@given(born=days | st.just(date(1996, 2, 29)), today=days, window=st.integers(0, 40))
def test_a_birthday_comes_up_in_the_days_before_it_and_on_it(born: date, today: date, window: int) -> None:
    dates = [birthday_in(born, year) for year in (today.year, today.year + 1)]

    near = comes_up(np.array([born.month], np.int8), np.array([born.day], np.int8), today, window)

    assert near.tolist() == [any(0 <= (one - today).days <= window for one in dates)]


@given(born=days | st.just(date(1996, 2, 29)), year=st.integers(1990, 2039), window=st.integers(0, 20))
def test_a_birthday_comes_up_on_as_many_days_of_a_year_as_the_window_has(
    born: date, year: int, window: int
) -> None:
    month, day = np.array([born.month]), np.array([born.day])
    year_of_days = [date(year, 1, 1) + timedelta(days=at) for at in range(365)]

    found = sum(bool(comes_up(month, day, today, window)[0]) for today in year_of_days)

    assert abs(found - (window + 1)) <= int(calendar.isleap(year))


def test_the_29th_of_february_is_the_28th_of_common_years_and_itself_in_leap_years() -> None:
    month, day = np.array([2]), np.array([29])

    assert [bool(comes_up(month, day, date(year, 2, 28), 0)[0]) for year in (2026, 2028)] == [True, False]
    assert comes_up(month, day, date(2028, 2, 29), 0)[0]
    assert not comes_up(np.array([0]), np.array([0]), date(2028, 2, 28), 366)[0]  # unknown


TODAY = date(2026, 7, 1)


def number(day: date) -> int:
    return (day - date(1970, 1, 1)).days


def with_calendar(bundle: Bundle, **columns: list[int]) -> Bundle:
    """The first customers have these days, the others none."""
    n = len(bundle.customer_ids.ids)
    types = {"birth_month": np.int8, "birth_day": np.int8}
    full = {
        name: np.pad(np.array(values, types.get(name, np.int32)), (0, n - len(values)))
        for name, values in columns.items()
    }
    return replace(bundle, diary=Diary(Calendar(**full)))


def test_an_anniversary_is_of_the_first_order_and_of_another_year(shop_bundle: Bundle) -> None:
    first = [date(2025, 7, 8), date(2025, 7, 9), date(2025, 6, 30), TODAY, date(2024, 7, 1)]
    bundle = with_calendar(shop_bundle, first_order_day=[number(day) for day in first])

    *_, anniversary = occasions(np.arange(6), bundle, KindSettings(TODAY))

    assert anniversary.tolist() == [True, False, False, False, True, False]


def test_an_anniversary_may_lie_beyond_the_turn_of_the_year(shop_bundle: Bundle) -> None:
    first = [number(date(2026, 1, 2)), number(date(2026, 12, 29)), number(date(2024, 2, 29))]
    bundle = with_calendar(shop_bundle, first_order_day=first)

    *_, in_winter = occasions(np.arange(3), bundle, KindSettings(date(2026, 12, 29)))
    *_, in_spring = occasions(np.arange(3), bundle, KindSettings(date(2026, 2, 28), event_days=0))

    assert in_winter.tolist() == [True, False, False]
    assert in_spring.tolist() == [False, False, True]


def test_points_are_spoken_of_only_while_there_are_some_to_lose(shop_bundle: Bundle) -> None:
    bundle = with_calendar(
        shop_bundle,
        points_balance=[5, 5, 5, 5, 0],
        points_expire_day=[number(TODAY) + after for after in (-1, 0, 14, 15, 3)],
    )

    _, points, _ = occasions(np.arange(6), bundle, KindSettings(TODAY))

    assert points.tolist() == [False, True, True, False, False, False]


def test_each_customer_has_one_occasion_and_the_products_they_like_best(shop_bundle: Bundle) -> None:
    soon = number(TODAY + timedelta(days=2))
    bundle = with_calendar(
        shop_bundle,
        birth_month=[7, 0, 0],
        birth_day=[3, 0, 0],
        points_balance=[9, 9, 0],
        points_expire_day=[soon, soon, 0],
        first_order_day=[number(date(2025, 7, 2))] * 3,
    )
    batch = make_batch(bundle, np.arange(8))

    found = candidates(batch, bundle, KindSettings(TODAY))

    reasons = {(int(who), REASONS[why]) for who, why in zip(found.customer, found.reason, strict=True)}
    assert reasons == {(0, "birthday"), (1, "points-expire"), (2, "anniversary")}
    scored = batch.scored
    best = best_of_each(scored.position, scored.p_buy, scored.product, PER_KIND)
    for who in range(3):
        likely = set(scored.product[best & (scored.position == who)].tolist())
        assert likely <= set(found.product[found.customer == who].tolist())


@pytest.mark.parametrize("rows", [np.arange(0), np.array([5, 5])])
def test_an_empty_calendar_has_no_occasion(shop_bundle: Bundle, rows: np.ndarray) -> None:
    bundle = replace(shop_bundle, diary=Diary())

    assert not any(mask.any() for mask in occasions(rows, bundle, KindSettings(TODAY)))
    assert len(candidates(make_batch(bundle, rows), bundle, KindSettings(TODAY))) == 0
