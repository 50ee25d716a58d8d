"""Incentives and what they cost: final prices in exact minor units, and the margin floor."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.features.catalogue import Catalogue
from nextoffer.offers.choosing import Policy


def levels_of(policy: Policy) -> tuple[float, ...]:
    """Discounts win-back may choose from; without any configured, no discount at all."""
    return policy.levels or (0.0,)


_WHOLE = 1_000_000  # discounts are counted in millionths, so that no binary fraction decides over a cent


def final_price(price: Ints, level: Floats) -> Ints:
    """Price × (1 − level) in minor units, exact, half to even: the shop's tills round the same way."""
    kept = _WHOLE - np.rint(np.asarray(level) * _WHOLE).astype(np.int64)
    whole, rest = np.divmod(np.asarray(price, dtype=np.int64) * kept, _WHOLE)
    up = (2 * rest > _WHOLE) | ((2 * rest == _WHOLE) & (whole % 2 == 1))
    return np.asarray(whole + up, dtype=np.int64)


def meets_floor(catalogue: Catalogue, product: Ints, level: Floats, floor_share: float) -> Bools:
    """Whether the margin that is left is at least `floor_share` of the final price."""
    final = final_price(catalogue.price[product], level)
    left = final - catalogue.unit_cost[product]
    share = Fraction(str(floor_share)).limit_denominator(_WHOLE)
    return np.asarray((final > 0) & (left * share.denominator >= final * share.numerator))
