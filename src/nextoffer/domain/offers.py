"""The words of offers, and the columns candidates and slates travel in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.kinds import DROP, DROPS, INCENTIVES, KIND, KINDS, REASON, REASONS, TERMS
from nextoffer.domain.money import minor_digits, to_wire

__all__ = [
    "DROP",
    "DROPS",
    "INCENTIVES",
    "KIND",
    "KINDS",
    "REASON",
    "REASONS",
    "TERMS",
    "Candidates",
    "Dropped",
    "Offer",
    "Reason",
    "Slate",
    "SlateRequest",
    "Slates",
    "dropped_json",
    "offer_json",
    "offer_of",
    "utc_text",
]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Offers that could be made, one row each, sorted by customer, kind, product.

    Parameters
    ----------
    customer : (n,) int32 position of the customer in the batch
    kind : (n,) int8 index into KINDS
    product : (n,) int32 row of the bundle's products, −1 for an offer on the whole basket
    because : (n,) int32 row of the product that gave rise to it, −1 if none
    reason : (n,) int8 index into REASONS
    p_buy : (n,) float32 P(bought within the horizon, no offer made); of any order for the whole basket
    rule : (n,) int16 row of the marketer's rules (offers.toml), −1 for what was learned
    """

    customer: Ints
    kind: Ints
    product: Ints
    because: Ints
    reason: Ints
    p_buy: Floats
    rule: Ints

    def __len__(self) -> int:
        return len(self.customer)

    @classmethod
    def learned(
        cls, customer: Ints, kind: Ints, product: Ints, because: Ints, reason: Ints, p_buy: Floats
    ) -> Candidates:
        """Candidates of the built-in and plugged-in kinds: no rule of a marketer stands behind them."""
        return cls(customer, kind, product, because, reason, p_buy, np.full(len(product), -1, np.int16))

    def take(self, rows: Ints | Bools) -> Candidates:
        """The rows chosen by positions or by a mask."""
        return Candidates(*(getattr(self, name)[rows] for name in self.__slots__))

    @classmethod
    def concat(cls, parts: list[Candidates]) -> Candidates:
        """All rows of several sets, in the order given."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Slates:
    """Ranked offers of a batch of customers, one row each, sorted by customer and rank.

    Money columns are integer minor units, −1 where there is no product; `expected_profit` is float64 in currency
    units and the sum of `terms` (n, n_terms), one column for each of TERMS. `incentive` is a row of the menu,
    `cost` the expected cost of it in currency units. `propensity` is the chance that this incentive was chosen (1
    without exploration). The dropped have the value of the incentive that stood longest.
    """

    customer: Ints
    rank: Ints
    kind: Ints
    product: Ints
    because: Ints
    reason: Ints
    rule: Ints
    p_buy: Floats
    p_offer: Floats
    expected_profit: Floats
    terms: Floats
    cost: Floats
    incentive: Ints
    propensity: Floats
    list_price: Ints
    final_price: Ints
    dropped_customer: Ints
    dropped_kind: Ints
    dropped_product: Ints
    dropped_incentive: Ints
    dropped_profit: Floats
    dropped_terms: Floats
    dropped_reason: Ints

    def __len__(self) -> int:
        return len(self.customer)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why this offer, for this customer: a stable code, a true sentence, and the products it rests on."""

    code: str
    text: str
    because: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer, ready to be displayed. Prices are decimal strings in the shop's currency.

    An offer on the whole basket has no product, no url and no prices. `incentive_text` says in the customer's words
    what they gain, empty for none, and `incentive_name` what the shop calls it. `rule` is the marketer's rule it
    comes from, `terms` what its expected profit is the sum of, in currency units (only where it was asked to
    explain).
    """

    offer_id: str
    kind: str
    product_id: str | None
    title: str
    url: str | None
    image_url: str | None
    list_price: str | None
    final_price: str | None
    incentive: dict[str, str]
    incentive_text: str
    code: str | None
    valid_until: datetime
    p_buy: float
    expected_profit: float
    reason: Reason
    rule: str | None = None
    terms: dict[str, float] | None = None
    incentive_name: str = "none"


def offer_json(offer: Offer, currency: str) -> dict[str, Any]:
    """One offer with everything a server key may see; also what the ledger keeps."""
    document: dict[str, Any] = {
        "offer_id": offer.offer_id,
        "kind": offer.kind,
        "product_id": offer.product_id,
        "title": offer.title,
        "url": offer.url,
        "image_url": offer.image_url,
        "list_price": offer.list_price,
        "final_price": offer.final_price,
        "incentive": offer.incentive,
        "incentive_text": offer.incentive_text,
        "incentive_name": offer.incentive_name,
        "code": offer.code,
        "valid_until": utc_text(offer.valid_until),
        "p_buy": round(offer.p_buy, 6),
        "expected_profit": to_wire(round(offer.expected_profit * 10 ** minor_digits(currency)), currency),
        "reason": {
            "code": offer.reason.code,
            "text": offer.reason.text,
            "because": list(offer.reason.because),
        },
    }
    if offer.rule is not None:
        document["rule"] = offer.rule
    if offer.terms is not None:
        document["terms"] = offer.terms
    return document


def dropped_json(dropped: Dropped, currency: str) -> dict[str, Any]:
    """One candidate that was not offered, with the terms of its value."""
    return {
        "kind": dropped.kind,
        "product_id": dropped.product_id,
        "reason": dropped.reason,
        "incentive": dropped.incentive,
        "expected_profit": to_wire(round(dropped.expected_profit * 10 ** minor_digits(currency)), currency),
        "terms": dropped.terms,
    }


def offer_of(recorded: Mapping[str, Any]) -> Offer:
    """The offer a ledger's JSON stands for."""
    reason = recorded["reason"]
    return Offer(
        **{
            **recorded,
            "valid_until": datetime.fromisoformat(recorded["valid_until"]),
            "expected_profit": float(recorded["expected_profit"]),
            "reason": Reason(reason["code"], reason["text"], tuple(reason["because"])),
        }
    )


def utc_text(moment: datetime) -> str:
    """RFC 3339 UTC; a moment without zone is UTC."""
    aware = moment.astimezone(UTC) if moment.tzinfo else moment
    return aware.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that was not offered, the rule that dropped it (a code of DROPS), and what it was worth.

    `terms` add up to `expected_profit`, in currency units; `incentive` is what it would have carried.
    """

    kind: str
    product_id: str | None
    reason: str
    incentive: dict[str, str]
    expected_profit: float
    terms: dict[str, float]


@dataclass(frozen=True, slots=True)
class Slate:
    """The ranked offers one customer gets in one placement or message.

    `fallback` is None for a slate made from the customer's own history, else why it was not: `context`
    (made from the cart or views alone) or `popular` (nothing is known). `propensities`: for each offer whose
    incentive was drawn, `kind:product` -> {incentive or "nothing": chance}.
    """

    customer_id: str | None
    bundle_id: str
    currency: str
    segment: str | None
    fallback: str | None
    offers: tuple[Offer, ...]
    dropped: tuple[Dropped, ...] = ()
    propensities: dict[str, dict[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class SlateRequest:
    """What a storefront, an export or an analyst asks for one customer.

    `viewed` and `cart` are product ids, newest first; unknown ones are ignored. `bought` are product ids
    bought since the bundle's as_of (live orders), `seen` what was viewed or carted in earlier visits as (product
    id, carted, hours ago). `messages_today/week` are contacts already made; `contact` says whether this slate is
    itself a contact (a message), so that the cap and its cost count. `used` is how often each incentive (by its
    name) was redeemed by all, `used_by` by this customer. `stock` is the units on hand now where that is known,
    `sold` what the whole shop sold since the bundle was made, to be taken off tonight's stock. `explore` draws the
    depth of discounts with the uniform `draw` in [0, 1). `language` of the reasons: en or ru, as in ru-RU; empty =
    the customer's own, else the shop's.
    """

    customer_id: str | None = None
    n: int | None = None
    kinds: tuple[str, ...] | None = None
    cart: tuple[str, ...] = ()
    viewed: tuple[str, ...] = ()
    bought: tuple[str, ...] = ()
    category: str | None = None
    brand: str | None = None
    max_price: int | None = None
    contact: bool = False
    messages_today: int = 0
    messages_week: int = 0
    language: str = ""
    explain: bool = False
    stock: Mapping[str, float] = field(default_factory=dict)
    sold: Mapping[str, float] = field(default_factory=dict)
    placement: str | None = None
    cart_value: int | None = None
    seen: tuple[tuple[str, bool, float], ...] = ()
    event_made: bool = False
    used: Mapping[str, int] = field(default_factory=dict)
    used_by: Mapping[str, int] = field(default_factory=dict)
    explore: bool = False
    draw: float = 0.0
