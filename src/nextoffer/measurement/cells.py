"""How a report writes its figures: the terminal and the page say every number the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from nextoffer.domain.money import minor_digits
from nextoffer.measurement.sheet import Cell, Format
from nextoffer.texts import in_language, number_text, percent_text, say, text

NOTHING = "–"
SHARES = ("conversion", "repeat")  # effects on them are said in percentage points
COUNTS = ("orders", "units")
COSTS = ("incentive_cost", "contact_cost")  # more of them is no win, and the holdout has none to compare with
METRICS = {
    "profit": text("profit"),
    "conversion": text("share who bought"),
    "orders": text("orders"),
    "units": text("units"),
    "revenue": text("revenue"),
    "margin": text("margin"),
    "incentive_cost": text("cost of incentives"),
    "contact_cost": text("cost of contacts"),
    "repeat": text("share who bought twice"),
    "average_order": text("average order"),
}


def words(message: str | None, language: str) -> str:
    """A text of a document in the reader's language, as far as it is known there."""
    if not message:
        return ""
    told = in_language(message, language)
    return say(language, told) if told == message else told


def metric_name(name: str, language: str) -> str:
    """What is measured, with a capital."""
    told = say(language, METRICS.get(name, name.replace("_", " ")))
    return told[:1].upper() + told[1:]


def cell_text(cell: Cell, format: Format, currency: str, language: str) -> str:
    """One cell of a sheet: money without its currency, which the table names once."""
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return NOTHING
    if isinstance(cell, str):
        return in_language(cell, language)
    digits = minor_digits(currency)
    if format in ("money", "average"):
        return number_text(language, Decimal(cell).scaleb(-digits), digits)
    if format == "share":
        return percent_text(language, cell, 1)
    if format == "change":
        return change_text(cell, language)
    if format == "count":
        return number_text(language, cell, 0)
    return number_text(language, cell, 1 if format == "days" else 2)


def change_text(change: float, language: str) -> str:
    """A relative change: 0.5 reads +50 %, 0 has no sign, and what is tenfold no decimals."""
    whole = abs(change) >= 10 or math.isclose(100 * change, round(100 * change), abs_tol=0.05)
    return percent_text(language, change, 0 if whole else 1, signed=bool(round(1000 * change)))


def amounts(values: Sequence[float], currency: str, language: str) -> list[str]:
    """Signed money that is read together: from 1,000 on none of it has decimals. It may have no bound."""
    large = any(math.isfinite(value) and abs(value) >= 1000 for value in values)
    digits = 0 if large else minor_digits(currency)
    return [
        number_text(language, value, digits, signed=True) if math.isfinite(value) else _unbounded(value)
        for value in values
    ]


def amount_text(amount: float, currency: str, language: str) -> str:
    """Money with its currency; from 1,000 on without decimals."""
    digits = 0 if abs(amount) >= 1000 else minor_digits(currency)
    return f"{number_text(language, amount, digits)}\N{NO-BREAK SPACE}{currency}"


def value_text(name: str, value: float | None, currency: str, language: str) -> str:
    """A group's mean of a metric."""
    if value is None:
        return NOTHING
    if name in SHARES:
        return percent_text(language, value, 2)
    return number_text(language, value, _digits(name, currency))


def difference_text(name: str, value: float | None, currency: str, language: str) -> str:
    """A difference of two means, signed; shares differ by percentage points."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return _unbounded(value)
    if name in SHARES:
        return say(language, "{figure} pp", figure=number_text(language, 100 * value, 2, signed=True))
    return number_text(language, value, _digits(name, currency), signed=True)


def interval_text(name: str, effect: Mapping[str, Any], currency: str, language: str) -> str:
    """From end to end; an end that cannot be bounded, null in a document, reads ∞."""
    if effect.get("difference") is None:
        return ""
    scale, digits = (100, 2) if name in SHARES else (1, _digits(name, currency))
    low, high = (
        number_text(language, scale * end, digits, signed=True) if math.isfinite(end) else _unbounded(end)
        for end in ends(effect)
    )
    told = say(language, "{low} to {high}", low=low, high=high)
    return say(language, "{figure} pp", figure=told) if name in SHARES else told


def relative_text(name: str, effect: Mapping[str, Any], language: str) -> str:
    """The difference as a share of the holdout's mean, with its interval; why not, where it cannot be said."""
    if name in COSTS:
        return NOTHING
    if effect.get("relative_note"):
        return words(effect["relative_note"], language)
    if effect.get("relative") is None:
        return ""
    shares = (effect["relative"], *ends(effect, "relative_"))
    figure, low, high = (percentage(share, language, 1) for share in shares)
    return around(figure, low, high, language)


def around(figure: str, low: str, high: str, language: str) -> str:
    """A figure with its interval."""
    return say(language, "{figure} ({low} to {high})", figure=figure, low=low, high=high)


def percentage(share: float, language: str, decimals: int = 0) -> str:
    """A signed share that may have no bound."""
    return percent_text(language, share, decimals, signed=True) if math.isfinite(share) else _unbounded(share)


def total_text(total: float, language: str) -> str:
    """What all customers make together, signed, in whole units."""
    return number_text(language, total, 0, signed=True) if math.isfinite(total) else _unbounded(total)


def wire_text(amount: str | int, language: str) -> str:
    """A sum as a document holds it: a count, or exact money as a decimal string."""
    exact = Decimal(amount)
    return number_text(language, exact, max(0, -int(exact.as_tuple().exponent)))


def ends(effect: Mapping[str, Any], of: str = "") -> tuple[float, float]:
    """Both ends of an interval; null is unbounded."""
    low, high = effect.get(f"{of}low"), effect.get(f"{of}high")
    return (-math.inf if low is None else low), (math.inf if high is None else high)


def p_text(p: float | None, language: str) -> str:
    """A chance; what is too small to be written says so."""
    if p is None:
        return NOTHING
    return f"< {number_text(language, 0.0001, 4)}" if p < 0.0001 else number_text(language, p, 4)


def _unbounded(value: float) -> str:
    return "∞" if value > 0 else "−∞"


def _digits(name: str, currency: str) -> int:
    return 4 if name in COUNTS else minor_digits(currency) + 1
