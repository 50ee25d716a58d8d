"""What the offers of an opened message do to the lines of an order."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND
from nextoffer.simulation.baskets import Lines, World
from nextoffer.simulation.catalogue import Catalogue
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.response import Offers, Response

ADDS_LINE = {
    KIND["cross_sell"]: 0.10,
    KIND["for_you"]: 0.05,
    KIND["replenishment"]: 0.5,
    KIND["abandoned"]: 0.15,
    KIND["renewal"]: 0.3,
}
STEPS_UP = 0.08
LATER_OFFERS = 0.5  # strength of the line effects of all offers of a slate but the first


def line_chance(world: World, customers: Customers, offers: Offers, rank: Ints, match: Floats) -> Floats:
    """(m,) chance that an order gets each offer's line, or takes its step up."""
    by_kind = np.zeros(len(KIND))
    by_kind[list(ADDS_LINE)] = list(ADDS_LINE.values())
    by_kind[KIND["up_sell"]] = STEPS_UP
    strength = np.where(rank == 0, 1.0, LATER_OFFERS) * world.settings.offer_effect
    strength = strength * np.maximum(customers.response[offers.row], 0.0) * match
    chance: Floats = np.minimum(by_kind[offers.kind] * strength * (offers.product >= 0), 1.0)
    return chance


def incentive_share(pull: Floats, made_for_it: Floats) -> Floats:
    """The share of the orders an offer causes that are made for its incentive, and hold its product."""
    return np.clip(made_for_it / np.where(pull > 0, pull, 1.0), 0.0, 1.0) * (pull > 0)


def change_lines(
    world: World,
    customers: Customers,
    week: int,
    available: Bools,
    response: Response,
    position: Ints,
    caused: Bools,
    lines: Lines,
) -> Lines:
    """The lines of the orders, with what the offers added or turned into something dearer.

    `position` : (c,) order of each message's customer, −1 if there is none or it came before the opening;
    `caused` : (c,) whether the message caused that order.
    """
    offers, message = response.offers, response.message
    order = position[message]
    chance = line_chance(world, customers, offers, response.rank, response.match) * response.opened[message]
    live = (order >= 0) & (offers.product >= 0)
    live &= available[np.maximum(offers.product, 0)]
    number = customers.customer[offers.row]
    u = uniform(world.luck_seed, Stream.OFFER_LINE, week, number, response.rank)
    product = _stepped_up(world.catalogue, offers, order, live & (u < chance), lines, available)
    size = world.catalogue.size
    keep, kept = np.unique(lines.order * size + product, return_index=True)
    kept = np.sort(kept)
    added = live & (u < chance) & (offers.kind != KIND["up_sell"])
    made_for_it = (caused & response.uses)[message] & (response.rank == 0) & ~offers.basket
    share = incentive_share(response.pull, response.made_for_it)[message]
    added |= live & made_for_it & (uniform(world.luck_seed, Stream.INCENTIVE_LINE, week, number) < share)
    key = order * size + offers.product
    added &= ~np.isin(key, keep)
    added[added] = _first(key[added])
    new = np.flatnonzero(added)
    all_order = np.concatenate([lines.order[kept], order[new]])
    sequence = np.argsort(all_order, kind="stable")
    return Lines(
        all_order[sequence],
        np.concatenate([product[kept], offers.product[new]])[sequence],
        np.concatenate([lines.quantity[kept], np.ones(len(new), dtype=np.int64)])[sequence],
    )


def _stepped_up(
    catalogue: Catalogue, offers: Offers, order: Ints, taken: Bools, lines: Lines, available: Bools
) -> Ints:
    """Products of the lines, one rung up where an up-sell was taken."""
    taken = taken & (offers.kind == KIND["up_sell"])
    if not taken.any():
        return lines.product
    families = len(catalogue.first) - 1
    family = catalogue.family[lines.product].astype(np.int64)
    wanted = order[taken] * families + catalogue.family[offers.product[taken]]
    above = np.minimum(lines.product + 1, catalogue.size - 1)
    up = (
        np.isin(lines.order * families + family, wanted)
        & (catalogue.family[above] == family)
        & available[above]
    )
    return np.where(up, above, lines.product)


def _first(key: Ints) -> Bools:
    """True for the first row of each key."""
    first = np.zeros(len(key), dtype=bool)
    first[np.unique(key, return_index=True)[1]] = True
    return first
