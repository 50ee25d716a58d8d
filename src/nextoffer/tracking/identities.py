"""Who an anonymous visitor turned out to be: written once, when an event names both.

Only the link is kept. Nothing recorded under the visitor's id is rewritten: readers follow the link. A device that
several people share gives one visitor several customers; which of them it was is for the reader to decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from nextoffer.tracking.schema import Event, to_micros


def links(events: Iterable[Event]) -> list[dict[str, Any]]:
    """Rows of the table `identities`, each pair once, with the earliest moment of these events; sorted."""
    first: dict[tuple[str, str], int] = {}
    for event in events:
        visitor, customer = event.payload.get("visitor_id"), event.unit_id
        if visitor and customer and visitor != customer:
            pair, at = (visitor, customer), to_micros(event.at)
            first[pair] = min(at, first.get(pair, at))
    return [
        {"visitor_id": visitor, "customer_id": customer, "at": at}
        for (visitor, customer), at in sorted(first.items())
    ]
