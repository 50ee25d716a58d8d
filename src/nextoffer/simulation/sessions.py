"""Views and carts: sessions that end in nothing, and those in which an order was placed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Bools, Floats, Ints, ranges
from nextoffer.simulation import columns
from nextoffer.simulation.baskets import World, draw_lines
from nextoffer.simulation.catalogue import Shelf
from nextoffer.simulation.customers import SESSION, SLOTS, Customers
from nextoffer.simulation.life import State, Week
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.sales import MINUTE, Sold, order_moments

MOST_SESSIONS = 3  # a week
MOST_VIEWS = 12
CARTED = 0.12
ONLINE = 0.30  # orders with a session: with it, about 65 % of what is carted is not bought in the session
INTERACTIONS = pa.schema(
    [
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("event", pa.string()),
        ("occurred_at", columns.MOMENT),
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Carts:
    """Products left in carts, by time: customer row, product, moment (microseconds since 1970, UTC)."""

    row: Ints
    product: Ints
    at: Ints


def browse(
    world: World, customers: Customers, window: Shelf, week: int, hazard: Floats
) -> tuple[pa.Table, Carts]:
    """Sessions without an order: Poisson(3 × hazard + .02) a week, 1 to 12 products seen by the taste law."""
    expected = np.where(hazard > 0, 3.0 * hazard + 0.02, 0.0)
    u = uniform(world.luck_seed, Stream.SESSION, week, customers.customer)
    count = np.zeros(len(u), dtype=np.int64)
    term = total = np.exp(-expected)
    for number in range(1, MOST_SESSIONS + 1):
        count += u > total
        term = term * expected / number
        total = total + term
    row = np.repeat(np.arange(len(count)), count)
    session = customers.customer[row] + SESSION * (1 + ranges(np.zeros_like(count), count))
    person = customers.tastes(row)
    luck = person.take(slice(None))
    luck.customer[:] = session
    views = 1 + np.floor(MOST_VIEWS * uniform(world.luck_seed, Stream.SESSION, week, session, 1))
    seen = draw_lines(
        world, window, week, luck, np.full((len(row), SLOTS), -1), views.astype(np.int64), person
    )
    at = order_moments(world, week, session)[seen.order] + MINUTE * _place(seen.order)
    carted = uniform(world.luck_seed, Stream.SESSION_EVENT, week, session[seen.order], seen.product) < CARTED
    events = _events(world, customers.customer[row][seen.order], seen.product, at, carted)
    left = np.flatnonzero(carted)
    left = left[np.argsort(at[left], kind="stable")]
    return events, Carts(row[seen.order[left]], seen.product[left], at[left])


def keep_carts(
    customers: Customers, state: State, week: int, outcome: Week, ordered_at: Ints, carts: Carts
) -> None:
    """The last product each customer left in a cart, if no order came after it; updates `state` in place."""
    last = np.full(len(customers.customer), -1, dtype=np.int64)
    placed = outcome.buyers[outcome.ordered]
    last[placed] = ordered_at[outcome.ordered]
    state.cart[placed] = -1
    open_ = carts.at > last[carts.row]
    state.cart[carts.row[open_]] = carts.product[open_]
    state.cart_week[carts.row[open_]] = week


def browse_to_order(world: World, week: int, sold: Sold) -> pa.Table:
    """Views and carts that led to an order, in the minutes before it."""
    online = uniform(world.luck_seed, Stream.SESSION_EVENT, week, sold.order) < ONLINE
    sold = sold.take(np.flatnonzero(online & (sold.customer >= 0)))
    place = _place(sold.order)
    return _events(
        world, sold.customer, sold.product, sold.at - MINUTE * (place + 2), np.full(len(place), True)
    )


def _events(world: World, customer: Ints, product: Ints, at: Ints, carted: Bools) -> pa.Table:
    """A view of every product and, half a minute later, a cart event of some."""
    row = np.concatenate([np.arange(len(customer)), np.flatnonzero(carted)])
    late = np.arange(len(row)) >= len(customer)
    sequence = np.lexsort((late, row))
    row, late = row[sequence], late[sequence]
    event = pa.array(["detail-page-view", "add-to-cart"]).take(pa.array(late.astype(np.int8)))
    arrays = [
        columns.customer_ids(world.settings, customer[row]),
        columns.product_ids(world.catalogue, product[row]),
        event,
        columns.moments(at[row] + MINUTE // 2 * late),
    ]
    return pa.Table.from_arrays(arrays, schema=INTERACTIONS)


def _place(order: Ints) -> Ints:
    """0, 1, … within each run of equal orders."""
    starts = np.flatnonzero(np.diff(order, prepend=-1))
    return ranges(np.zeros_like(starts), np.diff(starts, append=len(order)))
