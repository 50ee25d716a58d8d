"""The synthetic shop: a history without offers, then weeks with them, and exactly what they caused.

`Shop.write_history` and `Shop.step` run the same function week by week. There is no generator object:
every draw is a function of seed, purpose, week and customer, so files do not depend on the number of workers,
and a shop with and without offers has the same luck.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.domain.arrays import Floats
from nextoffer.errors import RequestError
from nextoffer.simulation import aftermath, columns, dirt, truth
from nextoffer.simulation.aftermath import effect_table, lapse_rows
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import Shelf, make_catalogue, shelf
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.expected import Before, Expected, before_week, expect, with_eligible
from nextoffer.simulation.history import customers_of, write_chunks
from nextoffer.simulation.life import State, Week, advance, base_hazard
from nextoffer.simulation.messages import (
    OfferRows,
    as_table,
    message_tables,
    read_offers,
    week_truth,
)
from nextoffer.simulation.occasions import subscription_table
from nextoffer.simulation.response import Offers
from nextoffer.simulation.sales import Sold, Worth, order_table, returned, sell, sell_to_guests, week_start
from nextoffer.simulation.sessions import browse, browse_to_order, keep_carts
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.typical import Means, make_means, typical
from nextoffer.simulation.visible import Journal, Visible

SWITCHED = ("interactions", "messages", "subscriptions")  # tables a shop has only where it is asked to


@dataclass(frozen=True, slots=True)
class ShopPaths:
    """Where a history was written; `orders` is a folder of Parquet files, or one CSV file if spoilt."""

    folder: Path
    orders: Path
    products: Path
    customers: Path
    truth: Path
    interactions: Path | None
    order_lines: int
    subscriptions: Path | None = None
    messages: Path | None = None


@dataclass(frozen=True, slots=True)
class StepRows:
    """What one week brought.

    `orders`, `exposures`, `clicks` and `redemptions` are what the shop sees; `truth` has one row per customer
    who ordered, would have ordered, or was sent a message: baseline_order, ordered, caused, prevented, moved
    (caused, but taken from orders to come), settled (not placed, since moved forward earlier), and revenue,
    margin and incentive in minor units, with and without this week's offers. What the offers of earlier weeks
    change in this one shows in `planted`. `lapses` tells who fell silent and who came back, and `expected`
    what the week was worth on average, customer by customer.
    """

    orders: pa.Table
    exposures: pa.Table
    clicks: pa.Table
    redemptions: pa.Table
    truth: pa.Table
    interactions: pa.Table | None = None
    subscriptions: pa.Table | None = None
    lapses: pa.Table | None = None
    expected: Expected | None = None


@dataclass(slots=True, eq=False)
class Live:
    """All customers after the last week lived through, and returns on their way."""

    customers: Customers
    state: State
    week: int
    pending: Sold
    means: Means
    journal: Journal


class Shop:
    """A shop whose truth is known.

    `world_seed` says who its customers and products are, `luck_seed` what happens to them.
    """

    def __init__(self, settings: ShopSettings, world_seed: int = 7, luck_seed: int = 7) -> None:
        self.settings = settings
        self.world = World(settings, make_catalogue(settings, world_seed), world_seed, luck_seed)
        self.start = settings.start
        self._ends: tuple[list[State], list[Sold], Path] | None = None
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

        `progress(done, total)` counts customers. Files of an earlier history in the folder are replaced.
        """
        folder = Path(folder)
        orders = folder / "orders"
        for place in (orders, folder / "truth"):
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
        for name in ("orders.csv", *(f"{name}.parquet" for name in SWITCHED)):
            (folder / name).unlink(missing_ok=True)
        states, pending, lines = [], [], 0
        with ExitStack() as files:
            writers: dict[str, Any] = {}
            for end in write_chunks(self.world, orders, workers):
                states.append(end.state)
                pending.append(end.pending)
                lines += end.lines
                for name, table in end.tables.items():
                    if name not in writers:
                        writer = columns.writer(folder / f"{name}.parquet", table.schema)
                        writers[name] = files.enter_context(writer)
                    writers[name].write_table(table)
                if progress:
                    done = sum(len(state.status) for state in states)
                    progress(done, self.settings.customers)
        columns.write_table(folder / "products.parquet", truth.product_table(self.world))
        truth.write_truth_of_products(self.world, folder / "truth")
        self._ends, self._live = (states, pending, folder), None
        if self.settings.dirty:
            orders, lines = self._spoil(orders, folder)
        return ShopPaths(
            folder=folder,
            orders=orders,
            products=folder / "products.parquet",
            customers=folder / "customers.parquet",
            truth=folder / "truth",
            interactions=folder / "interactions.parquet" if self.settings.interactions else None,
            order_lines=lines,
            subscriptions=_if_there(folder / "subscriptions.parquet"),
            messages=_if_there(folder / "messages.parquet"),
        )

    def step(self, week: int, offers: OfferRows | None = None, expected: bool = True) -> StepRows:
        """Live through one week after the history, in turn, with or without offers.

        `offers` has customer_id, kind, product_id (or null), level (share of the price given away) and,
        optionally, basket (whether the incentive is on the whole basket; by default where no product is
        named), sent_at, rank, channel, valid_until and propensity; several rows of a customer are one
        message, best offer first: the first one's incentive acts. Without `expected` the week's worth on average
        is not worked out, which takes half the time.

        Raises
        ------
        RequestError : no history yet, a week out of turn, unknown customers, kinds or products.
        """
        live, world = self._alive(), self.world
        if week != live.week:
            raise RequestError(f"the shop lives week by week: the next is {live.week}, not {week}", "week")
        table = as_table(offers)
        given = read_offers(world, table, week)
        window = shelf(self.settings, world.catalogue, world.world_seed, week)
        hazard = base_hazard(world, live.customers, live.state, week)
        outcome, on_average = self._advance(given, expected)
        sold, worth = sell(world, live.customers, live.state, window, week, outcome)
        seen = self._browse(hazard, window, outcome, sold, worth)
        strangers = sell_to_guests(world, window, week, live.customers.customer)
        everything = Sold.concat([sold, strangers])
        back = Sold.concat([live.pending, returned(world, week, everything)])
        arrived = back.at < week_start(world, week + 1)
        live.pending, live.week = back.take(np.flatnonzero(~arrived)), week + 1
        shown, clicked, redeemed = message_tables(world, week, table, outcome.response, sold, window.price)
        rows = StepRows(
            orders=order_table(world, Sold.concat([everything, back.take(np.flatnonzero(arrived))])),
            exposures=shown,
            clicks=clicked,
            redemptions=redeemed,
            truth=week_truth(world, live.customers, live.state, outcome, worth),
            interactions=seen,
            subscriptions=None if outcome.passes is None else subscription_table(world, outcome.passes),
            lapses=lapse_rows(world, live.customers, week, outcome),
            expected=on_average,
        )
        live.journal.weeks.append(rows)
        return rows

    def run_out(self, weeks: int = 12, expected: bool = True) -> list[StepRows]:
        """Weeks without offers, in which what was moved forward settles and who came back goes on buying."""
        return [self.step(self.week, expected=expected) for _ in range(weeks)]

    def visible(self) -> Visible:
        """What the shop's own systems show at the start of the next week."""
        live, world = self._alive(), self.world
        return Visible(
            week=live.week,
            now=self.start + timedelta(weeks=live.week),
            start=self.start,
            products=truth.product_table(world, live.week),
            customers=truth.customer_table(world, live.customers, live.state, live.week),
            journal=live.journal.fork(),
        )

    def before(self) -> Before:
        """The truth about the next week before anything happens in it."""
        live, world = self._alive(), self.world
        window = shelf(self.settings, world.catalogue, world.world_seed, live.week)
        mean = typical(world, live.means, live.customers, live.state.due, window, live.week)
        return before_week(world, live.customers, live.state, live.week, window, mean)

    def effects(self, offers: OfferRows) -> pa.Table:
        """The truth about offers that could be made next week, each as if it were the only one.

        Raises
        ------
        RequestError : as `step`; or there is no offer.
        """
        now = self.before()
        given = read_offers(self.world, as_table(offers), now.week)
        if given is None:
            raise RequestError("there is no offer to tell the effects of", "offers")
        return effect_table(now, given)

    def write_truth(self) -> list[Path]:
        """Write the truth about the weeks since the history into the history's truth folder."""
        journal, written = self._alive().journal, []
        for name, table in aftermath.loop_truth(self.settings.weeks, journal.weeks).items():
            written.append(journal.folder / "truth" / f"{name}.parquet")
            columns.write_table(written[-1], table)
        return written

    def fork(self, luck_seed: int | None = None) -> Shop:
        """The same shop at the same moment, to live on under other offers: with the same luck, or with another."""
        twin = object.__new__(Shop)
        twin.settings, twin.world, twin.start, twin._ends = self.settings, self.world, self.start, None
        if luck_seed is not None:
            twin.world = replace(self.world, luck_seed=luck_seed)
        live, everyone = self._alive(), slice(None)
        twin._live = Live(
            live.customers,
            live.state.take(everyone),
            live.week,
            live.pending.take(everyone),
            live.means,
            live.journal.fork(),
        )
        return twin

    def _advance(self, given: Offers | None, expected: bool) -> tuple[Week, Expected | None]:
        """Live on; and, if asked, what the week was worth on average, given the state it began with."""
        live = self._alive()
        now = self.before() if expected or given is not None else None
        if now is not None and given is not None:
            given = with_eligible(now, given)
        began = replace(now, state=live.state.take(slice(None))) if now is not None and expected else None
        outcome = advance(self.world, live.customers, live.state, live.week, given)
        return outcome, None if began is None else expect(began, outcome.response)

    def _browse(
        self, hazard: Floats, window: Shelf, outcome: Week, sold: Sold, worth: Worth
    ) -> pa.Table | None:
        """Views and carts of the week, where they are recorded."""
        if not self.settings.interactions:
            return None
        live = self._alive()
        events, carts = browse(self.world, live.customers, window, live.week, hazard)
        keep_carts(live.customers, live.state, live.week, outcome, worth.at, carts)
        return pa.concat_tables([events, browse_to_order(self.world, live.week, sold)])

    def _alive(self) -> Live:
        if self._live is None:
            if self._ends is None:
                raise RequestError("the shop has no history yet: call write_history first")
            states, pending, folder = self._ends
            customers = customers_of(self.world, 0, self.settings.customers)
            self._live = Live(
                customers,
                State.concat(states),
                self.settings.weeks,
                Sold.concat(pending),
                make_means(self.world, customers),
                Journal(folder),
            )
            self._ends = None
        return self._live

    def _spoil(self, orders: Path, folder: Path) -> tuple[Path, int]:
        """Turn the written orders into one CSV file with defects, listed in truth/dirt.parquet."""
        spoilt, defects = dirt.spoil(pq.read_table(orders), self.world.luck_seed)
        shutil.rmtree(orders)
        dirt.write_csv(folder / "orders.csv", spoilt)
        columns.write_table(folder / "truth" / "dirt.parquet", defects)
        return folder / "orders.csv", spoilt.num_rows


def _if_there(path: Path) -> Path | None:
    return path if path.exists() else None
