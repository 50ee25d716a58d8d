"""The mean basket of every customer, worked out from the laws baskets are drawn by.

Closed forms where there are any (sizes, own families, price classes); what they leave out (duplicates,
companions, a partner's taste) is a ratio by typical basket size, found once by drawing baskets with luck of
its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.simulation.baskets import MAX_LINES, MAX_QUANTITY, SLOT_POWER, World, draw_lines
from nextoffer.simulation.catalogue import CLASS_SHARES, Shelf, choose_product, shelf
from nextoffer.simulation.customers import SLOTS, Customers, liking
from nextoffer.simulation.fit import own_families
from nextoffer.simulation.life import State
from nextoffer.simulation.luck import Stream, lognormal, uniform

CLASSES = len(CLASS_SHARES)
BINS = 10
TYPICAL_LUCK = 1 << 32  # seeds no shop is given
DRAWN = (8_000, 30_000)  # baskets drawn to find the ratios: three a customer, at least and at most so many


@dataclass(frozen=True, slots=True, eq=False)
class Means:
    """What does not change from week to week.

    Parameters
    ----------
    slot : (T,) chance of each own family's slot
    quantity : mean units of a line
    grid, sizes : (G,), (G, SLOTS + 1) log of typical lines; mean lines beyond the first 0, 1, … of an order
    bins, ratio : (BINS,), (2, BINS) log of typical lines; drawn over expected revenue and margin
    keeps : (P,) share of what is sold that does not come back
    """

    slot: Floats
    quantity: float
    grid: Floats
    sizes: Floats
    bins: Floats
    ratio: Floats
    keeps: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Typical:
    """The mean order of each customer this week, in minor units, returns taken off.

    Parameters
    ----------
    revenue, margin : (n,)
    lines : (n,) mean lines beyond refills that are due
    own : (n, T) own families
    share : (3, P) chance of each product within its family, by price class
    step_up : (3, F) mean gain of margin when a line of the family moves one rung up
    unit_price, unit_margin : (P,) of one unit, returns taken off
    quantity : mean units of a line
    """

    revenue: Floats
    margin: Floats
    lines: Floats
    own: Ints
    share: Floats
    step_up: Floats
    unit_price: Floats
    unit_margin: Floats
    quantity: float


def make_means(world: World, customers: Customers) -> Means:
    """The lasting means of a world; `customers` are those whose baskets are drawn for the ratios."""
    settings, catalogue = world.settings, world.catalogue
    families, more = settings.taste_families, settings.quantity_more
    edges = (np.arange(families + 1) / families) ** (1.0 / SLOT_POWER)
    grid = np.linspace(np.log(0.05), np.log(200.0), 120)
    u = (np.arange(1_000) + 0.5) / 1_000
    drawn = np.ceil(lognormal(u, 1.0, settings.order_spread)[None, :] * np.exp(grid)[:, None])
    drawn = np.clip(drawn, 1, MAX_LINES)
    sizes = np.stack([np.maximum(drawn - k, 0).mean(axis=1) for k in range(SLOTS + 1)], axis=1)
    bare = Means(
        slot=np.diff(edges),
        quantity=(1.0 - more**MAX_QUANTITY) / (1.0 - more) if more < 1 else float(MAX_QUANTITY),
        grid=grid,
        sizes=sizes,
        bins=np.zeros(1),
        ratio=np.ones((2, 1)),
        keeps=1.0 - catalogue.return_p[catalogue.family] * settings.returns,
    )
    bins, ratio = _ratios(world, customers, bare)
    return Means(bare.slot, bare.quantity, grid, sizes, bins, ratio, bare.keeps)


def typical(
    world: World, means: Means, customers: Customers, due: Floats, window: Shelf, week: int
) -> Typical:
    """Mean orders of a week; `due` are the weeks in which refills run out, as in the state."""
    catalogue, everyone = world.catalogue, np.arange(len(customers.customer))
    weight = np.diff(window.cum, prepend=0.0).reshape(CLASSES, catalogue.size)
    total = np.add.reduceat(weight, catalogue.first[:-1], axis=1)
    share = weight / np.where(total > 0, total, 1.0)[:, catalogue.family]
    unit_price = window.price * means.keeps
    unit_margin = (window.price - window.cost) * means.keeps
    own = own_families(world, customers, everyone, week)
    lines, running_out = _sizes(means, customers, due, week)
    sums = []
    for place, unit in enumerate((unit_price, unit_margin)):
        per_line = _per_line(world, means, customers, window, share, own, unit, week)
        ratio = np.interp(np.log(customers.lines), means.bins, means.ratio[place])
        refills = np.where(running_out, unit[np.maximum(customers.refill, 0)], 0.0).sum(axis=1)
        sums.append(means.quantity * (lines * per_line * ratio + refills))
    return Typical(
        revenue=sums[0],
        margin=sums[1],
        lines=lines,
        own=own,
        share=share,
        step_up=_steps_up(world, window, share, unit_margin),
        unit_price=unit_price,
        unit_margin=unit_margin,
        quantity=means.quantity,
    )


def in_basket(
    world: World,
    mean: Typical,
    customers: Customers,
    state: State,
    window: Shelf,
    week: int,
    row: Ints,
    product: Ints,
) -> Floats:
    """Chance that an order of these customers holds the product anyway; 1 for a refill that is due."""
    catalogue, product = world.catalogue, np.maximum(product, 0)
    family, sort = catalogue.family[product].astype(np.int64), customers.price_class[row]
    whose = liking(world.settings, world.world_seed, customers.customer[row], week)
    usual_u = uniform(world.world_seed, Stream.TASTE_PRODUCT, 0, whose, family)
    usual = choose_product(catalogue, window, sort, family, usual_u) == product
    within = (1.0 - customers.loyalty[row]) * mean.share[sort, product] + customers.loyalty[row] * usual
    per_line = family_share(world, mean, row, family) * within
    due = (customers.refill[row] == product[:, None]) & (state.due[row] < week + 1)
    chance: Floats = np.where(due.any(axis=1), 1.0, -np.expm1(-mean.lines[row] * per_line))
    return chance


def family_share(world: World, mean: Typical, row: Ints, family: Ints) -> Floats:
    """Chance that a line of these customers is of the family."""
    settings = world.settings
    edges = (np.arange(settings.taste_families + 1) / settings.taste_families) ** (1.0 / SLOT_POWER)
    popular = np.diff(world.catalogue.family_cum, prepend=0.0)[family]
    personal = ((mean.own[row] == family[:, None]) * np.diff(edges)).sum(axis=1)
    share: Floats = settings.taste_share * personal + (1.0 - settings.taste_share) * popular
    return share


def _sizes(means: Means, customers: Customers, due: Floats, week: int) -> tuple[Floats, Bools]:
    """Mean lines beyond refills that are due, and (n, 4) which refills are due."""
    running_out = (due < week + 1) & (customers.refill >= 0)
    log_lines, count = np.log(customers.lines), running_out.sum(axis=1)
    table = np.stack([np.interp(log_lines, means.grid, column) for column in means.sizes.T], axis=1)
    return np.take_along_axis(table, count[:, None], axis=1)[:, 0], running_out


def _per_line(
    world: World,
    means: Means,
    customers: Customers,
    window: Shelf,
    share: Floats,
    own: Ints,
    unit: Floats,
    week: int,
) -> Floats:
    """(n,) mean of a product's column over the lines of each customer."""
    catalogue, settings = world.catalogue, world.settings
    family_mean = np.add.reduceat(share * unit, catalogue.first[:-1], axis=1)
    popular = family_mean @ np.diff(catalogue.family_cum, prepend=0.0)
    sort = np.repeat(customers.price_class, own.shape[1])
    whose = np.repeat(liking(settings, world.world_seed, customers.customer, week), own.shape[1])
    usual_u = uniform(world.world_seed, Stream.TASTE_PRODUCT, 0, whose, own.ravel())
    usual = unit[choose_product(catalogue, window, sort, own.ravel(), usual_u)].reshape(own.shape)
    loyalty = customers.loyalty[:, None]
    personal = loyalty * usual + (1.0 - loyalty) * family_mean[customers.price_class[:, None], own]
    of_own: Floats = personal @ means.slot
    return settings.taste_share * of_own + (1.0 - settings.taste_share) * popular[customers.price_class]


def _steps_up(world: World, window: Shelf, share: Floats, unit_margin: Floats) -> Floats:
    catalogue = world.catalogue
    above = np.minimum(np.arange(catalogue.size) + 1, catalogue.size - 1)
    can = (catalogue.family[above] == catalogue.family) & window.available[above]
    gain = np.where(can, unit_margin[above] - unit_margin, 0.0)
    return np.add.reduceat(share * gain, catalogue.first[:-1], axis=1)


def _ratios(world: World, customers: Customers, means: Means) -> tuple[Floats, Floats]:
    """Revenue and margin of drawn baskets over the closed form, by typical size."""
    settings = world.settings
    week = settings.weeks
    window = shelf(settings, world.catalogue, world.world_seed, week)
    n = len(customers.customer)
    baskets = min(max(3 * n, DRAWN[0]), DRAWN[1])
    people = customers.take(np.arange(min(n, baskets)))
    never = np.full((len(people.customer), SLOTS), 1e9)
    expected = typical(world, means, people, never, window, week)
    edge = np.quantile(people.lines, np.arange(1, BINS) / BINS)
    place = np.searchsorted(edge, people.lines)
    sums = np.zeros((2, BINS))
    times = max(1, baskets // len(people.customer))
    for turn in range(times):
        lines = draw_lines(
            replace(world, luck_seed=TYPICAL_LUCK + turn),
            window,
            week,
            people.tastes(np.arange(len(place))),
            np.full(never.shape, -1),
        )
        for row, unit in enumerate((expected.unit_price, expected.unit_margin)):
            sums[row] += np.bincount(
                place[lines.order], weights=lines.quantity * unit[lines.product], minlength=BINS
            )
    closed = np.stack([np.bincount(place, v, BINS) for v in (expected.revenue, expected.margin)]) * times
    count = np.maximum(np.bincount(place, minlength=BINS), 1)
    bins = np.bincount(place, np.log(people.lines), BINS) / count
    used = np.bincount(place, minlength=BINS) > 0
    ratio = sums[:, used] / np.where(closed[:, used] > 0, closed[:, used], 1.0)
    return bins[used], ratio
