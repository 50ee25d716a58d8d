"""Families, ladders, companions, prices."""

from __future__ import annotations

import numpy as np
import pytest

from nextoffer.simulation.catalogue import (
    BEFORE,
    choose_product,
    list_price,
    make_catalogue,
    nine_ending,
    shelf,
)
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.truth import family_names, titles

SETTINGS = ShopSettings(products=4_000)
CATALOGUE = make_catalogue(SETTINGS, 3)


def test_families_partition_the_products_and_prices_climb_their_ladders() -> None:
    first, family = CATALOGUE.first, CATALOGUE.family

    assert first[-1] == CATALOGUE.size == 4_000
    assert (np.diff(first) >= 1).all()
    assert np.array_equal(np.repeat(np.arange(len(first) - 1), np.diff(first)), family)
    same = family[1:] == family[:-1]
    assert (np.diff(CATALOGUE.price)[same] >= 0).all()
    assert (np.diff(CATALOGUE.step)[same] == 1).all()


def test_prices_end_in_a_nine() -> None:
    for week in (0, 30, 103):
        assert (shelf(SETTINGS, CATALOGUE, 3, week).price % 10 == 9).all()
    assert nine_ending(np.array([1.0, 104.2, 1000.0])).tolist() == [19, 109, 999]


def test_about_as_many_products_are_promoted_and_as_deep_as_set() -> None:
    ratio = shelf(SETTINGS, CATALOGUE, 3, 10).price / list_price(SETTINGS, CATALOGUE, 10)
    on = ratio < 0.93

    assert 0.04 < on.mean() < 0.08
    assert 0.65 < ratio.min() and ratio.max() == 1.0
    steady = ShopSettings(products=4_000, price_changes=False)
    assert np.array_equal(shelf(steady, CATALOGUE, 3, 90).price, CATALOGUE.price)


def test_no_family_is_ever_empty_and_launches_come_in_time() -> None:
    launched = CATALOGUE.launch != BEFORE

    assert 0.3 < launched.mean() < 0.45
    assert CATALOGUE.launch[launched].min() >= 0 and CATALOGUE.launch.max() < SETTINGS.weeks
    assert np.logical_or.reduceat(~launched, CATALOGUE.first[:-1]).all()
    assert not (make_catalogue(ShopSettings(launches=False), 3).launch != BEFORE).any()


@pytest.mark.parametrize("u", [1e-12, 0.3, 1 - 1e-12])
def test_only_products_of_the_family_on_the_shelf_are_chosen(u: float) -> None:
    window = shelf(SETTINGS, CATALOGUE, 3, 5)
    family = np.repeat(np.arange(len(CATALOGUE.first) - 1), 3)
    price_class = np.tile(np.arange(3), len(CATALOGUE.first) - 1)

    chosen = choose_product(CATALOGUE, window, price_class, family, np.full(len(family), u))

    assert np.array_equal(CATALOGUE.family[chosen], family)
    assert window.available[chosen].all()


def test_choices_follow_the_weights() -> None:
    window = shelf(SETTINGS, CATALOGUE, 3, 5)
    family = int(np.argmax(np.diff(CATALOGUE.first)))
    u = (np.arange(200_000) + 0.5) / 200_000
    chosen = choose_product(CATALOGUE, window, np.ones(len(u), dtype=np.int64), np.full(len(u), family), u)

    weight = np.diff(window.cum[CATALOGUE.size - 1 : 2 * CATALOGUE.size])
    own = slice(CATALOGUE.first[family], CATALOGUE.first[family + 1])
    share = np.bincount(chosen, minlength=CATALOGUE.size)[own] / len(u)
    assert np.abs(share - weight[own] / weight[own].sum()).max() < 1e-4


def test_companions_are_other_products_of_other_families() -> None:
    row, slot = np.nonzero(CATALOGUE.companions >= 0)
    partner = CATALOGUE.companions[row, slot]

    assert 0.4 < len(row) / (2 * CATALOGUE.size) < 0.6
    assert (CATALOGUE.family[partner] != CATALOGUE.family[row]).all()
    both = (CATALOGUE.companions >= 0).all(axis=1)
    assert (CATALOGUE.companions[both, 0] != CATALOGUE.companions[both, 1]).all()
    assert ((CATALOGUE.companion_q > 0) == (CATALOGUE.companions >= 0)).all()


def test_titles_are_distinct_and_name_the_family() -> None:
    named = titles(CATALOGUE, 3).to_pylist()
    names = family_names(len(CATALOGUE.first) - 1)

    assert len(set(named)) == len(named)
    assert all(title.startswith(names[family]) for title, family in zip(named, CATALOGUE.family, strict=True))


def test_a_catalogue_of_fifty_thousand_has_a_title_for_each() -> None:
    catalogue = make_catalogue(ShopSettings(products=50_000), 1)
    named = titles(catalogue, 1).to_pylist()

    assert len(set(named)) == 50_000
