"""Names for every word of the closed lists, and incentives that promise exactly what the menu holds."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from babel.numbers import parse_decimal
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.config import IncentiveTerms, parse_settings
from nextoffer.domain.kinds import DROPS, KINDS
from nextoffer.domain.menu import Menu
from nextoffer.domain.tables import SEGMENTS
from nextoffer.domain.wording import drop_text, incentive_text, kind_name, price_text, segment_name
from nextoffer.texts import LANGUAGES

NBSP = "\u00a0"


def menu_of(tmp_path_factory: Any, currency: str = "GBP", **terms: Any) -> Menu:
    document = {"currency": currency, "history": {"orders": {"path": "orders.csv"}}}
    settings = parse_settings(document, "nextoffer.toml", tmp_path_factory.getbasetemp())
    return Menu.of(settings, [("given", IncentiveTerms(**terms))])


def words(factory: Any, language: str, **terms: Any) -> str:
    menu = menu_of(factory, **terms)
    return incentive_text(menu, len(menu) - 1, language, "Blue mug")


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_segment_kind_and_drop_has_a_name_of_its_own(language: str) -> None:
    for codes, name in ((SEGMENTS, segment_name), (KINDS, kind_name), (DROPS, drop_text)):
        names = [name(code, language) for code in codes]
        assert len(set(names)) == len(names)
        assert not set(names) & set(codes)
        assert all(any("а" <= letter <= "я" for letter in said) for said in names) == (language == "ru")


def test_the_words_of_a_plug_in_stand_for_themselves() -> None:
    assert kind_name("seasonal", "ru") == "seasonal"
    assert segment_name(None) == segment_name(None, "ru") == ""


@pytest.mark.parametrize(
    ("terms", "english", "russian"),
    [
        ({"type": "percent", "value": "10"}, "10 % off", "скидка 10 %"),
        ({"type": "percent", "value": "12.5"}, "12.5 % off", "скидка 12,5 %"),
        (
            {"type": "percent", "value": "10", "scope": "basket"},
            "10 % off the whole order",
            "скидка 10 % на весь заказ",
        ),
        ({"type": "amount", "value": "5"}, "£5.00 off", f"скидка 5,00{NBSP}£"),
        (
            {"type": "amount", "value": "5", "min_order": "30"},
            "£5.00 off on orders from £30",
            f"скидка 5,00{NBSP}£ при заказе от 30{NBSP}£",
        ),
        ({"type": "fixed_price", "value": "9.99"}, "this for £9.99", f"этот товар за 9,99{NBSP}£"),
        ({"type": "free_shipping", "value": "3.5"}, "free delivery", "бесплатная доставка"),
        ({"type": "gift", "product": "m1"}, "“Blue mug” as a gift", "«Blue mug» в подарок"),
        ({"type": "points", "value": "200"}, "200 points", "200 баллов"),
        ({"type": "points", "value": "1"}, "1 point", "1 балл"),
        (
            {"type": "points", "value": "22", "min_order": "12.50"},
            "22 points on orders from £12.50",
            f"22 балла при заказе от 12,50{NBSP}£",
        ),
    ],
)
def test_an_incentive_says_what_is_given_and_from_what_order(
    terms: dict[str, Any], english: str, russian: str, tmp_path_factory: Any
) -> None:
    assert words(tmp_path_factory, "en-GB", **terms) == english
    assert words(tmp_path_factory, "ru", **terms) == russian


def test_no_incentive_has_no_words_and_a_last_day_is_told_if_asked(tmp_path_factory: Any) -> None:
    menu = menu_of(tmp_path_factory, type="percent", value="10")
    last, until = len(menu) - 1, date(2026, 12, 5)

    assert incentive_text(menu, 0) == incentive_text(menu, 0, until=until) == ""
    assert incentive_text(menu, last, until=until) == "10 % off, until 5 December"
    assert incentive_text(menu, last, "ru", until=until) == "скидка 10 %, до 5 декабря включительно"


@given(
    minor=st.integers(1, 10**9),
    currency=st.sampled_from([("JPY", 0), ("GBP", 2), ("KWD", 3), ("IQD", 3)]),
    language=st.sampled_from(LANGUAGES),
)
def test_prices_are_never_wrong_by_a_minor_unit(minor: int, currency: tuple[str, int], language: str) -> None:
    code, digits = currency
    figures = "".join(c for c in price_text(minor, code, language) if c.isdecimal() or c in f",.{NBSP}")

    assert parse_decimal(figures.strip(NBSP), locale=language) == Decimal(minor).scaleb(-digits)


@given(millionths=st.integers(1, 1_000_000))
def test_a_percentage_is_told_to_its_last_decimal(millionths: int, tmp_path_factory: Any) -> None:
    value = Decimal(millionths) / 10_000

    text = words(tmp_path_factory, "en", type="percent", value=value)

    assert Decimal(text.removesuffix(" % off")) == value
