"""The synthetic shop: a history without offers, then weeks with them, and exactly what they caused.

`Shop.write_history` and `Shop.step` run the same function week by week. There is no generator object:
every draw is a function of seed, purpose, week and customer, so files do not depend on the number of workers,
and a shop with and without offers has the same luck.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Ints
from nextoffer.errors import RequestError
from nextoffer.simulation import columns, truth
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import make_catalogue, shelf
from nextoffer.simulation.customers import Customers, make_customers
from nextoffer.simulation.life import State, advance, first_state
from nextoffer.simulation.messages import OfferRows, as_table, message_tables, read_offers, week_truth
from nextoffer.simulation.sales import Sold, order_table, returned, sell, sell_to_guests, week_start
from nextoffer.simulation.settings import ShopSettings

CHUNK = 100_000
"""Customers per file, whatever the number of workers."""


@dataclass(frozen=True, slots=True)
class ShopPaths:
    """Where a history was written; `orders` is a folder of Parquet files, or one CSV file if spoilt."""

    folder: Path
    orders: Path
    products: Path
    customers: Path
    truth: Path
    interactions: Path | None = None
    order_lines: int = 0


@dataclass(frozen=True, slots=True)
class StepRows:
    """What one week brought.

    `orders`, `exposures`, `clicks` and `redemptions` are what the shop sees; `truth` has one row per customer
    who ordered, would have ordered, or was sent a message: baseline order, ordered, caused, prevented, moved
    (caused, but taken from orders to come), settled (not placed since moved forward earlier), and revenue,
    margin and incentive in minor units, with and without this week's offers. Effects of earlier weeks' offers
    on this one show against a `fork` that was sent nothing.
    """

    orders: pa.Table
    exposures: pa.Table
    clicks: pa.Table
    redemptions: pa.Table
    truth: pa.Table


@dataclass(slots=True, eq=False)
class Live:
    """All customers after the last week lived through, and returns on their way."""

    customers: Customers
    state: State
    week: int
    pending: Sold


@dataclass(frozen=True, slots=True, eq=False)
class ChunkEnd:
    """What a chunk of customers leaves behind once its file is written."""

    state: State
    pending: Sold
    lapsed: Ints
    returned: Ints
    lines: int


class Shop:
    """A shop whose truth is known. `world_seed`: who its customers and products are; `luck_seed`: what happens."""

    def __init__(self, settings: ShopSettings, world_seed: int = 7, luck_seed: int = 7) -> None:
        self.settings = settings
        self.world = World(settings, make_catalogue(settings, world_seed), world_seed, luck_seed)
        self.start = settings.start
        self._live: Live | None = None

    @property
    def end(self) -> datetime:
        """First moment after the history: its `as_of`."""
        return self.start + timedelta(weeks=self.settings.weeks)

    @property
    def week(self) -> int:
        """The next week to live through."""
        return self._alive().week

    def write_history(
        self, folder: Path, workers: int = 1, progress: Callable[[int, int], None] | None = None
    ) -> ShopPaths:
        """Write the history and its truth; afterwards `step` goes on from its end.

        `progress(done, total)` is called as customers are finished. Files of an earlier history are replaced.
        """
        folder = Path(folder)
        orders, hidden = folder / "orders", folder / "truth"
        for place in (orders, hidden):
            place.mkdir(parents=True, exist_ok=True)
            for old in place.glob("*.parquet"):
                old.unlink()
        ends, lines = [], 0
        for end in self._chunks(orders, workers):
            ends.append(end)
            lines += end.lines
            if progress:
                progress(min(len(ends) * CHUNK, self.settings.customers), self.settings.customers)
        self._finish(ends, folder, hidden)
        paths = ShopPaths(
            folder, orders, folder / "products.parquet", folder / "customers.parquet", hidden, None, lines
        )
        return paths

    def step(self, week: int, offers: OfferRows | None = None) -> StepRows:
        """Live through one week after the history, in turn, with or without offers.

        `offers` has customer_id, kind, product_id (or null), level (share of the price given away) and,
        optionally, sent_at; several rows of a customer are one message, best offer first.

        Raises
        ------
        RequestError : no history yet, a week out of turn, unknown customers, kinds or products.
        """
        live = self._alive()
        if week != live.week:
            raise RequestError(f"the shop lives week by week: the next is {live.week}, not {week}", "week")
        table = as_table(offers)
        given = read_offers(self.world, table, week)
        window = shelf(self.settings, self.world.catalogue, self.world.world_seed, week)
        outcome = advance(self.world, live.customers, live.state, week, given)
        sold, worth = sell(self.world, live.customers, live.state, window, week, outcome)
        strangers = sell_to_guests(self.world, window, week, live.customers.customer)
        everything = Sold.concat([sold, strangers])
        back = Sold.concat([live.pending, returned(self.world, week, everything)])
        now = back.at < week_start(self.world, week + 1)
        live.pending, live.week = back.take(np.flatnonzero(~now)), week + 1
        shown, clicked, redeemed = message_tables(self.world, table, outcome.response, sold, window.price)
        return StepRows(
            orders=order_table(self.world, Sold.concat([everything, back.take(np.flatnonzero(now))])),
            exposures=shown,
            clicks=clicked,
            redemptions=redeemed,
            truth=week_truth(self.world, live.customers, outcome, worth),
        )

    def fork(self) -> Shop:
        """The same shop at the same moment, to live on under other offers with the same luck."""
        twin = object.__new__(Shop)
        twin.settings, twin.world, twin.start, twin._live = self.settings, self.world, self.start, None
        if self._live is not None:
            live = self._live
            everyone = slice(None)
            twin._live = Live(
                live.customers, live.state.take(everyone), live.week, live.pending.take(everyone)
            )
        return twin

    def _alive(self) -> Live:
        if self._live is None:
            raise RequestError("the shop has no history yet: call write_history first")
        return self._live

    def _chunks(self, orders: Path, workers: int) -> Iterator[ChunkEnd]:
        firsts = range(0, self.settings.customers, CHUNK)
        jobs = [(self.world, first, orders / f"part-{first:09d}.parquet") for first in firsts]
        if workers <= 1 or len(jobs) == 1:
            yield from (write_chunk(*job) for job in jobs)
            return
        from joblib import Parallel, delayed  # only here: it starts a pool

        pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers, batch_size=1)
        yield from pool(delayed(write_chunk)(*job) for job in jobs)

    def _finish(self, ends: list[ChunkEnd], folder: Path, hidden: Path) -> None:
        """Write the tables beside the orders and keep the state to live on from."""
        world = self.world
        columns.write_table(folder / "products.parquet", truth.product_table(world))
        truth.write_truth_of_products(world, hidden)
        parts = []
        writers: dict[Path, Any] = {}
        for first, end in zip(range(0, self.settings.customers, CHUNK), ends, strict=True):
            customers = _customers(world, first, CHUNK)
            parts.append(customers)
            for path, table in {
                folder / "customers.parquet": truth.customer_table(world, customers, end.state),
                hidden / "customers.parquet": truth.customer_truth(world, customers),
                hidden / "refills.parquet": truth.refill_truth(world, customers, end.state),
                hidden / "lapses.parquet": truth.lapse_truth(world, end.lapsed, end.returned),
            }.items():
                marked = table.replace_schema_metadata({"shop_version": columns.SHOP_VERSION})
                if path not in writers:
                    writers[path] = columns.writer(path, marked.schema)
                writers[path].write_table(marked)
        for file in writers.values():
            file.close()
        self._live = Live(
            Customers.concat(parts),
            State.concat([end.state for end in ends]),
            self.settings.weeks,
            Sold.concat([end.pending for end in ends]),
        )


def write_chunk(world: World, first: int, path: Path, chunk: int = CHUNK) -> ChunkEnd:
    """Live through the history with the customers from number `first` on, writing their orders to `path`."""
    settings = world.settings
    customers = _customers(world, first, chunk)
    state = first_state(world, customers)
    end = week_start(world, settings.weeks)
    pending, lapsed, came_back, n_lines = [], [], [], 0
    with columns.writer(path, columns.ORDERS) as file:
        for week in range(settings.weeks):
            window = shelf(settings, world.catalogue, world.world_seed, week)
            outcome = advance(world, customers, state, week)
            sold, _ = sell(world, customers, state, window, week, outcome)
            sold = Sold.concat([sold, sell_to_guests(world, window, week, customers.customer)])
            back = returned(world, week, sold)
            sold = Sold.concat([sold, back.take(np.flatnonzero(back.at < end))])
            pending.append(back.take(np.flatnonzero(back.at >= end)))
            if len(sold.order):
                file.write_table(order_table(world, sold), row_group_size=len(sold.order))
            n_lines += len(sold.order)
            lapsed.append(_stamped(week, customers.customer[outcome.lapsed]))
            came_back.append(_stamped(week, customers.customer[outcome.returned], outcome.cause))
    return ChunkEnd(state, Sold.concat(pending), np.concatenate(lapsed), np.concatenate(came_back), n_lines)


def _customers(world: World, first: int, chunk: int) -> Customers:
    last = min(first + chunk, world.settings.customers)
    return make_customers(world.settings, world.catalogue, world.world_seed, np.arange(first, last))


def _stamped(week: int, *parts: Ints) -> Ints:
    return np.column_stack([np.full(len(parts[0]), week, dtype=np.int64), *parts])
