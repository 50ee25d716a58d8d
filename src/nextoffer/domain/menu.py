"""The menu: every incentive the shop may give, as columns; row 0 is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

import numpy as np

from nextoffer.config import Incentive, IncentiveTerms, Settings
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.kinds import INCENTIVES, KINDS
from nextoffer.domain.money import minor_digits, to_minor, to_wire
from nextoffer.errors import ConfigError

TYPE = {name: code for code, name in enumerate(INCENTIVES)}
MILLION = 1_000_000  # discounts are counted in millionths, so that no binary fraction decides over a cent


@dataclass(frozen=True, slots=True, eq=False)
class Menu:
    """Incentives, one row each; money in minor units of `currency`.

    Parameters
    ----------
    name : as in nextoffer.toml or offers.toml; "none" for row 0
    type : (m,) int8 index into INCENTIVES
    millionths : (m,) int64 share taken off by a percent, in millionths
    amount : (m,) int64 amount off, fixed price, delivery fee saved, value of the points; 0 for the others
    points : (m,) int64
    gift : product id of the gift, None for the others
    cost : (m,) int64 what one use costs the shop; −1 = what the customer saves (a gift: its unit cost)
    partner_share : (m,) share of the cost that a supplier pays
    basket : (m,) True where it is taken off the whole basket
    min_order : (m,) int64 least value of the order, 0 = none
    valid_days : (m,) int64, 0 = the shop's usual
    quota, per_customer : (m,) int64 uses in all and by one customer, −1 = no limit
    kinds : (m, n_kinds) bool offer kinds that may carry it
    """

    currency: str
    name: tuple[str, ...]
    type: Ints
    millionths: Ints
    amount: Ints
    points: Ints
    gift: tuple[str | None, ...]
    cost: Ints
    partner_share: Floats
    basket: Bools
    min_order: Ints
    valid_days: Ints
    quota: Ints
    per_customer: Ints
    kinds: Bools

    def __len__(self) -> int:
        return len(self.name)

    @classmethod
    def of(cls, settings: Settings, more: Sequence[tuple[str, IncentiveTerms]] = ()) -> Menu:
        """The shop's incentives: none, `win_back_levels`, `[incentives]`, and `more` (those of offers.toml)."""
        levels = sorted(set(settings.offers.win_back_levels))
        rows: list[tuple[str, IncentiveTerms]] = [
            (f"win-back {_plain(_percent(level))} %", _win_back(level)) for level in levels
        ]
        rows += list(settings.incentives.items()) + list(more)
        currency, point = settings.currency, settings.programme.point_value
        made = [_none(), *(_row(name, terms, currency, point) for name, terms in rows)]
        columns: dict[str, Any] = {}
        for field in fields(cls)[1:]:
            values = [row[field.name] for row in made]
            columns[field.name] = tuple(values) if field.name in ("name", "gift") else np.array(values)
        return cls(currency, **columns)

    def wire(self, row: int) -> dict[str, str]:
        """One incentive as the API shows it: type, and what else is needed to understand it."""
        kind = INCENTIVES[int(self.type[row])]
        shown = {"type": kind}
        if kind == "percent":
            shown["value"] = _plain(Decimal(int(self.millionths[row])) / 10_000)
        elif kind == "points":
            shown["value"] = str(int(self.points[row]))
        elif kind == "gift":
            shown["product_id"] = self.gift[row] or ""
        elif kind != "none":
            shown["value"] = to_wire(int(self.amount[row]), self.currency)
        if self.basket[row]:
            shown["scope"] = "basket"
        if self.min_order[row] > 0:
            shown["min_order"] = to_wire(int(self.min_order[row]), self.currency)
        return shown

    def text(self, row: int) -> str:
        """One incentive in a word for tables: none, percent 10, amount 5.00, points 200."""
        shown = self.wire(row)
        return " ".join((shown["type"], *(shown[key] for key in ("value", "product_id") if key in shown)))


def _none() -> dict[str, Any]:
    return {
        "name": "none",
        "type": np.int8(TYPE["none"]),
        "millionths": 0,
        "amount": 0,
        "points": 0,
        "gift": None,
        "cost": 0,
        "partner_share": 0.0,
        "basket": False,
        "min_order": 0,
        "valid_days": 0,
        "quota": -1,
        "per_customer": -1,
        "kinds": np.ones(len(KINDS), dtype=bool),
    }


def _row(name: str, terms: IncentiveTerms, currency: str, point_value: Decimal) -> dict[str, Any]:
    _refuse_finer(name, terms, currency)
    kind: Incentive = terms.type
    value = terms.value or Decimal(0)
    money = value * point_value if kind == "points" else value
    return {
        "name": name,
        "type": np.int8(TYPE[kind]),
        "millionths": int((value * 10_000).to_integral_value()) if kind == "percent" else 0,
        "amount": 0 if kind in ("percent", "gift") else to_minor(money, currency),
        "points": int(value) if kind == "points" else 0,
        "gift": terms.product,
        "cost": -1 if terms.cost is None else to_minor(terms.cost, currency),
        "partner_share": terms.partner_share,
        # what is not taken off a price comes with the order as a whole
        "basket": terms.scope == "basket" or kind in ("free_shipping", "gift", "points"),
        "min_order": 0 if terms.min_order is None else to_minor(terms.min_order, currency),
        "valid_days": terms.valid_days or 0,
        "quota": terms.quota or -1,
        "per_customer": terms.max_per_customer or -1,
        "kinds": np.array([kind in terms.kinds for kind in KINDS]),
    }


def _refuse_finer(name: str, terms: IncentiveTerms, currency: str) -> None:
    """Money finer than the currency would be rounded, and nobody told.

    Raises
    ------
    ConfigError : an amount has more decimals than the currency
    """
    money = {"min_order": terms.min_order, "cost": terms.cost}
    if terms.type not in ("percent", "points"):
        money["value"] = terms.value
    digits = minor_digits(currency)
    faults = [
        f"{key}: {currency} has {digits} decimals, but it is {amount}"
        for key, amount in money.items()
        if amount is not None and amount.scaleb(digits) % 1
    ]
    if faults:
        raise ConfigError(f"incentive {name!r}", faults)


def _win_back(level: float) -> IncentiveTerms:
    return IncentiveTerms(type="percent", value=_percent(level), kinds=("win_back",))


def _percent(level: float) -> Decimal:
    return Decimal(str(level)) * 100


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
