"""Returns: what comes back is a row of its own beside the order it takes back from, and never its duplicate.

A shop tells of a return under the id of the order. An order is recorded once, so that this would be swallowed as
known; hence the return is stored under `ORDER:return:KEY` with `returns_of = ORDER`. KEY is the id of the event that
told of it, or, in a file of order lines, a hash of what came back at one moment: told again, it is the same row.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from nextoffer.tracking.schema import Order, to_json, to_micros


def is_return(order: Order) -> bool:
    """Whether every line takes something back, or, without lines, the amount does. Some but not all: an exchange."""
    return all(map(_is_back, order.lines)) if order.lines else order.revenue < 0


def refunded(order: Order) -> Order:
    """What a refund names, as it comes back: shops write its quantities and amounts positive."""
    lines = tuple(line if _is_back(line) else _taken_back(line) for line in order.lines)
    cost = None if order.cost is None else -abs(order.cost)
    return replace(order, revenue=-abs(order.revenue), cost=cost, lines=lines)


def as_return(order: Order, key: str | None = None) -> Order:
    """The return under an id of its own; without a key, of its content."""
    return replace(
        order, order_id=f"{order.order_id}:return:{key or _content(order)}", returns_of=order.order_id
    )


def moments_of_returns(moments: Sequence[datetime], lines: Sequence[Mapping[str, str]]) -> set[datetime]:
    """The moments of an order's lines at which things only came back: after its purchase, or without one.

    Lines taken back at the moment of the purchase are an exchange and belong to it.
    """
    bought = [at for at, line in zip(moments, lines, strict=True) if not _is_back(line)]
    return {at for at in moments if at not in bought and (not bought or at > min(bought))}


def _is_back(line: Mapping[str, str]) -> bool:
    return Decimal(line["quantity"]) < 0


def _taken_back(line: Mapping[str, str]) -> dict[str, str]:
    turned = {name: str(-Decimal(line[name])) for name in ("quantity", "line_discount") if name in line}
    return {**line, **turned}


def _content(order: Order) -> str:
    """Sixteen hex of what came back and when: the order of the lines and trailing zeros do not matter."""
    told = sorted(
        (line["product_id"], *(str(Decimal(line[name]).normalize()) for name in ("quantity", "unit_price")))
        for line in order.lines
    )
    return hashlib.sha256(to_json([to_micros(order.at), told]).encode()).hexdigest()[:16]
