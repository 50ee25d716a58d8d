"""Numbers, money, dates and plurals as both languages write them."""

from __future__ import annotations

import pickle
from datetime import date, timedelta
from decimal import Decimal

import orjson
import pytest
from babel.numbers import parse_decimal
from hypothesis import given
from hypothesis import strategies as st

from nextoffer import texts

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("n", "russian"),
    [
        (1, "1 день"),
        (2, "2 дня"),
        (4, "4 дня"),
        (5, "5 дней"),
        (11, "11 дней"),
        (12, "12 дней"),
        (14, "14 дней"),
        (21, "21 день"),
        (22, "22 дня"),
        (25, "25 дней"),
        (101, "101 день"),
        (111, "111 дней"),
        (1001, f"1{NBSP}001 день"),
    ],
)
def test_russian_counts_days_as_russians_do(n: int, russian: str) -> None:
    assert texts.say_many("ru", "{n} day", "{n} days", n) == russian


@given(
    minor=st.integers(0, 10**12),
    digits=st.integers(0, 4),
    currency=st.sampled_from(("GBP", "USD", "RUB", "JPY", "KWD", "IQD", "HUF")),
    language=st.sampled_from(texts.LANGUAGES),
)
def test_money_is_written_to_the_last_minor_unit_and_reads_back(
    minor: int, digits: int, currency: str, language: str
) -> None:
    amount = Decimal(minor).scaleb(-digits)

    text = texts.money_text(language, amount, currency)

    figures = "".join(letter for letter in text if letter.isdecimal() or letter in f",. {NBSP}\u202f")
    assert parse_decimal(figures.strip(f" {NBSP}"), locale=language) == amount
    assert (
        len(figures.strip(f" {NBSP}").rpartition("." if language == "en" else ",")[2]) == digits or not digits
    )


@pytest.mark.parametrize(
    ("amount", "currency", "english", "russian"),
    [
        ("5.00", "GBP", "£5.00", f"5,00{NBSP}£"),
        ("1234.50", "USD", "$1,234.50", f"1{NBSP}234,50{NBSP}$"),
        ("300", "JPY", "¥300", f"300{NBSP}¥"),
        ("1.250", "KWD", f"KWD{NBSP}1.250", f"1,250{NBSP}KWD"),
        ("990.00", "RUB", f"RUB{NBSP}990.00", f"990,00{NBSP}₽"),
    ],
)
def test_money_has_its_sign_where_the_language_puts_it(
    amount: str, currency: str, english: str, russian: str
) -> None:
    assert texts.money_text("en", Decimal(amount), currency) == english
    assert texts.money_text("ru-RU", Decimal(amount), currency) == russian


@given(day=st.dates(date(1990, 1, 1), date(2090, 1, 1)), away=st.integers(-1000, 1000))
def test_a_date_has_its_year_only_where_it_might_be_mistaken(day: date, away: int) -> None:
    english, russian = (
        texts.date_text(language, day, day + timedelta(days=away)) for language in ("en", "ru")
    )

    assert english.startswith(f"{day.day} ") and russian.startswith(f"{day.day} ")
    assert english.endswith(str(day.year)) == russian.endswith(str(day.year)) == (abs(away) >= 183)


def test_months_are_in_the_genitive_in_russian() -> None:
    assert texts.date_text("ru", date(2026, 5, 3), date(2026, 5, 1)) == "3 мая"
    assert texts.date_text("ru", date(2028, 3, 3), date(2026, 5, 1)) == "3 марта 2028"


def test_numbers_and_shares_have_the_languages_marks() -> None:
    assert texts.number_text("ru", 1234567.5, 1) == f"1{NBSP}234{NBSP}567,5"
    assert texts.number_text("en", -0.5, 2, signed=True) == "-0.50"
    assert texts.number_text("ru", 0.5, 2, signed=True) == "+0,50"
    assert texts.percent_text("ru", 0.054, 1) == f"5,4{NBSP}%"
    assert texts.percent_text("en", -0.054, 1, signed=True) == "-5.4%"


def test_a_language_without_a_catalogue_is_answered_in_english() -> None:
    for tag in ("de", "", None, "rus", "ru_RU", "RU", "ru-RU"):
        expected = "ru" if tag in ("ru_RU", "RU", "ru-RU") else "en"
        assert texts.language_of(tag) == expected
    assert texts.say("de-AT", "Popular in the shop.") == "Popular in the shop."
    assert texts.say("ru-RU", "Popular in the shop.") == "Популярно в магазине."


def test_what_was_said_in_english_can_be_said_in_russian_also_after_a_journey() -> None:
    message = texts.said("{table}.{note}", table="orders", note=texts.said_many("{n} day", "{n} days", 2))

    assert message == "orders.2 days"
    for copy in (message, pickle.loads(pickle.dumps(message))):
        assert copy == "orders.2 days" and texts.in_language(copy, "ru") == "orders.2 дня"
    assert texts.in_language("as it is", "ru") == "as it is"
    assert orjson.dumps(message) == b'"orders.2 days"'


def test_a_shops_own_words_are_never_read_as_facts() -> None:
    title = "Mug {0} {secret.__class__} 100 %"

    assert texts.say("en", "“{product}” as a gift", product=title) == f"“{title}” as a gift"


def test_after_warming_up_nothing_is_read_any_more() -> None:
    texts.warm_up()

    assert texts.catalogue("ru") is texts.catalogue("ru-RU")
