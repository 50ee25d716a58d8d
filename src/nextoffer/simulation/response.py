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
from nextoffer.simulation.baskets import World
from nextoffer.simulation.customers import Customers, discount_now
from nextoffer.simulation.fit import match, relevance
from nextoffer.simulation.luck import Stream, uniform

if TYPE_CHECKING:
    from nextoffer.simulation.life import State

REDEEMED = 0.85
UNSUBSCRIBED = 0.0018
CONTACT = 1  # minor units a message costs
LEAST_LEVEL = 0.15  # with `threshold_effect`, smaller incentives move nobody
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
    basket : (m,) whether on the whole basket; else only on the product
    eligible : (m,) what the incentive is for as a share of the customer's expected basket: 1 for the whole of
        it, else price × match over the basket's value, which draws orders made for the product
    usual : (m,) share of the expected basket the product has anyway, whoever comes without being drawn saves
        on no more than that; 1 for the whole basket
    sent_at : (m,) int64 microseconds since 1970, UTC
    source : (m,) row of the table the caller gave
    """

    row: Ints
    kind: Ints
    product: Ints
    level: Floats
    basket: Bools
    eligible: Floats
    usual: Floats
    sent_at: Ints
    source: Ints

    def take(self, rows: Ints | Bools) -> Offers:
        """The offers chosen by positions or by a mask."""
        return Offers(*(getattr(self, name)[rows] for name in self.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """How the messages of a week were received: one message per customer, its offers in `offers`.

    Parameters
    ----------
    row : (c,) customers who were sent a message
    first : (c,) position of its first offer, the one that acts
    opens : (c,) chance of opening it
    opened, unsubscribed, uses : (c,) they opened it; unsubscribed; use its incentive if they order
    pull : (c,) what it adds to the hazard of ordering once opened
    made_for_it : (c,) the part of it that stands for orders made for the incentive
    opened_at : (c,) microseconds UTC
    message, rank, match : (m,) for each offer its position in `row`, its place, how well the product fits
    """

    row: Ints
    first: Ints
    opens: Floats
    opened: Bools
    unsubscribed: Bools
    uses: Bools
    pull: Floats
    made_for_it: Floats
    opened_at: Ints
    offers: Offers
    message: Ints
    rank: Ints
    match: Floats

    @property
    def added(self) -> Floats:
        """(c,) what each message adds to the hazard of ordering."""
        return self.pull * self.opened

    @property
    def level(self) -> Floats:
        """(c,) incentive of the first offer."""
        return self.offers.level[self.first]

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
    opens = open_chance(customers, state, row)
    opened = uniform(luck, Stream.OPEN, week, number) < opens
    gone = uniform(luck, Stream.UNSUBSCRIBE, week, number) < leaving_chance(customers, state, row)
    pull, made_for_it = pulls(world, customers, state, week, hazard[row], offers.take(first))
    redeemed = redeem_chance(world)
    uses = opened & (uniform(luck, Stream.REDEEM, week, number) < redeemed) & (offers.level[first] > 0)
    delay = HOUR * (0.2 + 20.0 * uniform(luck, Stream.OPEN_MOMENT, week, number) ** 2)
    return Response(
        row=row,
        first=first,
        opens=opens,
        opened=opened,
        unsubscribed=gone & state.subscribed[row],
        uses=uses,
        pull=pull,
        made_for_it=made_for_it,
        opened_at=offers.sent_at[first] + delay.astype(np.int64),
        offers=offers,
        message=message,
        rank=np.arange(len(offers.row)) - first[message],
        match=match(world, customers, state, week, offers.row, offers.product),
    )


def open_chance(customers: Customers, state: State, row: Ints) -> Floats:
    """Chance that these customers get and open a message."""
    return np.where(state.subscribed[row], customers.opening[row], 0.0)


def leaving_chance(customers: Customers, state: State, row: Ints) -> Floats:
    """Chance that a message makes these customers unsubscribe."""
    put_off = np.where(customers.response[row] < 0, 4.0, 1.0)
    chance: Floats = UNSUBSCRIBED * np.exp(0.5 * state.fatigue[row]) * put_off * state.subscribed[row]
    return chance


def redeem_chance(world: World) -> float:
    """Chance that whoever opens a message and orders uses its incentive."""
    return REDEEMED * min(world.settings.offer_effect, 1.0)


def pulls(
    world: World, customers: Customers, state: State, week: int, hazard: Floats, offers: Offers
) -> tuple[Floats, Floats]:
    """What each offer, opened, adds to the hazard of ordering; and the part that is orders made for its incentive.

    `hazard` : (m,) of the customer of each offer, without it.
    """
    row, kind = offers.row, offers.kind
    rho, sigma = customers.response[row], discount_now(world.settings, customers, row, week)
    level = offers.level
    if world.settings.threshold_effect:
        level = np.where(level < LEAST_LEVEL - 1e-9, 0.0, level)
    due = (state.due[row] < week + 1).any(axis=1)
    message = 0.018 * rho * relevance(world, customers, state, week, row, kind)
    refill = (kind == KIND["replenishment"]) & due
    message += np.where(refill, 0.10 * np.maximum(rho, 0.0), 0.0)
    coming = 1.3 * sigma * level * offers.usual * hazard
    made_for_it = 0.05 * sigma * level * offers.eligible
    silent = np.maximum(week - state.since[row], 0)
    faded = np.exp(-silent / 30.0) * np.where(kind == KIND["win_back"], 1.0, 0.4)
    lapsed = state.status[row] == LAPSED
    message = np.where(lapsed, 0.024 * rho * faded, message)
    coming = np.where(lapsed, 0.0, coming)
    made_for_it = np.where(lapsed, 0.22 * sigma * level * offers.eligible * faded, made_for_it)
    tired = np.exp(-0.35 * state.fatigue[row]) * world.settings.offer_effect
    return (message + coming + made_for_it) * tired, made_for_it * tired
