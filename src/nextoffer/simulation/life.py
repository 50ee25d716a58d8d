"""One week in the life of customers: who orders, who lapses, who comes back, what runs out.

`advance` is the one step function: the history is nothing but `advance` run for many weeks without offers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import BEFORE
from nextoffer.simulation.customers import SLOTS, Customers, Rows
from nextoffer.simulation.households import buyers_for
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.occasions import Passes, live_passes
from nextoffer.simulation.response import Offers, Response, respond
from nextoffer.simulation.rhythm import own_hazard
from nextoffer.simulation.settings import ShopSettings

NOT_YET, ACTIVE, LAPSED = 0, 1, 2
NEVER = np.float32(1e9)
SECOND_LIFE = 0.6  # a returned customer's lapse hazard is divided by this
SETTLING_WEEKS = 10  # a moved order is taken from the natural ones of so many weeks
FATIGUE_KEPT = 0.75
NATURAL, BY_OFFER = 0, 1
DELAYED = 0.5  # share of caused orders that come later, where some do


@dataclass(slots=True, eq=False)
class State(Rows):
    """What changes week by week, 83 bytes a customer.

    Parameters
    ----------
    status, lives : (n,) int8 NOT_YET, ACTIVE or LAPSED; how often they came back
    last, since : (n,) int16 week of the last order; week of lapsing
    due : (n, 4) float32 week in which each refill runs out
    fatigue : (n,) float32 messages opened lately
    subscribed : (n,) may be e-mailed
    settle_until : (n,) int16 the next natural order up to this week was moved forward; −1 none
    recent : (n, 4) int32 products of the last order, −1 none
    refill_first, refill_last, refill_count : (n, 4) visible purchases of each refill
    orders, points : (n,) int16 orders placed so far; points of the loyalty programme
    cart, cart_week : (n,) product left in the cart, −1 none; the week it was put there
    pass_ends : (n,) int16 week in which their pass ends, −1 none
    arrives : (n,) int16 week in which an order comes that an offer caused before, −1 none
    """

    status: Ints
    lives: Ints
    last: Ints
    since: Ints
    due: Floats
    fatigue: Floats
    subscribed: Bools
    settle_until: Ints
    recent: Ints
    refill_first: Ints
    refill_last: Ints
    refill_count: Ints
    orders: Ints
    points: Ints
    cart: Ints
    cart_week: Ints
    pass_ends: Ints
    arrives: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Week:
    """What happened in a week, by customer row.

    Parameters
    ----------
    buyers : (b,) rows of all who order, or would have without this week's offers
    ordered, natural : (b,) they order; they would have (orders moved forward earlier are still natural)
    due : (b, 4) refill product that had run out, −1 none
    moved : (b,) an order caused now, and taken from the natural ones to come
    settled : (b,) a natural order that is not placed, since an offer moved it forward
    lapsed, returned, cause : rows that lapsed; that came back, and why (NATURAL or BY_OFFER)
    response : how the offers were received, if there were any
    passes : passes taken and renewed; None where the shop has none
    account : (b,) rows whose account the orders are placed with: their own, except under `interference`
    """

    buyers: Ints
    ordered: Bools
    natural: Bools
    due: Ints
    moved: Bools
    settled: Bools
    lapsed: Ints
    returned: Ints
    cause: Ints
    response: Response | None
    passes: Passes | None
    account: Ints


def first_state(world: World, customers: Customers) -> State:
    """The state at the start of the history."""
    n, settings, seed = len(customers.customer), world.settings, world.world_seed
    before = customers.joins == BEFORE
    u = uniform(seed, Stream.START, 0, customers.customer)
    ago = np.minimum(-np.log(u) / customers.rate, 52.0)
    slots = np.arange(SLOTS)
    used = uniform(seed, Stream.START, 0, customers.customer[:, None], 1 + slots[None, :])
    running = before[:, None] & (customers.refill >= 0)
    return State(
        status=np.where(before, ACTIVE, NOT_YET).astype(np.int8),
        lives=np.zeros(n, dtype=np.int8),
        last=np.where(before, -1 - np.floor(ago), -1).astype(np.int16),
        since=np.full(n, -1, dtype=np.int16),
        due=np.where(running, customers.cycle * used, NEVER).astype(np.float32),
        fatigue=np.zeros(n, dtype=np.float32),
        subscribed=uniform(seed, Stream.SUBSCRIBED, 0, customers.customer) < settings.subscribed,
        settle_until=np.full(n, -1, dtype=np.int16),
        recent=np.full((n, SLOTS), -1, dtype=np.int32),
        refill_first=np.full((n, SLOTS), -1, dtype=np.int16),
        refill_last=np.full((n, SLOTS), -1, dtype=np.int16),
        refill_count=np.zeros((n, SLOTS), dtype=np.int8),
        orders=before.astype(np.int16),
        points=np.zeros(n, dtype=np.int16),
        cart=np.full(n, -1, dtype=np.int32),
        cart_week=np.full(n, -1, dtype=np.int16),
        pass_ends=np.full(n, -1, dtype=np.int16),
        arrives=np.full(n, -1, dtype=np.int16),
    )


def season(settings: ShopSettings, week: int) -> float:
    """How much the week of the year multiplies orders: ± 10 % over the year, a peak near week 48."""
    if not settings.season:
        return 1.0
    of_year = (week + (settings.start.timetuple().tm_yday - 1) // 7) % 52
    yearly = 0.10 * np.cos(2 * np.pi * (of_year - 47) / 52)
    peak = 1.2 * np.exp(-0.5 * ((of_year - 47) / 1.2) ** 2)
    return float(1.0 + yearly + peak - 0.35 * (of_year == 0))


def base_hazard(world: World, customers: Customers, state: State, week: int) -> Floats:
    """(n,) hazard of ordering this week without offers; customers joining now are certain and not in it."""
    settings = world.settings
    own = own_hazard(world, customers, (week - state.last).astype(np.float64), week)
    running_out = (state.due < week + 1).sum(axis=1)
    active = own * season(settings, week) + settings.due_hazard * running_out
    return np.where(
        state.status == ACTIVE, active, np.where(state.status == LAPSED, settings.return_rate, 0.0)
    )


def advance(
    world: World, customers: Customers, state: State, week: int, offers: Offers | None = None
) -> Week:
    """Live through one week: returns what happened and updates `state` in place."""
    luck = world.luck_seed
    hazard = base_hazard(world, customers, state, week)
    joining = customers.joins == week
    u = uniform(luck, Stream.ORDER, week, customers.customer)
    natural = (u < -np.expm1(-hazard)) | joining
    arriving = state.arrives == week
    ordered, response, moved = natural | arriving, None, np.zeros(len(u), dtype=bool)
    if offers is not None:
        response = respond(world, customers, state, week, hazard, offers)
        rows = response.row
        p_offer = -np.expm1(-np.maximum(hazard[rows] + response.added, 0.0))
        ordered[rows] = (u[rows] < p_offer) | joining[rows] | arriving[rows]
        caused = np.flatnonzero(ordered & ~natural & ~arriving)
        _delay(world, customers, state, week, ordered, caused)
        caused = caused[state.status[caused] == ACTIVE]
        moved[caused] = uniform(luck, Stream.MOVED, week, customers.customer[caused]) < customers.pull[caused]
    settled = settles(state, week, ordered & natural & ~joining & ~arriving)
    ordered &= ~settled
    state.settle_until[settled] = -1
    state.settle_until[moved] = week + SETTLING_WEEKS
    buyers = np.flatnonzero(ordered | natural | moved)
    run_out = (state.due[buyers] < week + 1) & (customers.refill[buyers] >= 0)
    returned = np.flatnonzero(ordered & (state.status == LAPSED))
    passes = live_passes(world, customers, state.pass_ends, week, ordered)
    lapsed = np.flatnonzero(_lapsing(world, customers, state, week, ordered, joining))
    _refill(world, customers, state, week, ordered, joining, response)
    state.last[ordered] = week
    state.orders[ordered] += 1
    state.lives[returned] += 1
    state.status[ordered] = ACTIVE
    state.status[lapsed], state.since[lapsed] = LAPSED, week
    _tire(state, response)
    together = world.settings.interference
    return Week(
        buyers=buyers,
        ordered=ordered[buyers],
        natural=natural[buyers],
        due=np.where(run_out, customers.refill[buyers], -1),
        moved=moved[buyers],
        settled=settled[buyers],
        lapsed=lapsed,
        returned=returned,
        cause=np.where(natural[returned], NATURAL, BY_OFFER).astype(np.int8),
        response=response,
        passes=passes,
        account=buyers_for(customers, state, buyers, joining[buyers]) if together else buyers,
    )


def _tire(state: State, response: Response | None) -> None:
    """Messages opened this week tire, those of earlier weeks less and less; some customers have had enough."""
    state.fatigue *= np.float32(FATIGUE_KEPT)
    if response is not None:
        state.fatigue[response.row] += response.opened
        state.subscribed[response.row[response.unsubscribed]] = False


def settles(state: State, week: int, natural: Bools) -> Bools:
    """Natural orders that are not placed, since an offer moved them forward."""
    return natural & (state.settle_until >= week)


def _delay(world: World, customers: Customers, state: State, week: int, ordered: Bools, caused: Ints) -> None:
    """With `delayed_response` half of the caused orders come two or three weeks later."""
    if not world.settings.delayed_response:
        return
    u = uniform(world.luck_seed, Stream.DELAYED, week, customers.customer[caused])
    late = caused[u < DELAYED]
    ordered[late] = False
    state.arrives[late] = week + 2 + (u[u < DELAYED] < DELAYED / 2)


def _lapsing(
    world: World, customers: Customers, state: State, week: int, ordered: Bools, joining: Bools
) -> Bools:
    """Who lapses at the end of the week: many right after their first order, the others by their hazard."""
    lapsing = np.zeros(len(ordered), dtype=bool)
    rows = np.flatnonzero((state.status == ACTIVE) | ordered)
    lives = state.lives[rows] + (state.status[rows] == LAPSED)
    p = -np.expm1(-customers.lapse[rows] / np.where(lives > 0, SECOND_LIFE, 1.0))
    p[joining[rows]] = world.settings.lapse_at_once
    lapsing[rows] = uniform(world.luck_seed, Stream.LAPSING, week, customers.customer[rows]) < p
    return lapsing


def _refill(
    world: World,
    customers: Customers,
    state: State,
    week: int,
    ordered: Bools,
    joining: Bools,
    response: Response | None,
) -> None:
    """Needs met here or elsewhere start a new cycle; a new customer's cycles start with the first order."""
    started = np.flatnonzero(joining)
    state.due[started] = np.where(customers.refill[started] >= 0, week, NEVER)
    out = (state.due < week + 1) & (ordered | (state.status == ACTIVE))[:, None]
    row, slot = np.nonzero(out)
    here = ordered[row]
    number = customers.customer[row]
    met = here | (uniform(world.luck_seed, Stream.ELSEWHERE, week, number, slot) < world.settings.elsewhere)
    row, slot, here, number = row[met], slot[met], here[met], number[met]
    jitter = 0.75 + 0.5 * uniform(world.luck_seed, Stream.REFILL_JITTER, week, number, slot)
    stock = np.ones(len(row))
    if response is not None:  # a discount stocks up
        stock += 2.0 * response.level_used(len(ordered))[row] * here
    state.due[row, slot] = week + customers.cycle[row, slot] * jitter * stock
    row, slot = row[here & ~joining[row]], slot[here & ~joining[row]]
    new = state.refill_count[row, slot] == 0
    state.refill_first[row[new], slot[new]] = week
    state.refill_last[row, slot] = week
    state.refill_count[row, slot] = np.minimum(state.refill_count[row, slot], 126) + 1
