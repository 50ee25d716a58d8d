"""Expected profit instead of luck: what a week is worth on average, given the state it begins with.

The order indicator is replaced by its chance, openings by theirs, the basket by its mean. Means equal those of
the realised profit; intervals are about twice as narrow. The state still goes on by the realised draws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.offers import KIND
from nextoffer.simulation.additions import incentive_share, line_chance
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import Shelf
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.fit import match
from nextoffer.simulation.life import ACTIVE, DELAYED, LAPSED, SECOND_LIFE, State, base_hazard
from nextoffer.simulation.response import (
    CONTACT,
    Offers,
    Response,
    leaving_chance,
    open_chance,
    pulls,
    redeem_chance,
)
from nextoffer.simulation.typical import Typical, family_share, in_basket

SETTLED_WITHIN = 10  # weeks in which a moved order is taken back
LEAVING_LOSS = 50.0  # minor units lost when a customer unsubscribes, in the oracle's formula


@dataclass(frozen=True, slots=True, eq=False)
class Before:
    """A week about to begin: n customers, the window, mean orders, and the chance that each orders.

    Parameters
    ----------
    hazard : (n,) without offers; customers joining now are not in it
    natural : (n,) P(an order without this week's offers)
    certain : (n,) 1 where an order comes whatever is sent (joining, or caused before and arriving now)
    """

    world: World
    customers: Customers
    state: State
    week: int
    window: Shelf
    mean: Typical
    hazard: Floats
    natural: Floats
    certain: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """(n,) expected profit of the week, and what of it goes into incentives and messages, in currency units.

    `on_baseline` is the part of the incentives that falls on orders which would have come anyway.
    """

    profit: Floats
    incentive: Floats
    on_baseline: Floats
    contact: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """(m,) what each offer adds to an order on average, minor units: margin, and what its incentive costs.

    `cost` falls on an order that would have come anyway, `cost_caused` on one the offer caused, which may be
    made for its product: then `margin_caused` is added.
    """

    margin: Floats
    cost: Floats
    cost_caused: Floats
    margin_caused: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """(m,) the truth about offers, each as if it were the only one sent this week; money in currency units.

    Parameters
    ----------
    opens : chance of opening; p_none, p_offer : P(order) without it, and with it if it is opened
    moved : share of the orders caused that are taken from later ones
    week, value : expected profit this week, and over the horizon, against sending nothing
    """

    opens: Floats
    p_none: Floats
    p_offer: Floats
    moved: Floats
    week: Floats
    value: Floats


def before_week(
    world: World, customers: Customers, state: State, week: int, window: Shelf, mean: Typical
) -> Before:
    """What is known of a week before anything happens in it."""
    hazard = base_hazard(world, customers, state, week)
    certain = ((customers.joins == week) | (state.arrives == week)).astype(np.float64)
    natural = np.where(state.settle_until >= week, 0.0, -np.expm1(-hazard))
    natural = np.where(certain > 0, 1.0, natural)
    return Before(world, customers, state, week, window, mean, hazard, natural, certain)


def with_eligible(now: Before, offers: Offers) -> Offers:
    """The offers with the shares of the expected basket their incentives are for."""
    fits = match(now.world, now.customers, now.state, now.week, offers.row, offers.product)
    price = now.window.price[np.maximum(offers.product, 0)]
    share = np.minimum(price * fits / np.maximum(now.mean.revenue[offers.row], 1.0), 1.0)
    there = in_basket(
        now.world, now.mean, now.customers, now.state, now.window, now.week, offers.row, offers.product
    )
    habit = np.minimum(price * there * now.mean.quantity / np.maximum(now.mean.revenue[offers.row], 1.0), 1.0)
    return replace(
        offers,
        eligible=np.where(offers.basket, 1.0, share),
        usual=np.where(offers.basket, 1.0, np.minimum(share, habit)),
    )


def expect(now: Before, response: Response | None) -> Expected:
    """Expected profit of every customer this week."""
    profit = now.natural * now.mean.margin
    incentive, on_baseline, contact = (np.zeros(len(profit)) for _ in range(3))
    if response is not None:
        row, first = response.row, response.first
        more = _more_orders(now, row, response.pull) * (1.0 - DELAYED * now.world.settings.delayed_response)
        lines = line_worth(
            now,
            response.offers,
            response.rank,
            response.match,
            response.pull[response.message],
            response.made_for_it[response.message],
        )
        order_margin = now.mean.margin[row] + np.bincount(response.message, lines.margin)
        caused = order_margin + lines.margin_caused[first] - lines.cost_caused[first]
        on_natural = np.bincount(response.message, lines.margin) - lines.cost[first]
        opens, natural = response.opens, now.natural[row]
        profit[row] += opens * (more * caused + natural * on_natural) - CONTACT
        on_baseline[row] = opens * natural * lines.cost[first]
        incentive[row] = on_baseline[row] + opens * more * lines.cost_caused[first]
        contact[row] = CONTACT
    return Expected(profit / 100, incentive / 100, on_baseline / 100, contact / 100)


def effects(now: Before, offers: Offers, horizon: int = 16) -> Effects:
    """The oracle's formula for every offer, alone."""
    state, row = now.state, offers.row
    offers = with_eligible(now, offers)
    fits = match(now.world, now.customers, state, now.week, row, offers.product)
    pull, made_for_it = pulls(now.world, now.customers, state, now.week, now.hazard[row], offers)
    opens = open_chance(now.customers, state, row)
    more, natural = _more_orders(now, row, pull), now.natural[row]
    lines = line_worth(now, offers, np.zeros(len(row), dtype=np.int64), fits, pull, made_for_it)
    margin = now.mean.margin[row]
    caused = margin + lines.margin + lines.margin_caused - lines.cost_caused
    week = opens * (more * caused + natural * (lines.margin - lines.cost)) - CONTACT
    moved = np.where(state.status[row] == ACTIVE, now.customers.pull[row], 0.0)
    again = -np.expm1(-now.hazard[row] * SETTLED_WITHIN)
    loss = leaving_chance(now.customers, state, row) * LEAVING_LOSS
    value = week + opens * more * (_later(now, row, horizon) - moved * again * margin) - loss
    return Effects(
        opens=opens,
        p_none=natural,
        p_offer=natural + more,
        moved=moved * again,
        week=week / 100,
        value=value / 100,
    )


def line_worth(
    now: Before, offers: Offers, rank: Ints, fits: Floats, pull: Floats, made_for_it: Floats
) -> Lines:
    """What each offer adds to an order of its customer; incentives act where rank is 0."""
    customers, mean, row = now.customers, now.mean, offers.row
    product = np.maximum(offers.product, 0)
    sort, family = customers.price_class[row], now.world.catalogue.family[product].astype(np.int64)
    chance = line_chance(now.world, customers, offers, rank, fits)
    chance *= now.window.available[product]
    there = in_basket(now.world, mean, customers, now.state, now.window, now.week, row, offers.product)
    steps = mean.lines[row] * family_share(now.world, mean, row, family)
    steps_up = steps * mean.quantity * mean.step_up[sort, family]
    is_step = offers.kind == KIND["up_sell"]
    margin = chance * np.where(is_step, steps_up, (1.0 - there) * mean.unit_margin[product])
    added = np.where(is_step, 0.0, chance * (1.0 - there))
    drawn = incentive_share(pull, made_for_it) * ~offers.basket * (offers.product >= 0)
    drawn = drawn * redeem_chance(now.world) * (offers.level > 0) * (1.0 - there - added)
    used = redeem_chance(now.world) * offers.level * (rank == 0)
    price = mean.unit_price[product]
    extra = added * price * (offers.product >= 0)
    whole = mean.revenue[row] + extra
    only = price * (there * mean.quantity + added)
    cost = used * np.where(offers.basket, whole, only)
    return Lines(
        margin=margin,
        cost=cost,
        cost_caused=cost + offers.level * (rank == 0) * drawn * price,
        margin_caused=drawn * mean.unit_margin[product] * (rank == 0),
    )


def _more_orders(now: Before, row: Ints, pull: Floats) -> Floats:
    """What an opened message adds to the chance of an order."""
    hazard, certain = now.hazard[row], now.certain[row]
    more = np.exp(-hazard) - np.exp(-np.maximum(hazard + pull, 0.0))
    more = np.where((now.state.settle_until[row] >= now.week) & (more < 0), 0.0, more)
    gained: Floats = more * (1.0 - certain)
    return gained


def _later(now: Before, row: Ints, horizon: int) -> Floats:
    """Margin a dormant customer brings after coming back: λ · M · min(.6 / μ, horizon)."""
    customers = now.customers
    weeks = np.minimum(SECOND_LIFE / np.maximum(customers.lapse[row], 1e-9), horizon)
    worth = customers.rate[row] * now.mean.margin[row] * weeks
    return np.where(now.state.status[row] == LAPSED, worth, 0.0)
