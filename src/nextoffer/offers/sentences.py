"""Reasons in words: one function for each reason code, from the facts known of this customer to a sentence.

A sentence tells no more than its facts: where one is missing, less is said, and at worst what is always true.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from nextoffer.texts import date_text, say, say_many, text, texts

_UNITS = {
    "hour": texts("{n} hour", "{n} hours"),
    "day": texts("{n} day", "{n} days"),
    "week": texts("{n} week", "{n} weeks"),
    "month": texts("{n} month", "{n} months"),
    "year": texts("{n} year", "{n} years"),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a reason may tell; None is not known and never told.

    Parameters
    ----------
    today : in the shop's time zone
    product : title of the product the reason names
    since : how long ago that product, or the one offered, was last bought or looked at
    gap : how long the customer usually waits between purchases, or one purchase lasts
    silent : how long ago the last order was
    day : the day of the occasion or of the end, this year's
    late : days by which the occasion is past, negative before it
    years : since the first order, on that day
    points : the customer holds
    carted : it is in the cart
    now : it was bought by somebody in the last four weeks
    incentive : what is given with the offer, in words
    own : the marketer's own text
    """

    today: date | None = None
    product: str | None = None
    since: timedelta | None = None
    gap: timedelta | None = None
    silent: timedelta | None = None
    day: date | None = None
    late: int | None = None
    years: int = 0
    points: int = 0
    carted: bool = False
    now: bool = False
    incentive: str = ""
    own: str = ""


def sentence(code: str, facts: Facts, language: str) -> str:
    """The sentence for a reason code: as much of it as the facts bear."""
    return _SENTENCES[code](facts, language) or say(language, "You might like this.")


@lru_cache(16_384)
def span_text(span: timedelta, language: str) -> str:
    """A span of time as people say it: 5 hours, 27 days, 4 weeks, 5 months, 2 years; one day at least in days.

    In languages with cases it is an accusative, as in "for 3 weeks".
    """
    days = span.days
    if days < 28:
        unit, count = "day", max(days, 1)
    elif days < 91:
        unit, count = "week", round(days / 7)
    elif days < 730:
        unit, count = "month", round(days / 30.4)
    else:
        unit, count = "year", round(days / 365.25)
    return say_many(language, *_UNITS[unit], count)


def _lately_text(span: timedelta, language: str) -> str:
    """The same, in hours within the first day."""
    if span >= timedelta(days=1):
        return span_text(span, language)
    return say_many(language, *_UNITS["hour"], max(span // timedelta(hours=1), 1))


def _due_for_refill(f: Facts, language: str) -> str:
    if f.gap is None or f.since is None:
        return ""
    gap, since = span_text(f.gap, language), span_text(f.since, language)
    message = text("You buy this about every {gap}; the last one was {since} ago.")
    return say(language, message, gap=gap, since=since)


def _runs_out(f: Facts, language: str) -> str:
    if f.gap is None or f.since is None:
        return ""
    gap, since = span_text(f.gap, language), span_text(f.since, language)
    message = text("What you usually buy of this lasts about {gap}; the last time was {since} ago.")
    return say(language, message, gap=gap, since=since)


def _bought_together(f: Facts, language: str) -> str:
    if f.since is None:
        return _named(f, language, text("Often bought together with {product}."))
    since = span_text(f.since, language)
    return _named(
        f, language, text("Often bought together with {product}, which you bought {since} ago."), since
    )


def _step_up(f: Facts, language: str) -> str:
    if f.since is None:
        return _named(f, language, text("A step up from {product}."))
    since = span_text(f.since, language)
    return _named(f, language, text("A step up from {product}, which you bought {since} ago."), since)


def _goes_with_cart(f: Facts, language: str) -> str:
    return _named(f, language, text("Goes with {product} in your cart."))


def _bought_lately(f: Facts, language: str) -> str:
    return _named(f, language, text("Often bought together with {product}, which you bought lately."))


def _like_viewed(f: Facts, language: str) -> str:
    return _named(f, language, text("Similar to {product}, which you looked at."))


def _similar_customers(f: Facts, language: str) -> str:
    return say(language, "Customers with tastes like yours choose this.")


def _popular(f: Facts, language: str) -> str:
    return say(language, text("Popular in the shop now.") if f.now else text("Popular in the shop."))


def _we_miss_you(f: Facts, language: str) -> str:
    if f.silent is None:
        return say(language, "Welcome back: {incentive}.", incentive=f.incentive) if f.incentive else ""
    silent = span_text(f.silent, language)
    if f.incentive:
        message = text("It has been {silent} since your last order. For your return: {incentive}.")
        return say(language, message, silent=silent, incentive=f.incentive)
    return say(language, "It has been {silent} since your last order: you might like this.", silent=silent)


def _left_in_cart(f: Facts, language: str) -> str:
    if not f.carted or f.since is None:
        return _viewed(f, language)
    return say(language, "You left this in your cart {since} ago.", since=_lately_text(f.since, language))


def _viewed(f: Facts, language: str) -> str:
    if f.since is None:
        return ""
    return say(language, "You looked at this {since} ago.", since=_lately_text(f.since, language))


def _birthday(f: Facts, language: str) -> str:
    """Before, on and after the day. Who was born on 29 February is congratulated in common years without a date."""
    if f.late is None or f.today is None:
        return ""
    if f.late == 0:
        wish = say(language, "Happy birthday!")
    elif f.day is None:
        wish = say(
            language, text("A happy birthday soon!") if f.late < 0 else text("Happy belated birthday!")
        )
    else:
        message = (
            text("Happy birthday on {date}!") if f.late < 0 else text("Happy birthday: it was on {date}.")
        )
        wish = say(language, message, date=date_text(language, f.day, f.today))
    return _with(f, language, wish, text("{sentence} For your day: {incentive}."))


def _anniversary(f: Facts, language: str) -> str:
    if f.years < 1 or f.late is None or f.today is None:
        return ""
    if f.late == 0:
        thanks = say_many(
            language,
            "A year since your first order today: thank you!",
            "{n} years since your first order today: thank you!",
            f.years,
        )
    elif f.day is None:
        thanks = say_many(
            language,
            "About a year since your first order: thank you!",
            "About {n} years since your first order: thank you!",
            f.years,
        )
    elif f.late < 0:
        thanks = say_many(
            language,
            "On {date} it will be a year since your first order: thank you!",
            "On {date} it will be {n} years since your first order: thank you!",
            f.years,
            date=date_text(language, f.day, f.today),
        )
    else:
        thanks = say_many(
            language,
            "On {date} it was a year since your first order: thank you!",
            "On {date} it was {n} years since your first order: thank you!",
            f.years,
            date=date_text(language, f.day, f.today),
        )
    return _with(f, language, thanks, text("{sentence} With our thanks: {incentive}."))


def _points_expire(f: Facts, language: str) -> str:
    if f.points < 1 or f.day is None or f.today is None or f.day < f.today:
        return ""
    if f.day == f.today:
        return say_many(
            language, "Your {n} point expires today.", "You hold {n} points; the next expire today.", f.points
        )
    return say_many(
        language,
        "Your {n} point expires on {date}.",
        "You hold {n} points; the next expire on {date}.",
        f.points,
        date=date_text(language, f.day, f.today),
    )


def _renewal(f: Facts, language: str) -> str:
    if not f.product or f.day is None or f.today is None:
        return ""
    if f.day == f.today:
        return say(language, "Your pass “{product}” ends today.", product=f.product)
    message = text("Your pass “{product}” ends on {date}.")
    if f.day < f.today:
        message = text("Your pass “{product}” ended on {date}.")
    return say(language, message, product=f.product, date=date_text(language, f.day, f.today))


def _hand_picked(f: Facts, language: str) -> str:
    return f.own or say(language, "Picked by the shop.")


def _named(f: Facts, language: str, message: str, since: str = "") -> str:
    return say(language, message, product=f.product, since=since) if f.product else ""


def _with(f: Facts, language: str, words: str, message: str) -> str:
    return say(language, message, sentence=words, incentive=f.incentive) if f.incentive else words


_SENTENCES: dict[str, Callable[[Facts, str], str]] = {
    "due-for-refill": _due_for_refill,
    "runs-out": _runs_out,
    "bought-together": _bought_together,
    "goes-with-cart": _goes_with_cart,
    "bought-lately": _bought_lately,
    "step-up": _step_up,
    "similar-customers": _similar_customers,
    "like-viewed": _like_viewed,
    "popular-now": _popular,
    "we-miss-you": _we_miss_you,
    "left-in-cart": _left_in_cart,
    "viewed-not-bought": _viewed,
    "birthday": _birthday,
    "anniversary": _anniversary,
    "points-expire": _points_expire,
    "renewal": _renewal,
    "hand-picked": _hand_picked,
}
