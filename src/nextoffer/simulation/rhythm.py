"""The hazard of a customer's next order, given how long the last one is ago: by habit, by timetable or in spells."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.simulation.baskets import World
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.luck import Stream, uniform

TIMETABLE = 6  # shape of the gaps with `regular_gaps`: their coefficient of variation is 1/√6
SPELL_WEEKS = 10
BUSY_SHARE, BUSY = (
    0.3,
    2.5,
)  # with `bursty`: a customer is busy so often, and then orders so many times as much
QUIET = (1.0 - BUSY_SHARE * BUSY) / (1.0 - BUSY_SHARE)  # the mean rate stays as it is


def own_hazard(world: World, customers: Customers, gap: Floats, week: int) -> Floats:
    """(n,) hazard of ordering this week while active, without season and refills.

    `gap` : (n,) weeks since the last order.
    """
    settings, rate = world.settings, customers.rate
    if settings.regular_gaps:
        return erlang_hazard(TIMETABLE, rate, gap)
    if settings.bursty:
        rate = rate * pace(world.world_seed, customers.customer, week)
    twice = 2.0 * rate
    rising = twice * gap
    return np.where(customers.regular, twice * rising / (1.0 + rising), rate)


def erlang_hazard(shape: int, rate: Floats, gap: Floats) -> Floats:
    """(n,) hazard of Erlang gaps of so many stages and mean 1 / rate, after a gap without an order."""
    passed = shape * rate * gap
    term = np.ones(len(passed))  # passed^i / i!
    total = term.copy()
    for stage in range(1, shape):
        term = term * passed / stage
        total += term
    hazard: Floats = shape * rate * term / total
    return hazard


def pace(seed: int, numbers: Ints, week: int) -> Floats:
    """(n,) how many times their mean rate customers order at in a week, where they buy in spells."""
    begun = uniform(seed, Stream.SPELL, 0, numbers)
    spell = np.floor(week / SPELL_WEEKS + begun).astype(np.int64) + 1
    return np.where(uniform(seed, Stream.SPELL, 0, numbers, spell) < BUSY_SHARE, BUSY, QUIET)
