"""Prices after a discount and the margin floor: exact to the cent."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.bundle.bundle import Bundle
from nextoffer.offers.choosing import Policy
from nextoffer.offers.incentives import final_price, levels_of, meets_floor

CENTS = st.integers(0, 10**9)
LEVELS = st.integers(0, 9_999).map(lambda n: Decimal(n) / 10_000)


@given(CENTS, LEVELS)
def test_a_final_price_is_the_exact_product_rounded_half_to_even(price: int, level: Decimal) -> None:
    expected = (price * (1 - level)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)

    got = final_price(np.array([price]), np.array([float(level)]))

    assert got.tolist() == [int(expected)]


@pytest.mark.parametrize(
    ("price", "level", "final"), [(10, 0.15, 8), (30, 0.15, 26), (9, 0.5, 4), (7, 0.5, 4), (255, 0, 255)]
)
def test_half_a_cent_goes_to_the_even_one(price: int, level: float, final: int) -> None:
    assert final_price(np.array([price]), np.array([level])).tolist() == [final]


@given(
    price=st.integers(0, 10**7),
    cost=st.integers(0, 10**7),
    level=LEVELS,
    floor=st.integers(0, 1000).map(lambda n: Decimal(n) / 1000),
)
def test_the_margin_floor_holds_to_the_cent(
    price: int, cost: int, level: Decimal, floor: Decimal, shop_bundle: Bundle
) -> None:
    one = replace(shop_bundle.catalogue, price=np.array([price]), unit_cost=np.array([cost]))
    final = int((price * (1 - level)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    expected = final > 0 and Fraction(final - cost) >= Fraction(floor) * final

    got = meets_floor(one, np.array([0]), np.array([float(level)]), float(floor))

    assert got.tolist() == [expected]


@given(price=st.integers(1, 10**6), floor=st.sampled_from([0.05, 0.1, 0.3]))
def test_one_cent_of_cost_decides_at_the_floor(price: int, floor: float, shop_bundle: Bundle) -> None:
    dearest = price - -(-Fraction(str(floor)) * price // 1)
    pair = replace(
        shop_bundle.catalogue,
        price=np.array([price, price]),
        unit_cost=np.array([int(dearest), int(dearest) + 1]),
    )

    assert meets_floor(pair, np.array([0, 1]), np.zeros(2), floor).tolist() == [True, False]


def test_without_configured_levels_there_is_no_discount(shop_policy: Policy) -> None:
    assert levels_of(replace(shop_policy, levels=())) == (0.0,)
    assert levels_of(shop_policy) == (0.05, 0.10, 0.15)
