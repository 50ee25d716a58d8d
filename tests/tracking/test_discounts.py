"""What a code takes off is exact to the minor unit, in currencies of 0, 2 and 3 decimals."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from nextoffer.errors import BadRecordError
from nextoffer.tracking.discounts import Basket, discount_of, parse_basket


def line(product: str, quantity: object, price: str, **more: str) -> dict[str, Any]:
    return {"product_id": product, "quantity": str(quantity), "unit_price": price} | more


def order(*lines: dict[str, Any], currency: str = "GBP", **more: Any) -> Basket:
    return parse_basket({"order_id": "o1", "lines": list(lines), **more}, currency)


TEA = line("tea", 3, "2.55")


@pytest.mark.parametrize(
    ("incentive", "product", "basket", "currency", "off"),
    [
        ({"type": "percent", "value": "10"}, "tea", order(TEA), "GBP", 3 * (255 - 230)),  # 2.295 is 2.30
        ({"type": "percent", "value": "10"}, None, order(TEA), "GBP", 765 - 688),  # 6.885 is 6.88
        ({"type": "percent", "value": "10"}, "tea", order(TEA, line("jam", 1, "9")), "GBP", 75),
        ({"type": "percent", "value": "100"}, "tea", order(TEA, line("jam", 1, "9")), "GBP", 765),
        ({"type": "percent", "value": "12.5"}, None, order(line("x", 1, "1000"), currency="JPY"), "JPY", 125),
        ({"type": "percent", "value": "50"}, None, order(line("x", 1, "3"), currency="JPY"), "JPY", 1),
        ({"type": "percent", "value": "50"}, None, order(line("x", 1, "0.005"), currency="KWD"), "KWD", 3),
        ({"type": "amount", "value": "5"}, None, order(TEA), "GBP", 500),
        ({"type": "amount", "value": "10"}, None, order(TEA), "GBP", 765),  # no order costs less than nothing
        (
            {"type": "amount", "value": "5"},
            "tea",
            order(line("tea", 1, "2.55"), line("jam", 1, "9")),
            "GBP",
            255,
        ),
        ({"type": "amount", "value": "5"}, "tea", order(line("tea", 1, "9", line_discount="8")), "GBP", 100),
        ({"type": "fixed_price", "value": "1.99"}, "tea", order(TEA), "GBP", 3 * 56),
        ({"type": "fixed_price", "value": "9.99"}, "tea", order(TEA), "GBP", 0),  # it never costs more
        ({"type": "fixed_price", "value": "0"}, "tea", order(TEA), "GBP", 765),
        ({"type": "free_shipping"}, None, order(TEA, shipping="3.90"), "GBP", 390),
        ({"type": "free_shipping"}, None, order(TEA), "GBP", 0),
        ({"type": "gift", "product_id": "cup"}, None, order(TEA, line("cup", 2, "4.00")), "GBP", 400),
        ({"type": "gift", "product_id": "cup"}, None, order(TEA), "GBP", 0),
        ({"type": "points", "value": "100"}, None, order(TEA), "GBP", 0),
        ({"type": "none"}, None, order(TEA), "GBP", 0),
        ({"type": "percent", "value": "10"}, "tea", order(line("tea", -2, "2.55"), total="0"), "GBP", 0),
        ({"type": "percent", "value": "10"}, None, parse_basket({"total": "20.05"}, "GBP"), "GBP", 201),
        ({"type": "percent", "value": "10"}, "tea", order(line("tea", "0.5", "10.01")), "GBP", 50),
    ],
)
def test_each_incentive(
    incentive: dict[str, str], product: str | None, basket: Basket, currency: str, off: int
) -> None:
    assert discount_of(incentive, product, basket, currency) == off


PRICES = st.integers(1, 10_000_000)
LINES = st.lists(st.tuples(st.integers(1, 20), PRICES), min_size=1, max_size=5)


def of_minor(minor: int, digits: int) -> str:
    return str(Decimal(minor).scaleb(-digits))


@given(LINES, st.integers(0, 10_000), st.sampled_from([("JPY", 0), ("GBP", 2), ("KWD", 3)]))
def test_a_percentage_of_a_product_is_that_of_each_unit_by_brute_force(
    lines: list[tuple[int, int]], hundredths: int, money: tuple[str, int]
) -> None:
    currency, digits = money
    basket = order(*(line("tea", n, of_minor(price, digits)) for n, price in lines), currency=currency)
    incentive = {"type": "percent", "value": str(Decimal(hundredths) / 100)}

    # round() of a Fraction is half to even, like the till
    expected = sum(n * (price - round(Fraction(price * (10_000 - hundredths), 10_000))) for n, price in lines)
    assert discount_of(incentive, "tea", basket, currency) == expected


def test_a_price_finer_than_the_smallest_coin_is_discounted_by_the_line() -> None:
    screws = order(line("screw", 100, "0.006"), line("screw", 10, "0.014"), line("screw", 1, "2.00"))

    assert discount_of({"type": "percent", "value": "10"}, "screw", screws, "GBP") == 6 + 1 + 20


@given(LINES, st.sampled_from(["percent", "amount", "fixed_price"]), st.integers(0, 100), st.booleans())
def test_no_discount_is_negative_or_above_what_it_is_taken_off(
    lines: list[tuple[int, int]], kind: str, value: int, whole: bool
) -> None:
    basket = order(*(line(f"p{at}", n, of_minor(price, 2)) for at, (n, price) in enumerate(lines)))
    costs = basket.value if whole else lines[0][0] * lines[0][1]

    assert (
        0 <= discount_of({"type": kind, "value": str(value)}, None if whole else "p0", basket, "GBP") <= costs
    )


@pytest.mark.parametrize(
    ("given_order", "field"),
    [
        (None, "order"),
        ([], "order"),
        ({}, "order.lines"),
        ({"lines": []}, "order.lines"),
        ({"lines": "[{"}, "order.lines"),
        ({"lines": [{"product_id": "tea", "quantity": 1}]}, "order.lines[0].unit_price"),
        ({"lines": [{"product_id": "tea", "quantity": 0, "unit_price": 1}]}, "order.lines[0].quantity"),
        ({"lines": [{"quantity": 1, "unit_price": 1}]}, "order.lines[0].product_id"),
        ({"total": "much"}, "order.total"),
        ({"total": -1}, "order.total"),
        ({"total": "NaN"}, "order.total"),
        ({"total": 1, "shipping": "-2"}, "order.shipping"),
        ({"total": 1, "order_id": ["o1"]}, "order.order_id"),
        ({"total": 1, "currency": 5.5}, "order.currency"),
    ],
)
def test_a_malformed_order_names_the_field_at_fault(given_order: Any, field: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        parse_basket(given_order, "GBP")

    assert caught.value.field == field
    assert str(caught.value).startswith(field)
