"""How well an offer fits a customer: the product their taste, the kind their moment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.domain.offers import KIND
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import CLASS_ELASTICITY
from nextoffer.simulation.customers import Customers, liking, taste_family
from nextoffer.simulation.occasions import birthday_near, ends_soon, points_about_to_expire

if TYPE_CHECKING:
    from nextoffer.simulation.life import State

NEAR = 0.2  # match of other families of a department a customer buys in
RECENT = 5  # weeks after an order in which companions and better variants are looked at
CART_WEEKS = 2  # weeks a cart stays open
POINTS = 1.0  # relevance of a reminder that points expire


def own_families(world: World, customers: Customers, row: Ints, week: int) -> Ints:
    """(r, taste_families) the families that are these customers' own."""
    numbers = liking(world.settings, world.world_seed, customers.customer[row], week)
    slots = np.arange(world.settings.taste_families)
    return taste_family(world.catalogue, world.world_seed, numbers[:, None], slots[None, :])


def match(world: World, customers: Customers, state: State, week: int, row: Ints, product: Ints) -> Floats:
    """1 for planted companions, refills, own families, cart and pass, .2 for their departments, 0 otherwise.

    A product dearer than what the customer's price class pays in its family is wanted less, by the class's
    elasticity; the very products of the customer's refills, cart and pass are not.
    """
    catalogue, offered = world.catalogue, np.maximum(product, 0)
    family = catalogue.family[offered]
    people, place = np.unique(row, return_inverse=True)
    own = own_families(world, customers, people, week)[place]
    recent = state.recent[row]
    companions = np.where((recent >= 0)[:, :, None], catalogue.companions[np.maximum(recent, 0)], -1)
    fits = (own == family[:, None]).any(axis=1)
    fits |= (companions == product[:, None, None]).any(axis=(1, 2))
    near = (catalogue.department[own] == catalogue.department[family][:, None]).any(axis=1)
    price_class = customers.price_class[row]
    dearer = np.maximum(catalogue.price[offered] / catalogue.usual_price[price_class, family], 1.0)
    liked = np.where(fits, 1.0, np.where(near, NEAR, 0.0))
    liked = liked * dearer ** -np.array(CLASS_ELASTICITY)[price_class]
    theirs = (customers.refill[row] == product[:, None]).any(axis=1)
    theirs |= (state.cart[row] == product) | (customers.passes[row] == product)
    return np.where(product < 0, 0.0, np.where(theirs, 1.0, liked))


def relevance(world: World, customers: Customers, state: State, week: int, row: Ints, kind: Ints) -> Floats:
    """How much a kind of message says to active customers at this moment; for_you is 1."""
    due = (state.due[row] < week + 1).any(axis=1)
    near = np.where(week - state.last[row] <= RECENT, 1.4, 0.6)
    open_cart = (state.cart[row] >= 0) & (week - state.cart_week[row] <= CART_WEEKS)
    points = np.where(points_about_to_expire(customers, state.points, row, week), POINTS, 0.0)
    birthday = np.where(birthday_near(world, customers.born[row], week), 1.5, points)
    by_kind = {
        "for_you": np.ones(len(row)),
        "cross_sell": near,
        "up_sell": near,
        "replenishment": np.where(due, 1.0, 0.15),
        "win_back": np.full(len(row), 0.5),
        "abandoned": np.where(open_cart, 3.0, 0.0),
        "event": birthday,
        "renewal": np.where(ends_soon(state.pass_ends, row, week), 4.0, 0.0),
    }
    table = np.stack([by_kind[name] for name in KIND])
    return table[kind, np.arange(len(row))]
