"""What a code takes off an order, to the minor unit; adding up several discounts is the shop's business."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from nextoffer.domain.money import minor_digits, to_minor
from nextoffer.errors import BadRecordError
from nextoffer.tracking.parse import bad_field, id_of, lines_of, number_of, parse_order
from nextoffer.tracking.schema import EPOCH


@dataclass(frozen=True, slots=True)
class Basket:
    """An order, placed or about to be, as far as a code has to do with it.

    `value` is what its lines cost before the code, minor units. `currency` is None where the order names none.
    Lines have product_id, quantity, unit_price and perhaps line_discount, as decimal strings.
    """

    order_id: str | None
    value: int
    currency: str | None = None
    lines: tuple[Mapping[str, Any], ...] = ()
    shipping: int = 0


def parse_basket(order: object, currency: str) -> Basket:
    """Check an order as shops send it: `order_id`, `lines` or `total`, perhaps `discount`, `shipping`, `currency`.

    Raises
    ------
    BadRecordError : with `field`, the first key at fault.
    """
    if not isinstance(order, Mapping):
        raise bad_field("order", order, "must be an object with order_id and lines")
    try:
        order_id, named = id_of(order, "order_id"), id_of(order, "currency")
        total, shipping, off = (_amount(order, field) for field in ("total", "shipping", "discount"))
    except BadRecordError as error:
        raise BadRecordError(f"order.{error}", f"order.{error.field}") from None
    lines = lines_of(order)
    if not lines and total is None:
        raise bad_field("order.lines", None, "must hold a line, or `total` must be given")
    parsed = parse_order(order_id or "", None, EPOCH, lines, currency, total, None, off)
    return Basket(order_id, parsed.revenue, named, parsed.lines, to_minor(shipping or 0, currency))


def _amount(order: Mapping[str, Any], field: str) -> Decimal | None:
    if order.get(field) in (None, ""):
        return None
    amount = number_of(order, field)
    if amount < 0:
        raise bad_field(field, amount, "must not be negative")
    return amount


def discount_of(incentive: Mapping[str, Any], product_id: str | None, basket: Basket, currency: str) -> int:
    """Minor units an incentive takes off an order; never more than what it is taken off costs.

    `percent` and `fixed_price` change the price of each unit of the product, rounded half to even as on the offer
    itself, so that three units cost three times the price shown; `percent` without a product is of the whole
    order. `amount` is taken off once. `free_shipping` is the order's `shipping`. `gift` is one unit of the gift,
    if it is in the order. `points` are granted by the shop's own programme and take nothing off.

    >>> tea = Basket("o1", 765, lines=({"product_id": "tea", "quantity": "3", "unit_price": "2.55"},))
    >>> discount_of({"type": "percent", "value": "10"}, "tea", tea, "GBP")
    75
    >>> discount_of({"type": "percent", "value": "10"}, None, tea, "GBP")
    77
    """
    kind, value = incentive["type"], Decimal(str(incentive.get("value") or 0))
    lines = [line for line in basket.lines if Decimal(line["quantity"]) > 0]
    if kind == "free_shipping":
        return basket.shipping
    if kind == "gift":
        gift = [line for line in lines if line["product_id"] == incentive.get("product_id")]
        return max((to_minor(line["unit_price"], currency) for line in gift), default=0)
    if kind not in ("percent", "amount", "fixed_price"):
        return 0
    if product_id is None:
        return _capped(_off_whole(kind, value, basket.value, currency), basket.value)
    chosen = [line for line in lines if line["product_id"] == product_id]
    costs = sum(_cost(line, currency) for line in chosen)
    if kind == "amount":
        off = to_minor(value, currency)
    else:
        off = sum(min(_off_line(kind, value, line, currency), _cost(line, currency)) for line in chosen)
    return _capped(off, min(costs, basket.value))


def _off_whole(kind: str, value: Decimal, costs: int, currency: str) -> int:
    if kind == "percent":
        return costs - round(costs * (100 - value) / 100)
    return to_minor(value, currency) if kind == "amount" else 0  # a fixed price is that of a product


def _off_line(kind: str, value: Decimal, line: Mapping[str, Any], currency: str) -> int:
    """The price of each unit falls to what the offer showed."""
    quantity, price = Decimal(line["quantity"]), Decimal(line["unit_price"])
    if kind == "percent":
        # the unit price is rounded in minor units, as the till rounds it; of a price finer than that only the line is
        final = price * (100 - value) / 100
        if price == _rounded(price, currency):
            final = _rounded(final, currency)
    else:
        final = min(value, price)
    return to_minor(quantity * price, currency) - to_minor(quantity * final, currency)


def _rounded(price: Decimal, currency: str) -> Decimal:
    return Decimal(to_minor(price, currency)).scaleb(-minor_digits(currency))


def _cost(line: Mapping[str, Any], currency: str) -> int:
    """What a line costs after its own discount."""
    whole = to_minor(Decimal(line["quantity"]) * Decimal(line["unit_price"]), currency)
    return whole - to_minor(line.get("line_discount", "0"), currency)


def _capped(off: int, most: int) -> int:
    return max(0, min(off, most))
