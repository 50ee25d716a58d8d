"""The past policy: before nextoffer, mail and discounts went to good, recent customers, and nobody wrote down why.

The score that chose them is never written anywhere; the log of who got what is visible.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from scipy.special import ndtr, ndtri

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.offers import KIND, KINDS
from nextoffer.simulation import columns
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import Shelf, choose_family, choose_product
from nextoffer.simulation.customers import Customers
from nextoffer.simulation.life import NOT_YET, State
from nextoffer.simulation.luck import Stream, pick, uniform
from nextoffer.simulation.response import Offers
from nextoffer.simulation.sales import week_start

NOISE, CUT = 1.5, 1.2
REDRAWN = 4  # weeks a score's noise lasts
SHARES = (0.5, 0.3, 0.2)  # of those chosen: a message alone, 10 % off, 20 % off
LEVELS = np.array([0.0, 0.1, 0.2])
WIN_BACK_EVERY, SILENT, WIN_BACK_LEVEL = 8, 26, 0.2


def past_offers(
    world: World, customers: Customers, state: State, week: int, window: Shelf
) -> tuple[Offers, Floats] | None:
    """This week's messages under the past policy and their true propensities; None where none are sent."""
    if world.settings.past_policy == "none" or week % 2:
        return None
    luck, number = world.luck_seed, customers.customer
    silent = (week - state.last).astype(np.float64)
    merit = 0.8 * np.log1p(state.orders) - 0.08 * np.minimum(silent, 40.0)
    noise = ndtri(uniform(luck, Stream.PAST_SCORE, week // REDRAWN, number))
    may = state.subscribed & (state.status != NOT_YET)
    good = may & (merit + NOISE * noise > CUT)
    u = [uniform(luck, Stream.PAST_OFFER, week, number, part) for part in range(3)]
    arm = pick(u[0], SHARES)
    lapsed = may & ~good & (silent > SILENT) & (week % WIN_BACK_EVERY == 0) & (u[0] < 0.5)
    row = np.flatnonzero(good | lapsed)
    if not len(row):
        return None
    product = choose_product(
        world.catalogue, window, 0 * row + 1, choose_family(world.catalogue.family_cum, u[1][row]), u[2][row]
    )
    back = lapsed[row]
    level = np.where(back, WIN_BACK_LEVEL, LEVELS[arm[row]])
    chance = ndtr((merit[row] - CUT) / NOISE)
    propensity = np.where(back, 0.5 * (1.0 - chance), chance * np.array(SHARES)[arm[row]])
    offers = Offers(
        row=row,
        kind=np.where(back, KIND["win_back"], KIND["for_you"]),
        product=np.where(level > 0, -1, product),
        level=level,
        basket=level > 0,
        eligible=np.where(level > 0, 1.0, 0.0),
        usual=np.where(level > 0, 1.0, 0.0),
        sent_at=np.full(len(row), week_start(world, week)),
        source=np.arange(len(row)),
    )
    return offers, propensity


def campaign_log(world: World, customers: Customers, offers: Offers) -> pa.Table:
    """What the shop knows of its past messages: who got what, and when."""
    everything = np.arange(world.catalogue.size)
    product = columns.product_ids(world.catalogue, everything).take(
        pa.array(offers.product, mask=offers.product < 0)
    )
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, customers.customer[offers.row]),
            "kind": pa.array(KINDS).take(pa.array(offers.kind)),
            "product_id": product,
            "level": pa.array(offers.level),
            "basket": pa.array(offers.basket),
            "occurred_at": columns.moments(offers.sent_at),
        }
    )


def assignments(log: pa.Table, week: int, propensity: Floats | Ints) -> pa.Table:
    """The truth about who was sent what: the log with the week and the true propensity."""
    return log.append_column("propensity", pa.array(propensity)).add_column(
        0, "week", pa.array(np.full(log.num_rows, week, dtype=np.int32))
    )
