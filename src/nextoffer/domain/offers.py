"""The words of offers, and the columns candidates and slates travel in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np

from nextoffer.config import Incentive, Kind
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.money import minor_digits, to_wire

KINDS: tuple[str, ...] = get_args(Kind)
INCENTIVES: tuple[str, ...] = get_args(Incentive)
KIND = {kind: code for code, kind in enumerate(KINDS)}

REASONS: tuple[str, ...] = (
    "due-for-refill",  # replenishment
    "bought-together",  # cross_sell: companion of something bought lately
    "goes-with-cart",  # cross_sell: companion of something in the cart
    "bought-lately",  # cross_sell: companion of something bought since the bundle was made
    "step-up",  # up_sell
    "similar-customers",  # for_you: collaborative filtering
    "like-viewed",  # for_you: similar to something viewed now
    "popular-now",  # for_you: nothing personal is known
    "we-miss-you",  # win_back
    "runs-out",  # replenishment: by the shelf life of what was bought (last, so that older codes keep theirs)
)
REASON = {reason: code for code, reason in enumerate(REASONS)}

# In the order the rules are asked: the first that fails gives the code.
DROPS: tuple[str, ...] = (
    "filtered",
    "hidden",
    "restricted",
    "out-of-stock",
    "bought-recently",
    "margin-floor",
    "in-cart",
    "contact-cap",
    # not eligibility, but why an eligible offer is still not on the slate
    "low-value",
    "same-product",
    "kind-full",
    "slate-full",
)
DROP = {reason: code for code, reason in enumerate(DROPS)}


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Offers that could be made, one row each, sorted by customer, kind, product.

    Parameters
    ----------
    customer : (n,) int32 position of the customer in the batch
    kind : (n,) int8 index into KINDS
    product : (n,) int32 row of the bundle's products
    because : (n,) int32 row of the product that gave rise to it, −1 if none
    reason : (n,) int8 index into REASONS
    p_buy : (n,) float32 P(bought within the horizon, no offer made)
    """

    customer: Ints
    kind: Ints
    product: Ints
    because: Ints
    reason: Ints
    p_buy: Floats

    def __len__(self) -> int:
        return len(self.customer)

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

    Money columns are integer minor units; `expected_profit` is float64 in currency units, `level` the share
    of the price given away (0 for no incentive).
    """

    customer: Ints
    rank: Ints
    kind: Ints
    product: Ints
    because: Ints
    reason: Ints
    p_buy: Floats
    p_offer: Floats
    expected_profit: Floats
    level: Floats
    list_price: Ints
    final_price: Ints
    dropped_customer: Ints
    dropped_kind: Ints
    dropped_product: Ints
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
    """One offer, ready to be displayed. Prices are decimal strings in the shop's currency."""

    offer_id: str
    kind: str
    product_id: str
    title: str
    url: str | None
    image_url: str | None
    list_price: str
    final_price: str
    incentive: dict[str, str]
    code: str | None
    valid_until: datetime
    p_buy: float
    expected_profit: float
    reason: Reason


def offer_json(offer: Offer, currency: str) -> dict[str, Any]:
    """One offer with everything a server key may see; also what the ledger keeps."""
    return {
        "offer_id": offer.offer_id,
        "kind": offer.kind,
        "product_id": offer.product_id,
        "title": offer.title,
        "url": offer.url,
        "image_url": offer.image_url,
        "list_price": offer.list_price,
        "final_price": offer.final_price,
        "incentive": offer.incentive,
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
    """A candidate that was not offered, and the rule that dropped it (a code of DROPS)."""

    kind: str
    product_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Slate:
    """The ranked offers one customer gets in one placement or message.

    `fallback` is None for a slate made from the customer's own history, else why it was not: `context`
    (made from the cart or views alone) or `popular` (nothing is known).
    """

    customer_id: str | None
    bundle_id: str
    currency: str
    segment: str | None
    fallback: str | None
    offers: tuple[Offer, ...]
    dropped: tuple[Dropped, ...] = ()


@dataclass(frozen=True, slots=True)
class SlateRequest:
    """What a storefront, an export or an analyst asks for one customer.

    `viewed` and `cart` are product ids, newest first; unknown ones are ignored. `bought` are product ids
    bought since the bundle's as_of (live orders). `messages_today/week` are contacts already made; `contact`
    says whether this slate is itself a contact (a message), so that the cap and its cost count. `language` of
    the reasons: en or ru, as in ru-RU; empty = the customer's own, else en.
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
    stock: dict[str, float] = field(default_factory=dict)
