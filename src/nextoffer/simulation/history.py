"""The history of a chunk of customers: all weeks lived through, orders written on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Ints
from nextoffer.simulation import columns, truth
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import shelf
from nextoffer.simulation.customers import Customers, make_customers
from nextoffer.simulation.life import State, advance, base_hazard, first_state
from nextoffer.simulation.occasions import Passes, subscription_table
from nextoffer.simulation.past import assignments, campaign_log, past_offers
from nextoffer.simulation.sales import Sold, order_table, returned, sell, sell_to_guests, week_start
from nextoffer.simulation.sessions import browse, browse_to_order, keep_carts

CHUNK = 100_000
"""Customers per file, whatever the number of workers: so that bytes do not depend on it."""


@dataclass(frozen=True, slots=True, eq=False)
class ChunkEnd:
    """What a chunk leaves behind: its customers' state, returns on their way, tables by file name."""

    state: State
    pending: Sold
    tables: dict[str, pa.Table]
    lines: int


def write_chunks(world: World, orders: Path, workers: int, chunk: int = CHUNK) -> Iterator[ChunkEnd]:
    """Write `part-<first customer>.parquet` for every chunk; ends come in the order of customers."""
    firsts = range(0, world.settings.customers, chunk)
    jobs = [(world, first, orders / f"part-{first:09d}.parquet", chunk) for first in firsts]
    if workers <= 1 or len(jobs) == 1:
        yield from (write_chunk(*job) for job in jobs)
        return
    from joblib import Parallel, delayed  # only here: it starts processes

    pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch=workers, batch_size=1)
    yield from pool(delayed(write_chunk)(*job) for job in jobs)


def write_chunk(world: World, first: int, path: Path, chunk: int = CHUNK) -> ChunkEnd:
    """Live through the history with the customers from number `first` on, writing their orders to `path`."""
    settings = world.settings
    customers = customers_of(world, first, chunk)
    state = first_state(world, customers)
    end, n_lines = week_start(world, settings.weeks), 0
    pending, lapsed, came_back = [], [], []
    seen, sent, assigned, passes = [], [], [], []
    with columns.writer(path, columns.ORDERS) as file:
        for week in range(settings.weeks):
            window = shelf(settings, world.catalogue, world.world_seed, week)
            hazard = base_hazard(world, customers, state, week) if settings.interactions else None
            past = past_offers(world, customers, state, week, window)
            outcome = advance(world, customers, state, week, None if past is None else past[0])
            sold, worth = sell(world, customers, state, window, week, outcome)
            if hazard is not None:
                events, carts = browse(world, customers, window, week, hazard)
                keep_carts(customers, state, week, outcome, worth.at, carts)
                seen += [events, browse_to_order(world, week, sold)]
            if past is not None:
                sent.append(campaign_log(world, customers, past[0]))
                assigned.append(assignments(sent[-1], week, past[1]))
            if outcome.passes is not None:
                passes.append(outcome.passes)
            sold = Sold.concat([sold, sell_to_guests(world, window, week, customers.customer)])
            back = returned(world, week, sold)
            sold = Sold.concat([sold, back.take(np.flatnonzero(back.at < end))])
            pending.append(back.take(np.flatnonzero(back.at >= end)))
            if len(sold.order):
                file.write_table(order_table(world, sold), row_group_size=len(sold.order))
            n_lines += len(sold.order)
            lapsed.append(_stamped(week, customers.customer[outcome.lapsed]))
            came_back.append(_stamped(week, customers.customer[outcome.returned], outcome.cause))
    tables = {
        "customers": truth.customer_table(world, customers, state, settings.weeks),
        "truth/customers": truth.customer_truth(world, customers),
        "truth/refills": truth.refill_truth(world, customers, state),
        "truth/lapses": truth.lapse_truth(world, np.concatenate(lapsed), np.concatenate(came_back)),
    }
    if seen:
        tables["interactions"] = pa.concat_tables(seen)
    if sent:
        tables |= {"messages": pa.concat_tables(sent), "truth/assignments": pa.concat_tables(assigned)}
    if passes:
        tables["subscriptions"] = subscription_table(world, Passes.concat(passes))
    return ChunkEnd(state, Sold.concat(pending), tables, n_lines)


def customers_of(world: World, first: int, chunk: int) -> Customers:
    """Traits of a chunk's customers."""
    last = min(first + chunk, world.settings.customers)
    return make_customers(world.settings, world.catalogue, world.world_seed, np.arange(first, last))


def _stamped(week: int, *parts: Ints) -> Ints:
    return np.column_stack([np.full(len(parts[0]), week, dtype=np.int64), *parts])
