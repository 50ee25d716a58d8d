"""Money: integer minor units in accounts, decimal strings on the wire, floats only inside models."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

_NO_DIGITS = frozenset("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split())
_THREE_DIGITS = frozenset("BHD IQD JOD KWD LYD OMR TND".split())


def minor_digits(currency: str) -> int:
    """Decimal places of a currency: 2, but 0 for JPY and its like, 3 for KWD and its like (ISO 4217)."""
    return 0 if currency in _NO_DIGITS else 3 if currency in _THREE_DIGITS else 2


def to_minor(amount: Decimal | str | int, currency: str) -> int:
    """Minor units of an exact amount, banker's rounding.

    >>> to_minor("2.55", "GBP"), to_minor("0.125", "GBP"), to_minor("300", "JPY")
    (255, 12, 300)
    """
    scaled = Decimal(amount).scaleb(minor_digits(currency))
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def to_wire(minor: int, currency: str) -> str:
    """The decimal string of an amount in minor units.

    >>> to_wire(255, "GBP"), to_wire(300, "JPY")
    ('2.55', '300')
    """
    digits = minor_digits(currency)
    return f"{Decimal(int(minor)).scaleb(-digits):.{digits}f}"
