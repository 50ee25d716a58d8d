"""Sentences tell no more than their facts, in the right plural form, without abbreviations."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextoffer.domain.offers import REASONS
from nextoffer.offers.sentences import Facts, sentence, span_text
from nextoffer.texts import LANGUAGES

DAY = timedelta(days=1)
SPANS = st.none() | st.timedeltas(timedelta(), 5000 * DAY)
FACTS = st.builds(
    Facts,
    today=st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    product=st.none() | st.sampled_from(["Mug", "{name} 5 %"]),
    since=SPANS,
    gap=SPANS,
    silent=SPANS,
    day=st.none() | st.dates(date(2020, 1, 1), date(2030, 1, 1)),
    late=st.none() | st.integers(-200, 200),
    years=st.integers(0, 40),
    points=st.integers(0, 10**6),
    carted=st.booleans(),
    now=st.booleans(),
    incentive=st.sampled_from(["", "15 % off"]),
    own=st.sampled_from(["", "Look!"]),
)


@pytest.mark.parametrize(
    ("days", "english", "russian"),
    [
        (0, "1 day", "1 день"),
        (1, "1 day", "1 день"),
        (2, "2 days", "2 дня"),
        (21, "21 days", "21 день"),
        (27, "27 days", "27 дней"),
        (28, "4 weeks", "4 недели"),
        (35, "5 weeks", "5 недель"),
        (90, "13 weeks", "13 недель"),
        (91, "3 months", "3 месяца"),
        (365, "12 months", "12 месяцев"),
        (640, "21 months", "21 месяц"),
        (730, "2 years", "2 года"),
        (1826, "5 years", "5 лет"),
        (7671, "21 years", "21 год"),
    ],
)
def test_spans_read_as_people_say_them(days: int, english: str, russian: str) -> None:
    assert span_text(days * DAY, "en") == english
    assert span_text(days * DAY, "ru") == russian


@given(days=st.integers(1, 20_000))
def test_a_span_is_never_far_from_the_days_it_stands_for(days: int) -> None:
    count, unit = span_text(days * DAY, "en").split()
    length = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}[unit.removesuffix("s")]

    assert abs(int(count) * length - days) <= length / 2 + 0.002 * days


@given(code=st.sampled_from(REASONS), facts=FACTS, language=st.sampled_from(LANGUAGES))
def test_every_reason_makes_a_whole_sentence_of_any_facts(code: str, facts: Facts, language: str) -> None:
    text = sentence(code, facts, language)

    assert text[-1] in ".!" and text == text.strip() and "  " not in text
    assert "None" not in text and not re.search(r"\{(?!name\})", text)
    assert not re.search(r"\b(дн|нед|мес|руб|шт)\.", text)
    if code != "hand-picked" or not facts.own:
        bare = text.replace("Mug", "").replace("{name} 5 %", "").replace("15 % off", "")
        assert any("а" <= letter <= "я" for letter in bare) == (language == "ru")


@given(code=st.sampled_from(REASONS), facts=FACTS)
def test_no_sentence_tells_a_number_that_is_not_among_its_facts(code: str, facts: Facts) -> None:
    text = sentence(code, facts, "en").replace("15 % off", "").replace("{name} 5 %", "")
    known = {str(facts.years), f"{facts.points:,}"}
    for span in (facts.since, facts.gap, facts.silent):
        if span is not None:
            known |= {span_text(span, "en").split()[0], str(max(span // timedelta(hours=1), 1))}
    if facts.day is not None:
        known |= {str(facts.day.day), str(facts.day.year)}

    assert set(re.findall(r"\d[\d,]*", text)) <= known


def test_nothing_known_is_nothing_told() -> None:
    always_true = {
        "similar-customers",
        "popular-now",
        "hand-picked",
    }
    for code in REASONS:
        text = sentence(code, Facts(), "en")
        assert (text == "You might like this.") != (code in always_true)
    assert all(field.default in (None, 0, False, "") for field in fields(Facts))


@pytest.mark.parametrize(
    ("years", "russian"),
    [
        (1, "Сегодня 1 год с вашего первого заказа: спасибо!"),
        (3, "Сегодня 3 года с вашего первого заказа: спасибо!"),
        (5, "Сегодня 5 лет с вашего первого заказа: спасибо!"),
        (21, "Сегодня 21 год с вашего первого заказа: спасибо!"),
    ],
)
def test_years_together_are_counted_in_the_right_form(years: int, russian: str) -> None:
    facts = Facts(today=date(2026, 5, 3), day=date(2026, 5, 3), late=0, years=years)

    assert sentence("anniversary", facts, "ru") == russian


def test_what_is_given_comes_with_the_wish() -> None:
    facts = Facts(
        today=date(2026, 5, 3),
        day=date(2026, 5, 5),
        late=-2,
        years=3,
        silent=100 * DAY,
        incentive="200 баллов",
    )

    assert sentence("birthday", facts, "ru") == (
        "Скоро, 5 мая, ваш день рождения: поздравляем заранее! К празднику для вас — 200 баллов."
    )
    assert sentence("anniversary", facts, "ru") == (
        "5 мая исполнится 3 года с вашего первого заказа: спасибо! В благодарность — 200 баллов."
    )
    assert sentence("we-miss-you", facts, "ru") == (
        "Вы не заказывали уже 3 месяца. К вашему возвращению — 200 баллов."
    )
