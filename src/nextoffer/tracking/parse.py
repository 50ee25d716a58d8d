"""What happened, as shops send it -> a checked Event or Order: the same rules for the API and for files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from nextoffer.domain.events import EVENT_TYPES, REFUNDS, canonical_type
from nextoffer.domain.money import to_minor
from nextoffer.errors import BadRecordError
from nextoffer.tracking.returns import as_return, is_return, refunded
from nextoffer.tracking.schema import Event, Order

_LONGEST_ID = 256
_LARGEST = Decimal(10) ** 12
_LARGEST_AMOUNT = 2**53  # minor units: exact in every number that carries them
_FIRST_YEAR, _LAST_YEAR = 1990, 2200
CLOCKS_DIFFER = timedelta(minutes=10)  # a moment later than ours by more than this is wrong
_NEEDS_PRODUCT = frozenset({"detail-page-view", "add-to-cart", "remove-from-cart"})
_NEEDS_DECISION = frozenset({"promotion-offered", "promotion-clicked", "promotion-redeemed"})
# What is kept beside the event's own columns; anything else a shop sends may be personal and is not stored.
_KEPT = ("code", "channel", "placement", "quantity")


def parse_event(item: Mapping[str, Any], zone: tzinfo, currency: str, now: datetime | None = None) -> Event:
    """Check one event: nothing is guessed at.

    Parameters
    ----------
    item : the keys of `POST /v1/events`; `type` and `decision_id` are understood as `event_type` and
        `attribution_token`. An order is nested as `order`, or flat: `order_id`, `lines` (JSON), `revenue`. One whose
        lines are all taken back is a return (`returns.py`).
    zone : the zone of a moment that names none
    currency : the shop's; an order in another one is refused
    now : when we were told; an event that is late, or out of order, is taken as it is, one from the future is not

    Raises
    ------
    BadRecordError : with `field`, the first key at fault.
    """
    if not isinstance(item, Mapping):
        raise bad_field("event", item, "must be an object with event_id, event_type and occurred_at")
    event_id = _required_id(item, "event_id")
    kind = _type(item)
    at = _moment(item, "occurred_at", zone, now)
    customer, visitor = id_of(item, "customer_id"), id_of(item, "visitor_id")
    unit = customer or visitor
    token = id_of(item, "attribution_token") or id_of(item, "decision_id")
    offer, product = id_of(item, "offer_id"), id_of(item, "product_id")
    if unit is None and token is None:
        raise bad_field("customer_id", None, "or visitor_id or attribution_token must say who it was")
    if kind in _NEEDS_PRODUCT and product is None:
        raise bad_field("product_id", None, f"must name the product of a {kind}")
    if kind in _NEEDS_DECISION and token is None and offer is None:
        raise bad_field("attribution_token", None, f"or offer_id must say which offer this {kind} is about")
    payload = {key: str(item[key]) for key in _KEPT if item.get(key) not in (None, "")}
    if customer is not None and visitor is not None:
        payload["visitor_id"] = visitor
    order = _order(item, unit, at, currency, event_id) if kind == "purchase-complete" else None
    return Event(event_id, kind, at, unit, token, offer, product, order, payload, now)


def parse_order(
    order_id: str,
    unit_id: str | None,
    at: datetime,
    items: Sequence[Mapping[str, Any]],
    currency: str,
    revenue: object = None,
    cost: object = None,
    discount: object = None,
) -> Order:
    """An order of checked lines; its revenue and cost are the lines' sums unless they are given.

    `discount` was taken off the whole order, a line's `line_discount` off that line. A cost is
    known only if it is known for every line.

    Raises
    ------
    BadRecordError : a line lacks its product or has an impossible quantity, price or cost, or something amounts to
        more than 2**53 minor units.
    """
    lines = tuple(_line(item, number, currency) for number, item in enumerate(items, start=1))
    if revenue in (None, ""):
        if not lines:
            raise bad_field("order.lines", None, "must hold a line, or `revenue` must be given")
        sold = sum(_sold(line, currency) for line in lines) - _money("discount", discount, currency)
    else:
        sold = _money("revenue", revenue, currency)
    spent: int | None = None
    if cost not in (None, ""):
        spent = _money("cost", cost, currency)
    elif lines and all("unit_cost" in line for line in lines):
        spent = sum(_product(line, "unit_cost", currency) for line in lines)
    for field, amount in (("order", sold), ("order.cost", spent or 0)):
        if abs(amount) > _LARGEST_AMOUNT:
            raise bad_field(field, amount, f"must amount to at most {_LARGEST_AMOUNT} minor units")
    return Order(order_id, unit_id, at, sold, currency, spent, lines)


def parse_moment(value: object, field: str, zone: tzinfo, now: datetime | None = None) -> datetime:
    """A moment in UTC; one without zone is the shop's local time.

    Raises
    ------
    BadRecordError : it is no date and time, lies outside 1990 to 2200, or is later than `now` by more than clocks
        differ.
    """
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise bad_field(field, value, "must be a date and time such as 2026-01-31T12:00:00Z") from None
    if not isinstance(value, datetime):
        raise bad_field(field, value, "must be a date and time such as 2026-01-31T12:00:00Z")
    if not _FIRST_YEAR <= value.year <= _LAST_YEAR:
        raise bad_field(field, value.isoformat(), f"must lie between {_FIRST_YEAR} and {_LAST_YEAR}")
    moment = (value if value.tzinfo is not None else value.replace(tzinfo=zone)).astimezone(UTC)
    if now is not None and moment > now + CLOCKS_DIFFER:
        told = f"must not lie in the future (it is {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ} here)"
        raise bad_field(field, value.isoformat(), f"{told}; look at the sender's clock and time zone")
    return moment


def _order(item: Mapping[str, Any], unit: str | None, at: datetime, currency: str, event_id: str) -> Order:
    nested = item.get("order")
    if nested is not None and not isinstance(nested, Mapping):
        raise bad_field("order", nested, "must be an object with order_id and lines")
    order: Mapping[str, Any] = item if nested is None else nested
    if unit is None:
        raise bad_field("customer_id", None, "or visitor_id must say who bought")
    named = id_of(order, "currency")
    if named is not None and named != currency:
        raise bad_field("order.currency", named, f"must be {currency}, the shop's currency")
    order_id = id_of(order, "order_id")
    if order_id is None:
        raise bad_field("order.order_id", None, "must be given with a purchase")
    revenue = order.get("revenue", order.get("total"))
    discount = order.get("discount", order.get("order_discount"))
    told = parse_order(order_id, unit, at, lines_of(order), currency, revenue, order.get("cost"), discount)
    if (item.get("event_type") or item.get("type")) in REFUNDS:
        if len({line["quantity"].startswith("-") for line in told.lines}) > 1:
            raise bad_field(
                "order.lines", None, "of a refund must all come back; send an exchange as a purchase"
            )
        told = refunded(told)
    if not is_return(told):
        return told
    if told.revenue > 0:
        raise bad_field("order.revenue", revenue, "must not be above 0 where every line comes back")
    return as_return(told, event_id)


def lines_of(order: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """An order's lines, not yet checked: an array, its JSON text, or the order itself if it is of one line."""
    lines = order.get("lines")
    if isinstance(lines, str) and lines.strip():
        try:
            lines = orjson.loads(lines)
        except orjson.JSONDecodeError:
            raise bad_field("order.lines", lines[:40], "must be a JSON array of lines") from None
    if lines in (None, ""):
        # a flat row with one product is an order of one line
        return [order] if order.get("unit_price") not in (None, "") else []
    if not isinstance(lines, list | tuple):
        raise bad_field("order.lines", lines, "must be an array of lines")
    return lines


def _line(item: Mapping[str, Any], number: int, currency: str) -> dict[str, str]:
    where = f"order.lines[{number - 1}]"
    if not isinstance(item, Mapping):
        raise bad_field(where, item, "must be an object with product_id, quantity and unit_price")
    product = id_of(item, "product_id")
    if product is None:
        raise bad_field(f"{where}.product_id", None, "must be given")
    given = {"quantity": item.get("quantity", 1), "unit_price": item.get("unit_price", item.get("price"))}
    line = {"product_id": product}
    for field, value in given.items():
        if value in (None, ""):
            raise bad_field(f"{where}.{field}", None, "must be given")
        line[field] = str(number_of({field: value}, field, where))
    if Decimal(line["quantity"]) == 0:
        raise bad_field(f"{where}.quantity", given["quantity"], "must not be 0")
    if Decimal(line["unit_price"]) < 0:
        raise bad_field(f"{where}.unit_price", given["unit_price"], "must not be negative")
    for field in ("unit_cost", "line_discount"):
        if item.get(field) not in (None, ""):
            line[field] = str(number_of(item, field, where))
    for field in ("unit_price", "unit_cost"):
        if field in line and abs(_product(line, field, currency)) > _LARGEST_AMOUNT:
            rule = f"times the quantity must amount to at most {_LARGEST_AMOUNT} minor units"
            raise bad_field(f"{where}.{field}", line[field], rule)
    return line


def _sold(line: Mapping[str, str], currency: str) -> int:
    return _product(line, "unit_price", currency) - to_minor(line.get("line_discount", "0"), currency)


def _product(line: Mapping[str, str], field: str, currency: str) -> int:
    return to_minor(Decimal(line["quantity"]) * Decimal(line[field]), currency)


def _money(field: str, value: object, currency: str) -> int:
    return 0 if value in (None, "") else to_minor(number_of({field: value}, field), currency)


def number_of(item: Mapping[str, Any], field: str, where: str | None = None) -> Decimal:
    """A finite number, exact as it was written."""
    value = item[field]
    name = field if where is None else f"{where}.{field}"
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise bad_field(name, value, "must be a number")
    try:
        number = Decimal(value.strip() if isinstance(value, str) else str(value))
    except InvalidOperation:
        raise bad_field(name, value, "must be a number with a decimal point, such as 2.55") from None
    if not number.is_finite() or abs(number) >= _LARGEST:
        raise bad_field(name, value, "must be a number below a million million")
    return number


def _type(item: Mapping[str, Any]) -> str:
    name = item.get("event_type") or item.get("type")
    kind = canonical_type(name) if isinstance(name, str) else None
    if kind is None:
        raise bad_field("event_type", name, f"must be one of {', '.join(EVENT_TYPES)}")
    return kind


def _moment(item: Mapping[str, Any], field: str, zone: tzinfo, now: datetime | None) -> datetime:
    value = item.get(field)
    if value in (None, ""):
        raise bad_field(field, None, "must be given")
    return parse_moment(value, field, zone, now)


def _required_id(item: Mapping[str, Any], field: str) -> str:
    value = id_of(item, field)
    if value is None:
        raise bad_field(field, None, "must be given, so that sending it twice counts once")
    return value


def id_of(item: Mapping[str, Any], field: str) -> str | None:
    """An id or a short word, stripped; None if it is missing or empty."""
    value = item.get(field)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise bad_field(field, value, "must be text")
    if len(value) > _LONGEST_ID or not value.isprintable():
        raise bad_field(field, value[:40], f"must be printable text of at most {_LONGEST_ID} characters")
    return value.strip() or None


def bad_field(field: str, value: object, rule: str) -> BadRecordError:
    """The error that says which field is at fault, what it must be, and what it was."""
    found = "" if value is None else f", not {str(value)[:60]!r}"
    return BadRecordError(f"{field} {rule}{found}", field)
