"""The names people read for the closed lists of words, and incentives in words; in every language of `texts`."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from nextoffer.domain.kinds import INCENTIVES
from nextoffer.domain.menu import Menu
from nextoffer.domain.money import minor_digits
from nextoffer.texts import date_text, money_text, number_text, say, say_many, text

_SEGMENTS = {
    "champions": text("Champions"),
    "loyal": text("Loyal customers"),
    "potential_loyalist": text("Potential loyalists"),
    "new": text("New customers"),
    "promising": text("Promising"),
    "needs_attention": text("Need attention"),
    "at_risk": text("At risk"),
    "hibernating": text("Hibernating"),
    "lost": text("Lost"),
}
_KINDS = {
    "cross_sell": text("Goes with a purchase"),
    "up_sell": text("A step up"),
    "for_you": text("For you"),
    "abandoned": text("Left behind"),
    "replenishment": text("Refill"),
    "event": text("Occasion"),
    "renewal": text("Renewal"),
    "win_back": text("Win-back"),
}
_DROPS = {
    "no-consent": text("the customer has not consented to this channel"),
    "holdout": text("the customer is held out of all offers"),
    "filtered": text("the request's filter leaves it out"),
    "excluded": text("excluded by the shop's settings"),
    "hidden": text("the product is hidden now"),
    "restricted": text("the product must never be promoted"),
    "out-of-stock": text("out of stock"),
    "bought-recently": text("the customer bought it a few days ago"),
    "returned": text("the customer sent it back"),
    "once-a-year": text("this occasion has had its offer this year"),
    "renewed": text("it has been renewed already"),
    "in-cart": text("it is in the cart already"),
    "contact-cap": text("the customer has been written to often enough"),
    "quiet-hours": text("it is a quiet hour"),
    "margin-floor": text("it would be sold below the margin floor"),
    "minimum-order": text("the minimum order is out of reach"),
    "already-discounted": text("the product is discounted already"),
    "redeemed-already": text("the customer has used this incentive as often as allowed"),
    "no-gift": text("the gift is not there to be given"),
    "quota": text("the incentive has been used up"),
    "low-value": text("not worth its cost"),
    "explored-nothing": text("nothing was offered by chance, to learn from it"),
    "same-product": text("another offer of this product goes before it"),
    "kind-full": text("enough offers of this kind are on the slate"),
    "too-alike": text("too much like what is on the slate"),
    "stacking": text("it may not be combined with another offer on the slate"),
    "slate-full": text("the slate is full"),
    "budget": text("the budget went to offers that earn more"),
    "buried": text("buried by a rule of the shop"),
}


def segment_name(slug: str | None, language: str = "en") -> str:
    """The name of a segment (a slug of SEGMENTS); empty where it is not known.

    >>> segment_name("at_risk"), segment_name("champions", "ru"), segment_name(None)
    ('At risk', 'Лучшие клиенты', '')
    """
    return _name(_SEGMENTS, slug, language)


def kind_name(kind: str, language: str = "en") -> str:
    """The name of a kind of offer (one of KINDS)."""
    return _name(_KINDS, kind, language)


def drop_text(code: str, language: str = "en") -> str:
    """Why a candidate was not offered (a code of DROPS), in a few words."""
    return _name(_DROPS, code, language)


def _name(names: dict[str, str], word: str | None, language: str) -> str:
    """A plug-in's own words have no name: they stand for themselves."""
    return say(language, names[word]) if word in names else word or ""


def incentive_text(
    menu: Menu,
    row: int,
    language: str = "en",
    gift: str | None = None,
    until: date | None = None,
    today: date | None = None,
) -> str:
    """An incentive as a shopper reads it, with its minimum order; empty for none.

    Parameters
    ----------
    gift : the title of the gift
    until : its last day, told if given; `today` decides whether the year is told with it
    """
    words = _benefit(menu, row, language, gift)
    if not words:
        return ""
    if least := int(menu.min_order[row]):
        amount = _least(least, menu.currency, language)
        words = say(language, "{incentive} on orders from {amount}", incentive=words, amount=amount)
    if until is not None:
        day = date_text(language, until, today or until)
        words = say(language, "{incentive}, until {date}", incentive=words, date=day)
    return words


def _benefit(menu: Menu, row: int, language: str, gift: str | None) -> str:
    kind, basket = INCENTIVES[int(menu.type[row])], bool(menu.basket[row])
    if kind == "percent":
        percent = _exact(language, Decimal(int(menu.millionths[row])) / 10_000)
        message = text("{percent} % off the whole order") if basket else text("{percent} % off")
        return say(language, message, percent=percent)
    if kind == "amount":
        message = text("{amount} off the whole order") if basket else text("{amount} off")
        return say(language, message, amount=price_text(int(menu.amount[row]), menu.currency, language))
    if kind == "fixed_price":
        price = price_text(int(menu.amount[row]), menu.currency, language)
        return say(language, "this for {price}", price=price)
    if kind == "free_shipping":
        return say(language, "free delivery")
    if kind == "gift":
        return say(language, "“{product}” as a gift", product=gift) if gift else say(language, "a gift")
    if kind == "points":
        return say_many(language, "{n} point", "{n} points", int(menu.points[row]))
    return ""


def price_text(minor: int, currency: str, language: str = "en") -> str:
    """An amount in minor units as people read it.

    >>> price_text(123450, "GBP"), price_text(300, "JPY"), price_text(500, "RUB", "ru")
    ('£1,234.50', '¥300', '5,00\\xa0₽')
    """
    return money_text(language, Decimal(minor).scaleb(-minor_digits(currency)), currency)


def _least(minor: int, currency: str, language: str) -> str:
    """A threshold: £30 rather than £30.00."""
    whole, rest = divmod(minor, 10 ** minor_digits(currency))
    return price_text(minor, currency, language) if rest else money_text(language, Decimal(whole), currency)


def _exact(language: str, number: Decimal) -> str:
    """A number with all the decimals it has and no more."""
    return number_text(language, number, max(0, -int(number.normalize().as_tuple().exponent)))
