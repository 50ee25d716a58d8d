"""Chance without state: every random number is a pure function of where it is used.

`uniform(seed, stream, week, customer, slot)` hashes its arguments with the finaliser of splitmix64, so a draw
depends on no chunk, order or thread, and the same shop under two policies has the same luck. Leave `week` at
0 and the draw is a lasting trait.

References
----------
Steele, Lea & Flood (2014), Fast splittable pseudorandom number generators, OOPSLA.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincinv, ndtri

from nextoffer.domain.arrays import Floats, Ints

_MASK = (1 << 64) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_CUSTOMER = 0xD1342543DE82EF95
_SLOT = 0xAF251AF3B0F025B5


class Stream(IntEnum):
    """What a draw is for. Never reuse or renumber one: a change is a new shop version."""

    # the catalogue: "customer" is the family or product
    FAMILY_SIZE = 1
    FAMILY_PRICE = 2
    FAMILY_STEP = 3
    FAMILY_MARGIN = 4
    FAMILY_POPULARITY = 5
    FAMILY_REFILL = 6
    FAMILY_CYCLE = 7
    FAMILY_RETURNS = 8
    FAMILY_NAME = 9
    PRODUCT_LADDER = 10
    PRODUCT_POPULARITY = 11
    PRODUCT_LAUNCH = 12
    PRODUCT_COMPANION = 13
    PRODUCT_NUMBER = 14
    PRODUCT_STOCK = 15
    PROMOTION = 16
    PRODUCT_NAME = 17
    # lasting traits of customers
    RATE = 30
    SHAPE = 31
    LAPSE = 32
    JOINING = 33
    BASKET = 34
    PRICE_CLASS = 35
    LOYALTY = 36
    TASTE_FAMILY = 37
    TASTE_PRODUCT = 38
    REFILLS = 39
    RESPONSE = 40
    DISCOUNT = 41
    OPENING = 42
    PULL = 43
    SUBSCRIBED = 44
    PERSON = 45
    SHARED = 46
    START = 47
    # what happens
    ORDER = 60
    LAPSING = 61
    MOMENT = 62
    SIZE = 63
    PERSONAL = 64
    TASTE_SLOT = 65
    FAMILY = 66
    LOYAL = 67
    PRODUCT = 68
    COMPANION = 69
    QUANTITY = 70
    REFILL_JITTER = 71
    ELSEWHERE = 72
    RETURN = 73
    RETURN_DAY = 74
    GUEST = 75
    PARTNER = 76
    SESSION = 77
    SESSION_EVENT = 78
    # offers
    OPEN = 90
    OPEN_MOMENT = 91
    MOVED = 92
    OFFER_LINE = 93
    REDEEM = 94
    UNSUBSCRIBE = 95
    OFFER_QUANTITY = 96
    INCENTIVE_LINE = 97
    DELAYED = 98
    CLICK = 99
    PASS = 100
    PAST_SCORE = 101
    PAST_OFFER = 102
    POLICY = 103
    STOCKOUT = 104
    ERA = 105
    WORLD = 106
    SPELL = 107
    # after the fact
    DIRT = 120


def uniform(
    seed: int, stream: Stream, week: int, customer: Ints | int, slot: Ints | int = 0
) -> npt.NDArray[np.float64]:
    """Numbers uniform on (0, 1), 53 bits each; `customer` and `slot` broadcast and are not negative."""
    key = _mix_int(_mix_int(_mix_int(seed) + int(stream) * _GOLDEN) + week * _GOLDEN)
    with np.errstate(over="ignore"):  # wrapping round is what a hash does
        bits = np.asarray(customer).astype(np.uint64) * np.uint64(_CUSTOMER)
        bits = np.atleast_1d(bits + np.asarray(slot).astype(np.uint64) * np.uint64(_SLOT))
        bits += np.uint64(key)
        bits ^= bits >> np.uint64(30)
        bits *= np.uint64(0xBF58476D1CE4E5B9)
        bits ^= bits >> np.uint64(27)
        bits *= np.uint64(0x94D049BB133111EB)
        bits ^= bits >> np.uint64(31)
    bits >>= np.uint64(11)
    return (bits.astype(np.float64) + 0.5) * 2.0**-53


def _mix_int(value: int) -> int:
    value = (value + _GOLDEN) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def gamma(u: Floats, shape: float, mean: float) -> Floats:
    """Gamma quantiles, by shape and mean."""
    quantiles: Floats = gammaincinv(shape, u) * (mean / shape)
    return quantiles


def lognormal(u: Floats, median: float, sd: float) -> Floats:
    """Lognormal quantiles, by median and standard deviation of the logarithm."""
    quantiles: Floats = median * np.exp(sd * ndtri(u))
    return quantiles


def pick(u: Floats, shares: tuple[float, ...]) -> Ints:
    """Index of the share each draw falls in; the shares add up to 1."""
    return np.searchsorted(np.cumsum(shares)[:-1], u, side="right")
