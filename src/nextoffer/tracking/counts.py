"""How often incentives were used, by all and by each customer; and a campaign's codes as the shop's till needs them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import ColumnElement, Engine, Select, false, func, select

from nextoffer.domain.arrays import Ints
from nextoffer.domain.money import to_wire
from nextoffer.errors import CampaignError
from nextoffer.tracking import database, queries
from nextoffer.tracking.ledger import Ledger
from nextoffer.tracking.schema import codes, redemptions, to_micros


class Written(Protocol):
    """A ledger: what is counted in is its database."""

    @property
    def engine(self) -> Engine:
        """Its database."""


def used(ledger: Written, incentives: Sequence[str]) -> Ints:
    """(k,) int64 redemptions so far of each incentive, those that were rolled back not counted."""
    key = redemptions.c.quota_key
    query = (
        select(key, func.count(1))
        .where(redemptions.c.rolled_back_at.is_(None), key.in_(incentives))
        .group_by(key)
    )
    with database.reading(ledger.engine) as connection:
        found = {name: count for name, count in connection.execute(query)}
    return np.array([found.get(name, 0) for name in incentives], dtype=np.int64)


def used_by(ledger: Written, unit_ids: Sequence[str], incentives: Sequence[str]) -> Ints:
    """(n, k) int64 redemptions so far of each incentive by each unit, in the order asked."""
    counts = np.zeros((len(unit_ids), len(incentives)), dtype=np.int64, order="F")
    if not incentives:
        return counts
    query = (
        select(redemptions.c.unit_id, redemptions.c.quota_key, func.count(1))
        .where(redemptions.c.rolled_back_at.is_(None), redemptions.c.quota_key.in_(incentives))
        .group_by(redemptions.c.unit_id, redemptions.c.quota_key)
    )
    own: dict[str, dict[str, int]] = {}
    for unit, key, count in _rows(ledger, query, redemptions.c.unit_id, unit_ids):
        own.setdefault(key, {})[unit] = count
    for at, name in enumerate(incentives):
        if name in own:  # of thousands, a column nobody used is not touched and takes no memory
            counts[:, at] = _aligned(unit_ids, own[name])
    return counts


def redemptions_of(ledger: Written, unit_ids: Sequence[str], since: datetime | None = None) -> Ints:
    """(n,) int64 codes each unit has redeemed since a moment, or ever; rolled back ones not counted."""
    query = (
        select(redemptions.c.unit_id, func.count(1))
        .where(redemptions.c.rolled_back_at.is_(None))
        .group_by(redemptions.c.unit_id)
    )
    if since is not None:
        query = query.where(redemptions.c.at >= to_micros(since))
    return _aligned(unit_ids, dict(_rows(ledger, query, redemptions.c.unit_id, unit_ids)))


def codes_table(ledger: Ledger, campaign: str, run_on: date) -> pa.Table:
    """The codes in the messages of a campaign's run with their terms, for a till to import; sorted by customer.

    `value` is the percentage, the amount, the price, or the points; `product_id` is empty where the whole order
    counts; moments are UTC, `valid_until` the first moment at which a code is not valid; `used` is as of now.

    Raises
    ------
    CampaignError : the campaign did not run on that day.
    """
    decided = ledger.decisions_of_run(campaign, run_on)
    if not decided:
        raise CampaignError(
            f"campaign {campaign!r} did not run on {run_on}, so it has no codes. "
            f"Run `nextoffer export {campaign} --out FILE --date {run_on}` first, or name another --date."
        )
    # an offer that an earlier message made already has the code of that message
    told = sorted({offer["code"] for decision in decided for offer in decision.slate if offer.get("code")})
    parts = [
        queries.pull(ledger.engine, part) for part in queries.narrowed(select(codes), codes.c.code, told)
    ]
    every = pa.concat_tables(parts or [queries.pull(ledger.engine, select(codes).where(false()))])
    found = every.filter(pc.is_in(every["code"], value_set=pa.array(told, pa.string())))
    return _as_told(found.sort_by([("unit_id", "ascending"), ("offer_id", "ascending")]))


def _as_told(found: pa.Table) -> pa.Table:
    """The rows of the table `codes` in the words of a shop."""
    terms = [orjson.loads(text) for text in found["incentive"].to_pylist()]
    money = zip(found["min_order"].to_pylist(), found["currency"].to_pylist(), strict=True)
    columns: Mapping[str, pa.Array | list[str | None]] = {
        "code": found["code"],
        "customer_id": found["unit_id"],
        "incentive": [term["type"] for term in terms],
        "value": [term.get("value") for term in terms],
        "gift": [term.get("product_id") for term in terms],
        "product_id": found["product_id"],
        "min_order": [to_wire(minor, currency) for minor, currency in money],
        "currency": found["currency"],
        "valid_from": _utc(found["valid_from"]),
        "valid_until": _utc(found["valid_until"]),
        "max_uses": found["max_uses"],
        "used": found["used"],
        "offer_id": found["offer_id"],
        "decision_id": found["decision_id"],
    }
    return pa.table(
        {
            name: column if isinstance(column, pa.ChunkedArray) else pa.array(column, pa.string())
            for name, column in columns.items()
        }
    )


def _rows(
    ledger: Written, query: Select[Any], column: ColumnElement[str], unit_ids: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    with database.reading(ledger.engine) as connection:
        for wanted in queries.narrowed(query, column, list(dict.fromkeys(unit_ids))):
            yield from (tuple(row) for row in connection.execute(wanted))


def _aligned(unit_ids: Sequence[str], counts: Mapping[str, int]) -> Ints:
    """The counts in the order of the units; 0 where there is none."""
    known = pa.array(list(counts), pa.string())
    place = pc.fill_null(pc.index_in(pa.array(unit_ids, pa.string()), value_set=known), -1)
    values = np.array([*counts.values(), 0], dtype=np.int64)  # −1 is the last: nothing
    aligned: Ints = values[place.to_numpy(zero_copy_only=False)]
    return aligned


def _utc(moments: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.strftime(moments.cast(pa.timestamp("s"), safe=False), format="%Y-%m-%dT%H:%M:%SZ")
