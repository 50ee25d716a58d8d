"""Occasions: birthdays, loyalty points that expire, passes that end. All dates the shop can see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pyarrow as pa

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.simulation import columns
from nextoffer.simulation.baskets import World
from nextoffer.simulation.columns import DAY
from nextoffer.simulation.customers import NO_MEMBER, Customers
from nextoffer.simulation.luck import Stream, uniform

YEAR = 52  # weeks from one expiry of points to the next
PASS_WEEKS = 26
RENEWABLE = 3  # weeks before its end in which a pass can be renewed
TAKES, RENEWS, AUTO = 0.25, 0.6, 0.3
MOST_POINTS = 32_000


@dataclass(frozen=True, slots=True, eq=False)
class Passes:
    """Passes that began: customer number, product, first and last week (the pass ends as `ends` begins)."""

    customer: Ints
    product: Ints
    starts: Ints
    ends: Ints
    auto: Bools

    @classmethod
    def concat(cls, parts: list[Passes]) -> Passes:
        """All rows of several parts, in the order given."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))


def birthday_near(world: World, born: Ints, week: int) -> Bools:
    """Whether the birthday lies in the fortnight about the week (29 February counts as the 28th)."""
    day = born.astype("datetime64[D]")
    of_year = (day - day.astype("datetime64[Y]")).astype(np.int64)
    middle = (world.settings.start + timedelta(days=7 * week + 3)).timetuple().tm_yday - 1
    apart = np.abs(of_year - middle)
    near: Bools = np.minimum(apart, 365 - apart) <= 7
    return near


def points_expire(member_since: Ints, week: int) -> Ints:
    """Week at whose start the points collected so far expire: a year after joining, and each year after."""
    since = member_since.astype(np.int64)
    expires: Ints = since + YEAR * ((np.maximum(week - since, 0)) // YEAR + 1)
    return expires


def points_about_to_expire(customers: Customers, points: Ints, row: Ints, week: int) -> Bools:
    """Whether these customers hold points that expire within two weeks."""
    since = customers.member_since[row]
    soon = points_expire(since, week) - week <= 2
    return (since > NO_MEMBER) & soon & (points[row] > 0)


def earn(customers: Customers, points: Ints, week: int, buyers: Ints, revenue: Ints) -> None:
    """One point for each unit of currency; a year's points expire together. Updates `points` in place."""
    member = customers.member_since[buyers] > NO_MEMBER
    rows = buyers[member]
    points[rows] = np.minimum(points[rows] + revenue[member] // 100, MOST_POINTS)
    since = customers.member_since.astype(np.int64)
    points[(week >= since) & ((week + 1 - since) % YEAR == 0)] = 0


def live_passes(world: World, customers: Customers, ends: Ints, week: int, ordered: Bools) -> Passes | None:
    """Passes taken and renewed in a week; updates `ends`, the week in which each pass ends, in place.

    Who orders in the last three weeks of a pass may renew it, some renew by themselves; who has none may take
    one with an order. None where passes are switched off.
    """
    if not world.settings.subscriptions:
        return None
    number, luck = customers.customer, world.luck_seed
    ends[ends <= week] = -1
    u = uniform(luck, Stream.PASS, week, number)
    auto = uniform(world.world_seed, Stream.PASS, 0, number, 1) < AUTO
    running = ends >= 0
    last = running & (ends - week <= RENEWABLE)
    renews = last & ((ordered & (u < RENEWS)) | (auto & (ends - week <= 1)))
    takes = ~running & (customers.passes >= 0) & ordered & (u < TAKES)
    starts = np.where(renews, ends, week + 1).astype(np.int64)
    row = np.flatnonzero(renews | takes)
    ends[row] = starts[row] + PASS_WEEKS
    return Passes(number[row], customers.passes[row], starts[row], starts[row] + PASS_WEEKS, auto[row])


def subscription_table(world: World, passes: Passes) -> pa.Table:
    """The canonical table of subscriptions: one row for each pass, renewals too."""
    begin = round(world.settings.start.timestamp()) * 1_000_000
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, passes.customer),
            "product_id": columns.product_ids(world.catalogue, passes.product),
            "started_at": columns.moments(begin + passes.starts * 7 * DAY),
            "ends_at": columns.moments(begin + passes.ends * 7 * DAY),
            "auto_renew": pa.array(passes.auto),
        }
    )


def ends_soon(ends: Ints, row: Ints, week: int) -> Bools:
    """Whether a pass of these customers ends within three weeks and is not renewed yet."""
    left: Ints = ends[row].astype(np.int64) - week
    soon: Bools = (left > 0) & (left <= RENEWABLE)
    return soon
