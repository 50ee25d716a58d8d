"""Who an anonymous visitor turned out to be: written once, when an event names both.

Only the link is kept. Nothing recorded under the visitor's id is rewritten: readers follow the link. A device that
several people share gives one visitor several customers; which of them it was is for the reader to decide.

An id the ledger knows as a customer's is nobody's visitor: else whoever may speak for one customer could claim, by an
event that calls another's id their visitor, all that customer did.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, func, select, union

from nextoffer.tracking import database, queries
from nextoffer.tracking.schema import Event, decisions, events, identities, to_micros

_BOTH = '%"visitor_id":%'  # as orjson writes payloads; in a text the quotes would be escaped


def links(connection: Connection, told: Iterable[Event]) -> list[dict[str, Any]]:
    """Rows that the table `identities` lacks, each pair once, with the earliest moment of these events; sorted.

    Parameters
    ----------
    told : events that are in the ledger already, in this transaction
    """
    first: dict[tuple[str, str], int] = {}
    for event in told:
        visitor, customer = event.payload.get("visitor_id"), event.unit_id
        if visitor and customer and visitor != customer:
            pair, at = (visitor, customer), to_micros(event.at)
            first[pair] = min(at, first.get(pair, at))
    for visitors in queries.chunks(_visitors(first)):
        query = select(identities.c.visitor_id, identities.c.customer_id)
        for row in connection.execute(query.where(identities.c.visitor_id.in_(visitors))):
            first.pop((row.visitor_id, row.customer_id), None)
    customers = _customers(connection, _visitors(first))
    return [
        {"visitor_id": visitor, "customer_id": customer, "at": at}
        for (visitor, customer), at in sorted(first.items())
        if visitor not in customers
    ]


def customers_of(engine: Engine, visitor_ids: Sequence[str]) -> dict[str, str]:
    """visitor -> customer of those visitors who turned out to be exactly one customer."""
    query = (
        select(identities.c.visitor_id, func.min(identities.c.customer_id))
        .group_by(identities.c.visitor_id)
        .having(func.count(1) == 1)
    )
    found: dict[str, str] = {}
    with database.reading(engine) as connection:
        for visitors in queries.chunks(visitor_ids):
            rows = connection.execute(query.where(identities.c.visitor_id.in_(visitors)))
            found.update({visitor: customer for visitor, customer in rows})
        # the link may be older than the customer
        customers = _customers(connection, sorted(found))
    return {visitor: customer for visitor, customer in found.items() if visitor not in customers}


def _customers(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are known as a customer's: events linked a visitor to them, or a campaign reached them."""
    known: set[str] = set()
    for some in queries.chunks(ids):
        linked = select(events.c.unit_id).where(events.c.unit_id.in_(some), events.c.payload.like(_BOTH))
        written_to = select(decisions.c.unit_id).where(
            decisions.c.unit_id.in_(some), decisions.c.campaign.is_not(None)
        )
        known.update(connection.execute(union(linked, written_to)).scalars())
    return known


def _visitors(pairs: Iterable[tuple[str, str]]) -> list[str]:
    return sorted({visitor for visitor, _ in pairs})
