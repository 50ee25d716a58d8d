"""From orders to lines: refills that are due, own families and popular ones, companions, quantities."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints, ranges
from nextoffer.simulation.catalogue import Catalogue, Shelf, choose_family, choose_product
from nextoffer.simulation.customers import PARTNER, Tastes, liking, make_tastes, taste_family
from nextoffer.simulation.luck import Stream, lognormal, uniform
from nextoffer.simulation.settings import ShopSettings

MAX_LINES = 60
MAX_QUANTITY = 12
SLOT_POWER = 1.7  # own families are unequally dear: slot ∝ u^1.7


@dataclass(frozen=True, slots=True)
class World:
    """What never changes: settings, catalogue, and the seeds of the world and of its luck."""

    settings: ShopSettings
    catalogue: Catalogue
    world_seed: int
    luck_seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Order lines, sorted by order; no product twice in an order.

    Parameters
    ----------
    order : (n,) position of the order among those asked for
    product, quantity : (n,)
    """

    order: Ints
    product: Ints
    quantity: Ints


def draw_lines(
    world: World,
    window: Shelf,
    week: int,
    taste: Tastes,
    refills: Ints,
    size: Ints | None = None,
    person: Tastes | None = None,
) -> Lines:
    """Lines of one order of each person in `taste`.

    Parameters
    ----------
    refills : (b, 4) product of each refill slot that is due, −1 none; they come first
    size : (b,) lines wanted; drawn if not given
    person : whose taste it is, if the luck is not that person's own
    """
    settings, catalogue, luck = world.settings, world.catalogue, world.luck_seed
    n_due = (refills >= 0).sum(axis=1)
    if size is None:
        size = basket_sizes(settings, luck, week, taste)
    size = np.maximum(size, n_due)
    order = np.repeat(np.arange(len(size)), size)
    line = ranges(np.zeros(len(size), dtype=np.int64), size)
    who = taste.customer[order]

    def drawn(stream: Stream) -> Floats:
        return uniform(luck, stream, week, who, line)

    person = person or _person(world, week, taste)
    whose = person.customer[order]
    slot = np.floor(settings.taste_families * drawn(Stream.TASTE_SLOT) ** SLOT_POWER).astype(np.int64)
    own = drawn(Stream.PERSONAL) < settings.taste_share
    family = choose_family(catalogue.family_cum, drawn(Stream.FAMILY))
    family[own] = taste_family(catalogue, world.world_seed, whose[own], slot[own])
    usual = uniform(world.world_seed, Stream.TASTE_PRODUCT, 0, whose, family)
    loyal = drawn(Stream.LOYAL) < person.loyalty[order]
    u = np.where(loyal, usual, drawn(Stream.PRODUCT))
    product = choose_product(catalogue, window, person.price_class[order], family, u)
    product = _with_companions(catalogue, window, product, line, n_due[order], drawn(Stream.COMPANION))
    first = line < n_due[order]
    due_first = np.take_along_axis(refills, np.argsort(refills < 0, axis=1, kind="stable"), axis=1)
    product[first] = due_first[order[first], line[first]]
    keep = _first_of_each(order * catalogue.size + product)
    order, product, who, line = order[keep], product[keep], who[keep], line[keep]
    more = np.log(uniform(luck, Stream.QUANTITY, week, who, line))
    quantity = 1 + np.floor(more / np.log(max(settings.quantity_more, 1e-9))).astype(np.int64)
    return Lines(order, product, np.minimum(quantity, MAX_QUANTITY))


def basket_sizes(settings: ShopSettings, luck: int, week: int, taste: Tastes) -> Ints:
    """Lines wanted by each order."""
    drawn = lognormal(uniform(luck, Stream.SIZE, week, taste.customer), 1.0, settings.order_spread)
    return np.clip(np.ceil(drawn * taste.lines), 1, MAX_LINES).astype(np.int64)


def _person(world: World, week: int, taste: Tastes) -> Tastes:
    """Whose taste it is: half the orders of a shared account are the partner's."""
    share = world.settings.shared_accounts
    if world.settings.drift:
        taste = taste.take(slice(None))
        taste.customer[:] = liking(world.settings, world.world_seed, taste.customer, week)
    if share <= 0:
        return taste
    shared = uniform(world.world_seed, Stream.SHARED, 0, taste.customer) < share
    rows = np.flatnonzero(shared)
    rows = rows[uniform(world.luck_seed, Stream.PARTNER, week, taste.customer[rows]) < 0.5]
    if not len(rows):
        return taste
    partner = make_tastes(world.settings, world.world_seed, taste.customer[rows] + PARTNER)
    person = taste.take(slice(None))
    person.customer[rows], person.loyalty[rows] = partner.customer, partner.loyalty
    person.price_class[rows] = partner.price_class
    return person


def _with_companions(
    catalogue: Catalogue, window: Shelf, product: Ints, line: Ints, n_due: Ints, u: Floats
) -> Ints:
    """Some lines become a companion of the line before them."""
    before = np.concatenate([product[:1], product[:-1]])
    q = catalogue.companion_q[before]
    slot = (u >= q[:, 0]).astype(np.int64)
    companion = catalogue.companions[before, slot]
    wanted: Bools = (u < q.sum(axis=1)) & (line > n_due) & (companion >= 0)
    wanted &= window.available[companion]
    wanted[1:] &= ~wanted[:-1]  # the line before is itself no companion
    return np.where(wanted, companion, product)


def _first_of_each(key: Ints) -> Ints:
    """Positions of the first row of each key, ascending."""
    _, first = np.unique(key, return_index=True)
    return np.sort(first)
