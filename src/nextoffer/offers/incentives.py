"""Incentives and what they cost: final prices in exact minor units, and the margin floor."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.features.catalogue import Catalogue
from nextoffer.offers.choosing import Policy


def levels_of(policy: Policy) -> tuple[float, ...]:
    """Discounts win-back may choose from; without any configured, no discount at all."""
    return policy.levels or (0.0,)


def final_price(price: Ints, level: Floats) -> Ints:
    """Price after a percent discount, in minor units, half to even: the shop's tills round the same way."""
    return np.asarray(price - np.rint(price * level).astype(np.int64), dtype=np.int64)


def meets_floor(catalogue: Catalogue, product: Ints, level: Floats, floor_share: float) -> Bools:
    """Whether the margin that is left is at least `floor_share` of the final price."""
    final = final_price(catalogue.price[product], level)
    left = final - catalogue.unit_cost[product]
    # compared in whole minor units: 0.05 as a float must not decide over a cent
    return np.asarray((final > 0) & (left >= np.ceil(np.round(final * floor_share, 6))))
