"""What an opened offer changes: the chance of ordering, the lines of the order, the price paid.

The additive terms are what randomised tests show (the lift in points hardly grows with the base rate); the
multiplicative one is the discount given to those who would have bought anyway.

References
----------
Hillstrom (2008), MineThatData e-mail test: + .31 to + .68 points on .57 %, for recent and lapsed buyers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.domain.offers import KIND
from nextoffer.simulation.baskets import Lines, World
from nextoffer.simulation.catalogue import Catalogue
from nextoffer.simulation.customers import Customers, taste_family
from nextoffer.simulation.luck import Stream, uniform

if TYPE_CHECKING:
    from nextoffer.simulation.life import State

REDEEMED = 0.85
UNSUBSCRIBED = 0.0018
ADDS_LINE = {KIND["cross_sell"]: 0.10, KIND["for_you"]: 0.05, KIND["replenishment"]: 0.5}
STEPS_UP = 0.08
LATER_OFFERS = 0.5  # strength of the line effects of all offers of a slate but the first
LAPSED = 2
HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Offers:
    """Offers sent in one week, sorted by customer row and rank.

    Parameters
    ----------
    row : (m,) customer row
    kind : (m,) index into domain KINDS
    product : (m,) product, −1 none
    level : (m,) share of the price given away
    sent_at : (m,) int64 microseconds since 1970, UTC
    source : (m,) row of the table the caller gave
    """

    row: Ints
    kind: Ints
    product: Ints
    level: Floats
    sent_at: Ints
    source: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """How the messages of a week were received: one message per customer, its offers in `offers`.

    Parameters
    ----------
    row : (c,) customers who were sent a message
    opened, unsubscribed, uses : (c,) they opened it; unsubscribed; use its incentive if they order
    added : (c,) what it adds to the hazard of ordering
    level, opened_at : (c,) incentive of the first offer; microseconds UTC
    message, rank, match : (m,) for each offer its position in `row`, its place, how well the product fits
    """

    row: Ints
    opened: Bools
    unsubscribed: Bools
    uses: Bools
    added: Floats
    level: Floats
    opened_at: Ints
    offers: Offers
    message: Ints
    rank: Ints
    match: Floats

    def level_used(self, n: int) -> Floats:
        """(n,) incentive each customer uses if they order, 0 for none."""
        level = np.zeros(n)
        level[self.row] = np.where(self.uses, self.level, 0.0)
        return level


def respond(
    world: World, customers: Customers, state: State, week: int, hazard: Floats, offers: Offers
) -> Response:
    """Openings, unsubscriptions and the hazard added by this week's messages."""
    row, first, message = np.unique(offers.row, return_index=True, return_inverse=True)
    number, luck = customers.customer[row], world.luck_seed
    effect = world.settings.offer_effect
    opened = state.subscribed[row] & (uniform(luck, Stream.OPEN, week, number) < customers.opening[row])
    leaving = (
        UNSUBSCRIBED * np.exp(0.5 * state.fatigue[row]) * np.where(customers.response[row] < 0, 4.0, 1.0)
    )
    gone = uniform(luck, Stream.UNSUBSCRIBE, week, number) < leaving
    kind, level = offers.kind[first], offers.level[first]
    added = _added_hazard(customers, state, week, row, hazard[row], kind, level)
    added *= np.exp(-0.35 * state.fatigue[row]) * effect * opened
    uses = opened & (uniform(luck, Stream.REDEEM, week, number) < REDEEMED * min(effect, 1.0)) & (level > 0)
    delay = HOUR * (0.2 + 20.0 * uniform(luck, Stream.OPEN_MOMENT, week, number) ** 2)
    return Response(
        row=row,
        opened=opened,
        unsubscribed=gone & state.subscribed[row],
        uses=uses,
        added=added,
        level=level,
        opened_at=offers.sent_at[first] + delay.astype(np.int64),
        offers=offers,
        message=message,
        rank=np.arange(len(offers.row)) - first[message],
        match=_match(world, customers, state, offers),
    )


def _added_hazard(
    customers: Customers, state: State, week: int, row: Ints, hazard: Floats, kind: Ints, level: Floats
) -> Floats:
    """Δ of simulation section "an opened offer", before fatigue."""
    rho, sigma = customers.response[row], customers.discount[row]
    due = (state.due[row] < week + 1).any(axis=1)
    recent = week - state.last[row] <= 5
    relevance = np.zeros(len(row))
    relevance[kind == KIND["for_you"]] = 1.0
    near = np.isin(kind, (KIND["cross_sell"], KIND["up_sell"]))
    relevance = np.where(near, np.where(recent, 1.4, 0.6), relevance)
    refill = kind == KIND["replenishment"]
    relevance = np.where(refill, np.where(due, 1.0, 0.15), relevance)
    relevance[kind == KIND["win_back"]] = 0.5
    active = 0.018 * rho * relevance
    active += np.where(refill & due, 0.10 * np.maximum(rho, 0.0), 0.0)
    active += sigma * level * (1.3 * hazard + 0.05)
    silent = np.maximum(week - state.since[row], 0)
    lapsed = (0.024 * rho + 0.22 * sigma * level) * np.exp(-silent / 30.0)
    lapsed *= np.where(kind == KIND["win_back"], 1.0, 0.4)
    return np.where(state.status[row] == LAPSED, lapsed, active)


def _match(world: World, customers: Customers, state: State, offers: Offers) -> Floats:
    """1 for planted companions, refills and own families, .2 for their departments, 0 otherwise."""
    catalogue, row = world.catalogue, offers.row
    product = np.maximum(offers.product, 0)
    family = catalogue.family[product]
    own = taste_family(
        catalogue,
        world.world_seed,
        customers.customer[row][:, None],
        np.arange(world.settings.taste_families)[None, :],
    )
    recent = state.recent[row]
    companions = np.where((recent >= 0)[:, :, None], catalogue.companions[np.maximum(recent, 0)], -1)
    fits = (own == family[:, None]).any(axis=1)
    fits |= (customers.refill[row] == offers.product[:, None]).any(axis=1)
    fits |= (companions == offers.product[:, None, None]).any(axis=(1, 2))
    near = (catalogue.department[own] == catalogue.department[family][:, None]).any(axis=1)
    return np.where(offers.product < 0, 0.0, np.where(fits, 1.0, np.where(near, 0.2, 0.0)))


def change_lines(
    world: World,
    customers: Customers,
    week: int,
    available: Bools,
    response: Response,
    position: Ints,
    lines: Lines,
) -> Lines:
    """The lines of the orders, with what the offers added or turned into something dearer.

    `position` : (c,) order of each message's customer, −1 if there is none or it came before the opening.
    """
    offers, message = response.offers, response.message
    order = position[message]
    strength = np.where(response.rank == 0, 1.0, LATER_OFFERS) * min(world.settings.offer_effect, 1e6)
    strength *= np.maximum(customers.response[offers.row], 0.0) * response.match * response.opened[message]
    live = (order >= 0) & (offers.product >= 0)
    live &= available[np.maximum(offers.product, 0)]
    u = uniform(world.luck_seed, Stream.OFFER_LINE, week, customers.customer[offers.row], response.rank)
    product = _stepped_up(world.catalogue, offers, order, live & (u < STEPS_UP * strength), lines, available)
    size = world.catalogue.size
    keep, kept = np.unique(lines.order * size + product, return_index=True)
    kept = np.sort(kept)
    added = np.zeros(len(order), dtype=bool)
    for kind, chance in ADDS_LINE.items():
        added |= live & (offers.kind == kind) & (u < chance * strength)
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
