"""Numbers, shares, money and dates as a language writes them (Unicode's CLDR, through Babel)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from nextoffer.texts.catalogue import LANGUAGES, catalogue, language_of, text

if TYPE_CHECKING:
    from babel import Locale

_REMEMBERED = 65_536  # the same prices and dates come again and again; Babel needs 50 µs for one
_FAR_DAYS = 183  # from here on a date needs its year


def warm_up() -> None:
    """Read every catalogue and Babel's data now, so that nobody's request waits for them (about 0.1 s)."""
    for language in LANGUAGES:
        money_text(language, Decimal(1), "EUR")
        date_text(language, date(2000, 1, 1), date(2000, 1, 1))


def number_text(
    language: str, value: float | Decimal, decimals: int | None = None, signed: bool = False
) -> str:
    """A number, grouped; `decimals` None shows as many as it has, up to three. `signed` shows + too.

    >>> number_text("en", 1234567), number_text("en", 2.5), number_text("en", 0.125, 2, signed=True)
    ('1,234,567', '2.5', '+0.12')
    """
    if isinstance(value, int) and 0 <= value < 1000 and not decimals and not signed:
        return str(value)
    pattern = "#,##0" + (".###" if decimals is None else _decimals(decimals))
    return _formatted(language, value, f"+{pattern};-{pattern}" if signed else pattern)


def percent_text(language: str, share: float, decimals: int = 0, signed: bool = False) -> str:
    """A share in per cent.

    >>> percent_text("en", 0.054, 1), percent_text("en", 1.5, signed=True)
    ('5.4%', '+150%')
    """
    pattern = _locale(language).percent_formats[None].pattern.replace("#0", "#0" + _decimals(decimals))
    return _formatted(language, share, f"+{pattern};-{pattern}" if signed else pattern)


def money_text(language: str, amount: Decimal, currency: str) -> str:
    """An amount with its currency's sign and exactly the decimals it is given with.

    >>> money_text("en", Decimal("1250.00"), "GBP"), money_text("en", Decimal("30"), "GBP")
    ('£1,250.00', '£30')
    """
    return _money(language, amount, currency, -int(amount.as_tuple().exponent))


@lru_cache(_REMEMBERED)
def date_text(language: str, day: date, today: date) -> str:
    """A day as people write it, with its year only if it is half a year or more from `today`.

    >>> date_text("en", date(2026, 12, 5), date(2026, 11, 22)), date_text("en", date(2028, 1, 5), date(2026, 1, 1))
    ('5 December', '5 January 2028')
    """
    from babel.dates import format_date

    pattern = text("d MMMM y") if abs((day - today).days) >= _FAR_DAYS else text("d MMMM")
    return format_date(day, catalogue(language).gettext(pattern), _locale(language))


@lru_cache(_REMEMBERED)
def _money(language: str, amount: Decimal, currency: str, decimals: int) -> str:
    """Equal amounts of other decimals are other texts: `decimals` keeps them apart in the cache."""
    from babel.numbers import format_currency, get_currency_symbol

    locale = _locale(language)
    pattern = locale.currency_formats["standard"].pattern.replace(".00", _decimals(decimals))
    if get_currency_symbol(currency, locale)[-1].isalpha():  # CLDR's spacing, which Babel leaves out
        pattern = pattern.replace("¤#", "¤\N{NO-BREAK SPACE}#")
    return format_currency(amount, currency, pattern, locale, currency_digits=False)


@lru_cache(_REMEMBERED)
def _formatted(language: str, value: float | Decimal, pattern: str) -> str:
    from babel.numbers import format_decimal

    return format_decimal(value + 0, pattern, _locale(language))  # −0 is 0


def _decimals(n: int) -> str:
    return "." + "0" * n if n > 0 else ""


def _locale(language: str) -> Locale:
    from babel import Locale

    return Locale.parse(language_of(language))  # Babel keeps each
