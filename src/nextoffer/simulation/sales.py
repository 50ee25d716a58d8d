"""From who ordered to rows of the orders table: moments, prices, guests, returns, what offers were worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.simulation import columns
from nextoffer.simulation.additions import change_lines
from nextoffer.simulation.baskets import Lines, World, draw_lines
from nextoffer.simulation.catalogue import Shelf
from nextoffer.simulation.columns import DAY
from nextoffer.simulation.customers import SLOTS, Customers, Rows, make_tastes
from nextoffer.simulation.life import State, Week, season
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.occasions import earn
from nextoffer.simulation.response import Response

WEEKDAYS = np.cumsum([0.98, 0.94, 0.92, 0.98, 1.06, 1.25, 0.87])[:-1] / 7.0  # Monday first, Saturday busiest
OPENS, OPEN_HOURS = 7, 16
ORDERS_A_WEEK = (0.028, 0.33)  # of a customer number, lapsed and future ones counted: a + b × rate
SOON = 2.0  # orders that an offer caused, or that use its incentive, come early in what is left of the week
MINUTE = 60_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Sold(Rows):
    """Order lines in numbers.

    Parameters
    ----------
    order : (n,) int64 number of the order
    customer : (n,) int64 number of the customer, −1 for a guest
    product, quantity, price, cost : (n,) price and cost in minor units a unit
    at : (n,) int64 microseconds since 1970, UTC
    """

    order: Ints
    customer: Ints
    product: Ints
    quantity: Ints
    price: Ints
    cost: Ints
    at: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Worth:
    """What the orders of a week were worth, one row per buyer of the week, in minor units.

    `baseline_*` is the same without this week's offers, and with no order moved forward before.
    """

    revenue: Ints
    margin: Ints
    baseline_revenue: Ints
    baseline_margin: Ints
    incentive: Ints
    at: Ints


def week_start(world: World, week: int) -> int:
    """First moment of a week, microseconds since 1970, UTC."""
    return round(world.settings.start.timestamp()) * 1_000_000 + week * 7 * DAY


def week_starts(world: World, weeks: Ints) -> Ints:
    """First moments of several weeks, microseconds since 1970, UTC."""
    return week_start(world, 0) + weeks.astype(np.int64) * 7 * DAY


def order_moments(world: World, week: int, numbers: Ints) -> Ints:
    """When in the week each order is placed, to the second."""
    luck = world.luck_seed
    day = np.searchsorted(WEEKDAYS, uniform(luck, Stream.MOMENT, week, numbers), side="right")
    half = [uniform(luck, Stream.MOMENT, week, numbers, part) for part in (1, 2)]
    seconds = (3600 * (OPENS + OPEN_HOURS * (half[0] + half[1]) / 2)).astype(np.int64)
    return week_start(world, week) + day * DAY + seconds * 1_000_000


def sell(
    world: World, customers: Customers, state: State, window: Shelf, week: int, outcome: Week
) -> tuple[Sold, Worth]:
    """Lines of the week's orders of known customers, and what they and their baseline are worth."""
    buyers, numbers = outcome.buyers, customers.customer[outcome.buyers]
    due = np.where(window.available[outcome.due], outcome.due, -1)
    lines = draw_lines(world, window, week, customers.tastes(buyers), due)
    at = order_moments(world, week, numbers)
    baseline = _take(lines, outcome.natural)
    lines = _take(lines, outcome.ordered)
    price = window.price[lines.product]
    if outcome.response is not None:
        bounds = week_start(world, week), week_start(world, week + 1)
        at, position, caused = _after_opening(bounds, outcome, outcome.response, at)
        lines = change_lines(
            world, customers, week, window.available, outcome.response, position, caused, lines
        )
        price = _discounted(window, outcome.response, position, lines)
    _remember(state, buyers, lines)
    worth = _worth(window, len(buyers), lines, price, baseline, at)
    earn(customers, state.points, week, buyers, worth.revenue)
    sold = Sold(
        order=_order_number(world, week, numbers)[lines.order],
        customer=customers.customer[outcome.account][lines.order],
        product=lines.product,
        quantity=lines.quantity,
        price=price,
        cost=window.cost[lines.product],
        at=at[lines.order],
    )
    return sold, worth


def sell_to_guests(world: World, window: Shelf, week: int, numbers: Ints) -> Sold:
    """Orders without an account: a stranger now and then, as often as there are customers' numbers."""
    settings = world.settings
    odds = settings.guests / (1.0 - settings.guests)
    expected = ORDERS_A_WEEK[0] + ORDERS_A_WEEK[1] * settings.rate
    chance = odds * expected * season(settings, week)
    hosts = numbers[uniform(world.luck_seed, Stream.GUEST, week, numbers) < chance]
    strangers = hosts + ((week + 1) << 43)  # a person of their own each time
    taste = make_tastes(settings, world.world_seed, strangers)
    lines = draw_lines(world, window, week, taste, np.full((len(hosts), SLOTS), -1))
    return Sold(
        order=_order_number(world, week, hosts)[lines.order] + 1,
        customer=np.full(len(lines.order), -1),
        product=lines.product,
        quantity=lines.quantity,
        price=window.price[lines.product],
        cost=window.cost[lines.product],
        at=order_moments(world, week, strangers)[lines.order],
    )


def returned(world: World, week: int, sold: Sold) -> Sold:
    """Lines that come back 3 to 23 days later, all of an order on one day, as negative lines of it."""
    chance = world.catalogue.return_p[world.catalogue.family[sold.product]]
    chance = chance * world.settings.returns
    back = uniform(world.luck_seed, Stream.RETURN, week, sold.order, sold.product) < chance
    gone = sold.take(np.flatnonzero(back))
    days = 3 + np.floor(21 * uniform(world.luck_seed, Stream.RETURN_DAY, week, gone.order)).astype(np.int64)
    gone.quantity[:] = -gone.quantity
    gone.at[:] += days * DAY
    return gone


def order_table(world: World, sold: Sold) -> pa.Table:
    """Rows of the canonical orders table."""
    starts = np.flatnonzero(np.diff(sold.order, prepend=-1))  # texts are made once per order
    of_line = pa.array(np.repeat(np.arange(len(starts)), np.diff(starts, append=len(sold.order))))
    buyer, everything = sold.customer[starts], np.arange(world.catalogue.size)
    arrays = [
        columns.order_ids(world.settings, sold.order[starts]).take(of_line),
        columns.customer_ids(world.settings, np.maximum(buyer, 0), buyer < 0).take(of_line),
        columns.product_ids(world.catalogue, everything).take(pa.array(sold.product)),
        pa.array(sold.quantity.astype(np.int32)),
        columns.money(sold.price),
        columns.moments(sold.at),
        columns.money(sold.cost),
    ]
    return pa.Table.from_arrays(arrays, schema=columns.ORDERS)


def order_customer(world: World, week: int, orders: Ints) -> Ints:
    """Number of the customer whose need each order of a week meets."""
    numbers: Ints = orders // 2 - week * world.settings.customers
    return numbers


def _order_number(world: World, week: int, numbers: Ints) -> Ints:
    return 2 * (week * world.settings.customers + numbers)


def _take(lines: Lines, wanted: Bools) -> Lines:
    if wanted.all():
        return lines
    keep = wanted[lines.order]
    return Lines(lines.order[keep], lines.product[keep], lines.quantity[keep])


def _after_opening(
    bounds: tuple[int, int], outcome: Week, response: Response, at: Ints
) -> tuple[Ints, Ints, Bools]:
    """Moments of orders, those caused by an offer or using its incentive soon after its opening.

    And for each message the order it met (−1 none) and whether it caused that order.
    """
    begin, end = bounds
    place = np.searchsorted(outcome.buyers, response.row)
    found = np.minimum(place, max(len(outcome.buyers) - 1, 0))
    met = np.zeros(len(place), dtype=bool)
    if len(outcome.buyers):
        met = (outcome.buyers[found] == response.row) & outcome.ordered[found]
    met &= response.opened
    caused = met.copy()
    caused[met] = ~outcome.natural[found[met]]
    at = at.copy()
    in_time = met.copy()
    in_time[met] = caused[met] | (at[found[met]] >= response.opened_at[met])
    sooner = in_time & ~caused & response.uses
    left, gone = end - response.opened_at[sooner], at[found[sooner]] - response.opened_at[sooner]
    saved = (left * (gone / left) ** SOON / 1e6).astype(np.int64) * 1_000_000
    at[found[sooner]] = response.opened_at[sooner] + np.minimum(saved, gone)
    share = (at[found[caused]] - begin) / (end - begin)
    opened = response.opened_at[caused] + 30 * MINUTE
    soon = opened + (np.maximum(end - opened, 0) * share**SOON / 1e6).astype(np.int64) * 1_000_000
    at[found[caused]] = np.minimum(soon, end - 1_000_000)
    return at, np.where(in_time, found, -1), caused


def _discounted(window: Shelf, response: Response, position: Ints, lines: Lines) -> Ints:
    """Unit prices paid: the incentive of an opened message is for its product, or for the whole basket."""
    price = window.price[lines.product]
    used = np.flatnonzero((position >= 0) & response.uses)
    if not len(used):
        return price
    product = np.where(response.offers.basket, -1, response.offers.product)[response.first][used]
    level = np.zeros(int(lines.order.max(initial=0)) + 1)
    only = np.full(len(level), -1)
    inside = position[used] < len(level)
    level[position[used][inside]] = response.level[used][inside]
    only[position[used][inside]] = product[inside]
    wanted = (only[lines.order] < 0) | (only[lines.order] == lines.product)
    cut: Floats = np.where(wanted, level[lines.order], 0.0)
    return np.rint(price * (1.0 - cut)).astype(np.int64)


def _remember(state: State, buyers: Ints, lines: Lines) -> None:
    """The first products of the last order, for companions."""
    if not len(lines.order):
        return
    starts = np.flatnonzero(np.concatenate([[True], lines.order[1:] != lines.order[:-1]]))
    counts = np.diff(np.concatenate([starts, [len(lines.order)]]))
    rows = buyers[lines.order[starts]]
    for slot in range(SLOTS):
        at = starts + np.minimum(slot, counts - 1)
        state.recent[rows, slot] = np.where(slot < counts, lines.product[at], -1)


def _worth(window: Shelf, n: int, lines: Lines, price: Ints, baseline: Lines, at: Ints) -> Worth:
    def total(order: Ints, amount: Ints) -> Ints:
        return np.rint(np.bincount(order, weights=amount, minlength=n)).astype(np.int64)

    listed, cost = window.price[lines.product], window.cost[lines.product]
    before = window.price[baseline.product]
    return Worth(
        revenue=total(lines.order, lines.quantity * price),
        margin=total(lines.order, lines.quantity * (price - cost)),
        baseline_revenue=total(baseline.order, baseline.quantity * before),
        baseline_margin=total(baseline.order, baseline.quantity * (before - window.cost[baseline.product])),
        incentive=total(lines.order, lines.quantity * (listed - price)),
        at=at,
    )
