"""Offers as tables: read what is to be sent, and tell what the shop, and only the truth, sees of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Ints
from nextoffer.domain.offers import KINDS
from nextoffer.errors import RequestError
from nextoffer.simulation import columns
from nextoffer.simulation.baskets import World
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.life import State, Week
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.response import CONTACT, Offers, Response
from nextoffer.simulation.sales import Sold, Worth, order_customer, week_start

OfferRows: TypeAlias = pa.Table | Mapping[str, Sequence[Any]]
_CARRIED = {
    "rank": pa.int32(),
    "channel": pa.string(),
    "valid_until": columns.MOMENT,
    "propensity": pa.float64(),
}
"""Columns an offer may have that change nothing, but come back with exposures and clicks."""
_SENT = {
    "customer_id": pa.string(),
    "kind": pa.string(),
    "product_id": pa.string(),
    "level": pa.float64(),
    "basket": pa.bool_(),
    "sent_at": columns.MOMENT,
}
_STAMP = {"sent_at": "occurred_at"}


def as_table(offers: OfferRows | None) -> pa.Table:
    """Offers with all the columns they may have.

    Raises
    ------
    RequestError : customer_id or kind is missing.
    """
    if offers is None:
        return pa.table({name: pa.array([], type=type_) for name, type_ in _SENT.items()})
    table = offers if isinstance(offers, pa.Table) else pa.table(dict(offers))
    missing = [name for name in ("customer_id", "kind") if name not in table.column_names]
    if missing:
        raise RequestError(f"offers lack the columns {', '.join(missing)}", "offers")
    schema = dict(_SENT) | {name: type_ for name, type_ in _CARRIED.items() if name in table.column_names}
    for name, type_ in _SENT.items():
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows, type_))
    return table.select(list(schema)).cast(pa.schema(list(schema.items())))


def read_offers(world: World, table: pa.Table, week: int) -> Offers | None:
    """Offers in numbers, sorted by customer; within a customer they stay in the slate's order.

    Raises
    ------
    RequestError : an unknown customer, kind or product, a level outside 0..1, a moment outside the week.
    """
    if table.num_rows == 0:
        return None
    row = _place(
        table["customer_id"], columns.customer_ids(world.settings, np.arange(world.settings.customers))
    )
    kind = _place(table["kind"], pa.array(KINDS))
    product = _place(
        table["product_id"], columns.product_ids(world.catalogue, np.arange(world.catalogue.size))
    )
    unnamed = np.asarray(table["product_id"].is_null())
    for name, bad in {
        "customer_id": row < 0,
        "kind": kind < 0,
        "product_id": (product < 0) & ~unnamed,
    }.items():
        if bad.any():
            first = int(np.flatnonzero(bad)[0])
            value = table[name][first].as_py()
            raise RequestError(f"row {first + 1} of the offers names an unknown {name}: {value!r}", name)
    level = np.asarray(table["level"].fill_null(0.0), dtype=np.float64)
    if not ((level >= 0) & (level < 1)).all():
        raise RequestError("the level of an offer is a share of the price, 0 to below 1", "level")
    sent = np.asarray(table["sent_at"].cast(pa.int64()).fill_null(week_start(world, week)))
    if not ((sent >= week_start(world, week)) & (sent < week_start(world, week + 1))).all():
        raise RequestError(f"an offer of week {week} must be sent within that week", "sent_at")
    basket = np.asarray(pc.coalesce(table["basket"], pc.is_null(table["product_id"])), dtype=bool)
    eligible = np.where(basket, 1.0, 0.0)
    order = np.lexsort((_ranks(table), row))
    return Offers(row, kind, product, level, basket, eligible, eligible, sent, np.arange(len(row))).take(
        order
    )


def _ranks(table: pa.Table) -> Ints:
    """The place of each offer on its slate: its rank where one is given, else its place in the table."""
    places = np.arange(table.num_rows)
    if "rank" not in table.column_names:
        return places
    ranks: Ints = np.where(
        np.asarray(table["rank"].is_null()), places, np.asarray(pc.fill_null(table["rank"], 0))
    )
    return ranks


def message_tables(
    world: World, week: int, table: pa.Table, response: Response | None, sold: Sold, prices: Ints
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Exposures (all offers sent), clicks (offers of opened messages) and redemptions (incentives used)."""
    if response is None:
        stamped = table.rename_columns([_STAMP.get(name, name) for name in table.column_names])
        return stamped, stamped, _redemptions(world, week, sold.take(slice(0, 0)), prices, {})
    offers = response.offers
    plain = table.drop_columns(["sent_at"]).take(pa.array(offers.source))
    shown = plain.append_column("occurred_at", columns.moments(offers.sent_at))
    opened = response.opened
    if world.settings.wrong_click:
        u = uniform(world.luck_seed, Stream.CLICK, week, response.row)
        opened = u < max(float(response.opens.mean()), 0.01)
    seen = np.flatnonzero(opened[response.message])
    clicked = plain.take(pa.array(seen)).append_column(
        "occurred_at", columns.moments(response.opened_at[response.message[seen]])
    )
    cut = sold.take(np.flatnonzero(sold.price < prices[sold.product]))
    kind_of = dict(zip(response.row.tolist(), offers.kind[response.rank == 0].tolist(), strict=True))
    return shown, clicked, _redemptions(world, week, cut, prices, kind_of)


def week_truth(world: World, customers: Customers, state: State, outcome: Week, worth: Worth) -> pa.Table:
    """One row per customer who ordered, would have, or was sent a message, by customer.

    `state` is the one after the week.
    """
    sent = outcome.response.row if outcome.response is not None else outcome.buyers[:0]
    rows = np.union1d(outcome.buyers, sent)
    place = np.searchsorted(rows, outcome.buyers)

    def spread(values: Any) -> Any:
        wide = np.zeros(len(rows), dtype=np.asarray(values).dtype)
        wide[place] = values
        return pa.array(wide)

    ordered, natural = outcome.ordered, outcome.natural
    opened = np.zeros(len(rows), dtype=bool)
    left = opened.copy()
    if outcome.response is not None:
        opened[np.searchsorted(rows, sent)] = outcome.response.opened
        left[np.searchsorted(rows, sent)] = outcome.response.unsubscribed
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, customers.customer[rows]),
            "sent": pa.array(np.isin(rows, sent)),
            "opened": pa.array(opened),
            "baseline_order": spread(natural),
            "ordered": spread(ordered),
            "caused": spread(ordered & ~natural),
            "prevented": spread(natural & ~ordered & ~outcome.settled),
            "moved": spread(outcome.moved),
            "settled": spread(outcome.settled),
            "revenue": spread(worth.revenue),
            "margin": spread(worth.margin),
            "baseline_revenue": spread(worth.baseline_revenue),
            "baseline_margin": spread(worth.baseline_margin),
            "incentive": spread(worth.incentive),
            "contact": pa.array(CONTACT * np.isin(rows, sent).astype(np.int64)),
            "unsubscribed": pa.array(left),
            "fatigue": pa.array(state.fatigue[rows]),
        }
    )


def _redemptions(world: World, week: int, cut: Sold, prices: Ints, kind_of: Mapping[int, int]) -> pa.Table:
    wanted = order_customer(world, week, cut.order)  # under `interference` another may have placed it
    kinds = np.array([kind_of[number] for number in wanted.tolist()], dtype=np.int64)
    return pa.table(
        {
            "order_id": columns.order_ids(world.settings, cut.order),
            "customer_id": columns.customer_ids(world.settings, cut.customer),
            "kind": pa.array(KINDS).take(pa.array(kinds)),
            "product_id": columns.product_ids(world.catalogue, cut.product),
            "discount": columns.money(cut.quantity * (prices[cut.product] - cut.price)),
            "occurred_at": columns.moments(cut.at),
        }
    )


def _place(values: pa.ChunkedArray, among: pa.Array) -> Ints:
    """Position of each value among the known ones; −1 if unknown or null."""
    return np.asarray(pc.fill_null(pc.index_in(values, value_set=among), -1), dtype=np.int64)
