"""What incentives take off a price and what they cost: exact minor units, half to even, and the margin floor."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.domain.menu import MILLION, TYPE, Menu
from nextoffer.offers.shelf import Shelf


@dataclass(frozen=True, slots=True, eq=False)
class Deal:
    """One incentive on one product (or basket) for one customer, (n,) each; money in minor units.

    Parameters
    ----------
    price, final : list price and what is paid for the product; equal where the basket gains, 0 without product
    saved : what the customer saves if they use it, on an order of usual size
    cost : what that costs the shop, the partner's share taken off
    """

    price: Ints
    final: Ints
    saved: Ints
    cost: Ints


def final_price(price: Ints, millionths: Ints) -> Ints:
    """Price × (1 − share) in minor units, exact, half to even: the shop's tills round the same way."""
    kept = MILLION - np.asarray(millionths, dtype=np.int64)
    whole, rest = np.divmod(np.asarray(price, dtype=np.int64) * kept, MILLION)
    up = (2 * rest > MILLION) | ((2 * rest == MILLION) & (whole % 2 == 1))
    return np.asarray(whole + up, dtype=np.int64)


def deals(bundle: Bundle, shelf: Shelf, menu: Menu, incentive: Ints, product: Ints, basket: Ints) -> Deal:
    """Price and cost of each (incentive, product), `basket` being the usual order of the customer in minor units."""
    price = shelf.price[product]
    final, saved, cost = price.copy(), np.zeros(len(price), np.int64), np.zeros(len(price), np.int64)
    some = np.flatnonzero(incentive)
    if len(some):
        gain = _gain(bundle, shelf, menu, incentive[some], price[some], basket[some])
        final[some], saved[some], cost[some] = gain
    return Deal(price, final, saved, cost)


def _gain(
    bundle: Bundle, shelf: Shelf, menu: Menu, incentive: Ints, price: Ints, basket: Ints
) -> tuple[Ints, Ints, Ints]:
    """(final price, saved, cost) of rows that carry an incentive."""
    kind, whole, amount = menu.type[incentive], menu.basket[incentive], menu.amount[incentive]
    on = np.where(whole, basket, price)
    percent, off, fixed = (kind == TYPE[name] for name in ("percent", "amount", "fixed_price"))
    left = np.where(percent, final_price(on, menu.millionths[incentive]), on)
    left = np.where(off, np.maximum(on - amount, 0), left)
    left = np.where(fixed, np.minimum(on, amount), left)
    saved = np.where(percent | off | fixed, on - left, amount)
    cost = saved
    given = _gifts(bundle, shelf, menu)
    if given is not None:
        worth, spent = given
        saved = np.where(kind == TYPE["gift"], worth[incentive], saved)
        cost = np.where(kind == TYPE["gift"], spent[incentive], cost)
    set_cost = menu.cost[incentive]
    cost = np.where(set_cost >= 0, set_cost, cost)
    if menu.partner_share.any():
        cost = cost - _of_partner(menu, incentive, cost)
    return np.where(whole, price, left), saved, cost


def _of_partner(menu: Menu, incentive: Ints, cost: Ints) -> Ints:
    """The partner's part of a cost, rounded down: the floor must hold."""
    share = np.rint(menu.partner_share[incentive] * MILLION).astype(np.int64)
    return np.asarray(cost * share // MILLION, dtype=np.int64)


def meets_floor(
    shelf: Shelf, menu: Menu, incentive: Ints, product: Ints, deal: Deal, basket: Ints, floor_share: float
) -> Bools:
    """Whether the margin that is left is at least `floor_share` of what is paid.

    A product must bear its own incentive to the cent. What is given on the whole basket is set against an order of
    the least size it can be used on (its minimum order, else the customer's usual order), at the shop's mean margin;
    a product offered with it must bear its percentage too.
    """
    share = _exact(floor_share)
    paid, back = deal.final, deal.saved - deal.cost  # what a partner adds to the price paid
    some = np.flatnonzero(incentive)
    whole = some[menu.basket[incentive[some]]]
    if len(whole):
        paid, back = paid.copy(), back.copy()
        paid[whole] = final_price(deal.price[whole], menu.millionths[incentive[whole]])
        back[whole] = 0
    left = paid - shelf.unit_cost[product] + back
    bears = (paid > 0) & (left * share.denominator >= paid * share.numerator) | (product < 0)
    if len(whole):
        bears[whole] &= _carried(
            shelf, menu, incentive[whole], _rows_of(deal, whole), basket[whole], floor_share
        )
    return np.asarray(bears)


@cache
def _exact(share: float) -> Fraction:
    """The share as it was written: .05 is a twentieth."""
    return Fraction(str(share)).limit_denominator(MILLION)


def _rows_of(deal: Deal, rows: Ints) -> Deal:
    return Deal(*(getattr(deal, name)[rows] for name in Deal.__slots__))


def _carried(
    shelf: Shelf, menu: Menu, incentive: Ints, deal: Deal, basket: Ints, floor_share: float
) -> Bools:
    """Whether the smallest order an incentive on the whole basket can be used on bears it, at the mean margin."""
    least, millionths = menu.min_order[incentive], menu.millionths[incentive]
    order = np.maximum(np.where(least > 0, least, basket), deal.price)
    taken = np.where(millionths > 0, order - final_price(order, millionths), deal.saved)
    # a percentage of a smaller order costs less, unless the shop says what one use costs
    grows = (millionths > 0) & (menu.cost[incentive] < 0)
    cost = np.where(grows, taken - _of_partner(menu, incentive, taken), deal.cost)
    return np.asarray(order * shelf.margin_share - cost >= floor_share * (order - np.minimum(taken, order)))


def _gifts(bundle: Bundle, shelf: Shelf, menu: Menu) -> tuple[Ints, Ints] | None:
    """Price and unit cost of each menu row's gift; a gift the catalogue does not know is worth nothing."""
    if not any(menu.gift):
        return None
    rows = np.array([-1 if gift is None else bundle.product_row(gift) for gift in menu.gift])
    return shelf.price[rows], shelf.unit_cost[rows]
