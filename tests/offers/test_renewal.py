"""Passes that end: who is reminded, until when, and how likely they renew by themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.features.diary import Diary, Passes
from nextoffer.offers.batch import KindSettings, make_batch
from nextoffer.offers.renewal import ENOUGH, USUAL, candidates, p_renewed

TODAY = date(2026, 7, 1)
NOW = (TODAY - date(1970, 1, 1)).days
Pass = tuple[int, int, int, int, bool, int]  # customer, product, started, ends, renews by itself, renewed


def passes_of(rows: list[Pass]) -> Passes:
    columns = list(zip(*sorted(rows, key=lambda row: (row[0], row[3])), strict=True)) or [()] * 6
    types = (np.int32, np.int32, np.int32, np.int32, np.bool_, np.int32)
    return Passes(*(np.array(column, kind) for column, kind in zip(columns, types, strict=True)))


def reminded(bundle: Bundle, rows: list[Pass], when: KindSettings | None = None) -> list[tuple[int, int]]:
    """(customer, product) of the renewals offered."""
    bundle = replace(bundle, diary=Diary(passes=passes_of(rows)))
    found = candidates(make_batch(bundle, np.arange(12)), bundle, when or KindSettings(TODAY))
    return list(zip(found.customer.tolist(), found.product.tolist(), strict=True))


@pytest.mark.parametrize(
    ("left", "length", "due"),
    [
        (22, 365, False),
        (21, 365, True),
        (0, 365, True),
        (-7, 365, True),
        (-8, 365, False),
        (4, 7, False),
        (3, 7, True),
    ],
)
def test_a_reminder_comes_three_weeks_before_the_end_and_until_a_week_after(
    shop_bundle: Bundle, left: int, length: int, due: bool
) -> None:
    ends = NOW + left

    assert reminded(shop_bundle, [(3, 5, ends - length, ends, False, 0)]) == ([(3, 5)] if due else [])


def test_nobody_is_reminded_who_renewed_whose_pass_renews_itself_or_whose_product_is_gone(
    shop_bundle: Bundle,
) -> None:
    year = NOW - 365
    rows = [(0, 5, year, NOW, False, NOW - 1), (1, 5, year, NOW, True, 0), (2, -1, year, NOW, False, 0)]

    assert reminded(shop_bundle, [*rows, (3, 5, year, NOW, False, 0)]) == [(3, 5)]


def test_of_two_passes_for_one_product_there_is_one_reminder_with_the_chance_of_the_later(
    shop_bundle: Bundle,
) -> None:
    rows: list[Pass] = [(3, 5, NOW - 300, NOW - 5, False, 0), (3, 5, NOW - 200, NOW + 9, False, 0)]
    old: list[Pass] = [(8, 2, NOW - 400 - at, NOW - 90 - at, False, NOW - 85 - at) for at in range(30)]
    bundle = replace(shop_bundle, diary=Diary(passes=passes_of(rows + old)))

    found = candidates(make_batch(bundle, np.array([3])), bundle, KindSettings(TODAY))

    assert found.product.tolist() == found.because.tolist() == [5]
    assert found.p_buy.tolist() == pytest.approx([(30 + ENOUGH * USUAL) / (30 + ENOUGH)])


def test_the_lead_is_the_shops_to_choose(shop_bundle: Bundle) -> None:
    rows: list[Pass] = [(3, 5, NOW - 300, NOW + 10, False, 0)]

    assert reminded(shop_bundle, rows, KindSettings(TODAY, renewal_days=9)) == []
    assert reminded(shop_bundle, rows, KindSettings(TODAY, renewal_days=10)) == [(3, 5)]


def test_the_chance_is_of_those_who_had_come_as_far(shop_bundle: Bundle) -> None:
    rng = np.random.default_rng(5)
    ends = NOW - rng.integers(40, 700, 400)
    after = rng.integers(-30, 60, 400)
    after = np.where((after == 0) | (after == 1), 30, after)
    renewed = np.where(rng.random(400) < 0.7, ends + after, 0)
    rows = [(0, 5, int(end) - 180, int(end), False, int(day)) for end, day in zip(ends, renewed, strict=True)]

    for over in (-21, -3, 0, 7):
        still = [(end, day) for end, day in zip(ends, renewed, strict=True) if day == 0 or day - end > over]
        again = [day for end, day in still if day and day - end <= over + 28]
        p = p_renewed(passes_of(rows), NOW, np.array([over]), 28)
        assert p.tolist() == pytest.approx([(len(again) + ENOUGH * USUAL) / (len(still) + ENOUGH)])


def test_a_successor_that_begins_where_a_pass_ends_was_bought_some_day_of_its_last_three_weeks() -> None:
    n = 2_100
    rows: list[Pass] = [(0, 5, NOW - 400, NOW - 100, False, NOW - 100 + at % 2) for at in range(n)]
    rows += [(0, 5, NOW - 400, NOW - 100, False, 0) for _ in range(n)]

    for over, still in ((-21, n), (-7, n / 3), (0, 0)):
        p = p_renewed(passes_of(rows), NOW, np.array([over]), 28)
        assert p.tolist() == pytest.approx([(still + ENOUGH * USUAL) / (n + still + ENOUGH)], abs=1e-3)


def test_a_pass_whose_horizon_is_not_over_teaches_nothing() -> None:
    fresh: list[Pass] = [(0, 5, NOW - 200, NOW - 20, False, 0)]

    assert p_renewed(passes_of(fresh), NOW, np.array([0]), 28).tolist() == [USUAL]


def test_days_are_the_shops_not_the_servers(shop_bundle: Bundle) -> None:
    rows: list[Pass] = [(3, 5, NOW - 365, NOW + 21, False, 0)]

    assert reminded(shop_bundle, rows, KindSettings(TODAY)) == [(3, 5)]
    assert reminded(shop_bundle, rows, KindSettings(TODAY - timedelta(days=1))) == []
