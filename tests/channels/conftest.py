"""Offers and messages to write into files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from nextoffer.channels.channel import Message
from nextoffer.domain.offers import Offer, Reason, Slate

OFFER = Offer(
    offer_id="o1",
    kind="win_back",
    product_id="85123A",
    title="White hanging heart",
    url="https://shop.example/p/85123A",
    image_url="https://shop.example/i/85123A.jpg",
    list_price="2.55",
    final_price="2.30",
    incentive={"type": "percent", "value": "10", "min_order": "30.00"},
    incentive_text="10% off",
    code="BACK10",
    valid_until=datetime(2026, 12, 6, 23, 59, 59, tzinfo=ZoneInfo("Europe/London")),
    p_buy=0.1,
    expected_profit=0.4,
    reason=Reason("we-miss-you", "It has been 90 days, here is 10% off."),
)
BASKET = replace(
    OFFER,
    kind="event",
    product_id=None,
    title="£5.00 off the whole order",
    url=None,
    image_url=None,
    list_price=None,
    final_price=None,
    incentive={"type": "amount", "value": "5.00", "scope": "basket", "min_order": "30.00"},
    incentive_text="£5.00 off the whole order",
)


def message_to(customer_id: str, *offers: Offer, address: dict[str, str], **changes: Any) -> Message:
    message = Message(
        address=address,
        first_name="Ann",
        locale="en",
        customer_id=customer_id,
        decision_id="d1",
        segment="at_risk",
        slate=Slate(customer_id, "b1", "GBP", "at_risk", None, offers or (OFFER,)),
        at=datetime(2026, 11, 22, 9, 0, tzinfo=UTC),
    )
    return replace(message, **changes)


@pytest.fixture
def offer() -> Offer:
    return OFFER


@pytest.fixture
def basket_offer() -> Offer:
    return BASKET


@pytest.fixture
def message() -> Callable[..., Message]:
    """message(customer_id, *offers, address=…, **changes)"""
    return message_to
