"""What the shop sells: families, price ladders, companions, and the prices of each week."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.simulation import words
from nextoffer.simulation.luck import Stream, lognormal, uniform
from nextoffer.simulation.settings import ShopSettings

DEPARTMENTS = len(words.DEPARTMENTS)
CLASS_SHARES = (0.35, 0.40, 0.25)  # thrifty, middling, generous
CLASS_TILT = (-1.0, 0.0, 1.0)
CLASS_ELASTICITY = (2.6, 1.6, 0.9)
LAUNCH_WEEKS = 10
STOCKOUT_SHARE = 0.01
BEFORE = -1000  # launch week of a product that was always there


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """P products in F families; products are sorted by family, then up its price ladder.

    Parameters
    ----------
    family : (P,) int32
    step : (P,) int32 rung on the family's ladder, 0 the cheapest
    z : (P,) place on the ladder in standard deviations
    price : (P,) int64 list price at the start, minor units
    popularity : (P,) weight within the family
    launch : (P,) int16 week of entry, `BEFORE` if always there
    companions, companion_q : (P, 2) product (−1 none) and chance per basket line
    number : (P,) int64 the number in the product id
    first : (F + 1,) int64 where each family's products start
    department, margin, cycle_weeks, return_p : (F,); a cycle of 0 never runs out
    family_cum : (F,) cumulated popularity shares of families
    refill_cum : (F,) the same, of refill families only
    usual_price : (3, F) mean price each price class pays in a family, minor units
    """

    family: Ints
    step: Ints
    z: Floats
    price: Ints
    popularity: Floats
    launch: Ints
    companions: Ints
    companion_q: Floats
    number: Ints
    first: Ints
    department: Ints
    margin: Floats
    cycle_weeks: Floats
    return_p: Floats
    family_cum: Floats
    refill_cum: Floats
    usual_price: Floats

    @property
    def size(self) -> int:
        """Number of products."""
        return len(self.family)


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One week's shop window.

    Parameters
    ----------
    price, cost : (P,) int64 minor units a unit is sold for, and costs
    available : (P,) False before a product's launch
    cum : (3 P,) cumulated choice weights, one run of P per price class
    """

    price: Ints
    cost: Ints
    available: Bools
    cum: npt.NDArray[np.float64]


def make_catalogue(settings: ShopSettings, seed: int) -> Catalogue:
    """The catalogue of a world."""
    sizes = _family_sizes(settings, seed)
    n_families, n_products = len(sizes), settings.products
    families, products = np.arange(n_families), np.arange(n_products)
    first = np.concatenate([[0], np.cumsum(sizes)])
    family = np.repeat(families, sizes).astype(np.int32)

    def of_family(stream: Stream) -> Floats:
        return uniform(seed, stream, 0, families)

    def of_product(stream: Stream) -> Floats:
        return uniform(seed, stream, 0, products)

    z = ndtri(of_product(Stream.PRODUCT_LADDER))
    z = z[np.lexsort((z, family))]
    level = lognormal(of_family(Stream.FAMILY_PRICE), settings.price_median, settings.price_spread)
    spread = lognormal(of_family(Stream.FAMILY_STEP), settings.ladder_step, settings.ladder_spread)
    popularity = lognormal(of_product(Stream.PRODUCT_POPULARITY), 1.0, settings.product_popularity)
    demand = lognormal(of_family(Stream.FAMILY_POPULARITY), 1.0, settings.family_popularity)
    demand *= sizes**settings.size_power
    runs_out = of_family(Stream.FAMILY_REFILL) < settings.refill_share
    if not runs_out.any():
        runs_out[0] = settings.refill_share > 0
    cycle = lognormal(of_family(Stream.FAMILY_CYCLE), settings.cycle_weeks, settings.cycle_spread)
    within = popularity / np.add.reduceat(popularity, first[:-1])[family] * demand[family]
    companions, companion_q = _companions(settings, seed, family, within)
    price = nine_ending(100 * level[family] * np.exp(spread[family] * z))
    chosen = popularity * np.exp(settings.class_tilt * np.array(CLASS_TILT)[:, None] * z)
    paid = np.add.reduceat(chosen * price, first[:-1], axis=1)
    return Catalogue(
        family=family,
        step=(products - first[family]).astype(np.int32),
        z=z,
        price=price,
        popularity=popularity,
        launch=_launches(settings, seed, first, of_product(Stream.PRODUCT_LAUNCH)),
        companions=companions,
        companion_q=companion_q,
        number=np.argsort(np.argsort(of_product(Stream.PRODUCT_NUMBER))) + 1,
        first=first,
        department=(families % DEPARTMENTS).astype(np.int16),
        margin=settings.margin_low
        + (settings.margin_high - settings.margin_low) * of_family(Stream.FAMILY_MARGIN),
        cycle_weeks=np.where(runs_out, cycle, 0.0),
        return_p=settings.return_base + settings.return_extra * of_family(Stream.FAMILY_RETURNS) ** 2,
        family_cum=_shares(demand),
        refill_cum=_shares(np.where(runs_out, demand, 0.0)),
        usual_price=paid / np.add.reduceat(chosen, first[:-1], axis=1),
    )


def shelf(settings: ShopSettings, catalogue: Catalogue, seed: int, week: int) -> Shelf:
    """Prices and choice weights of one week; weeks before the history have its first week's."""
    week = max(week, 0)
    price = list_price(settings, catalogue, week)
    cost = np.rint(price * (1.0 - catalogue.margin[catalogue.family])).astype(np.int64)
    depth = np.zeros(catalogue.size)
    if settings.price_changes:
        products = np.arange(catalogue.size)
        drawn = uniform(seed, Stream.PROMOTION, week // 2, products)
        on = np.flatnonzero(drawn < settings.promoted_share)
        depth[on] = 0.1 + 0.2 * uniform(seed, Stream.PROMOTION, week // 2, on, 1)
        price = price.copy()
        price[on] = nine_ending(price[on] * (1.0 - depth[on]))
    available = (catalogue.launch <= week) & ~sold_out(settings, catalogue, seed, week)
    fresh = available & (catalogue.launch > week - LAUNCH_WEEKS)
    weight = catalogue.popularity * available * np.where(fresh, settings.launch_boost, 1.0)
    promoted = np.flatnonzero(depth)
    cum, start = np.empty((len(CLASS_SHARES), catalogue.size)), 0.0
    for row, (tilt, elasticity) in enumerate(zip(CLASS_TILT, CLASS_ELASTICITY, strict=True)):
        wanted = weight * np.exp(settings.class_tilt * tilt * catalogue.z)
        wanted[promoted] *= (1.0 - depth[promoted]) ** -elasticity
        np.cumsum(wanted, out=cum[row])
        cum[row] += start
        start = float(cum[row, -1])
    return Shelf(price, cost, available, cum.ravel())


def sold_out(settings: ShopSettings, catalogue: Catalogue, seed: int, week: int) -> Bools:
    """(P,) products out of stock for the week; never the only ones of a family that were always there."""
    if not settings.stockouts or week < 0:
        return np.zeros(catalogue.size, dtype=bool)
    out: Bools = uniform(seed, Stream.STOCKOUT, week, np.arange(catalogue.size)) < STOCKOUT_SHARE
    always = np.add.reduceat((catalogue.launch == BEFORE).astype(np.int64), catalogue.first[:-1])
    out &= (catalogue.launch != BEFORE) | (always[catalogue.family] > 1)
    return out


def list_price(settings: ShopSettings, catalogue: Catalogue, week: int) -> Ints:
    """(P,) list prices of a week, minor units: three per cent up each half-year."""
    rises = week // 26 if settings.price_changes else 0
    return nine_ending(catalogue.price * 1.03**rises) if rises else catalogue.price


def nine_ending(minor: Floats) -> Ints:
    """The nearest price that ends in a nine, at least 0.19."""
    prices: Ints = np.maximum(np.rint((minor - 9.0) / 10.0).astype(np.int64) * 10 + 9, 19)
    return prices


def choose_family(cum: Floats, u: Floats) -> Ints:
    """Family of each draw, by popularity."""
    family: Ints = np.minimum(np.searchsorted(cum, u, side="right"), len(cum) - 1)
    return family


def choose_product(catalogue: Catalogue, window: Shelf, price_class: Ints, family: Ints, u: Floats) -> Ints:
    """Product of each draw within its family, as the price class of the customer leans."""
    base = price_class.astype(np.int64) * catalogue.size
    start, stop = base + catalogue.first[family], base + catalogue.first[family + 1]
    cum = window.cum
    low = np.where(start > 0, cum[start - 1], 0.0)
    high = cum[stop - 1]
    aim = np.minimum(low + u * (high - low), np.nextafter(high, 0.0))  # rounding must not leave the family
    place = np.searchsorted(cum, aim, side="right")
    product: Ints = np.clip(place, start, stop - 1) - base
    return product


def _family_sizes(settings: ShopSettings, seed: int) -> Ints:
    """Lognormal sizes that add up to the number of products, each at least 1: largest remainders."""
    count = max(2, round(settings.products / settings.family_size))
    drawn = lognormal(uniform(seed, Stream.FAMILY_SIZE, 0, np.arange(count)), 6.0, settings.family_spread)
    ideal = 1.0 + drawn / drawn.sum() * (settings.products - count)
    sizes: Ints = np.floor(ideal).astype(np.int64)
    short = settings.products - int(sizes.sum())
    sizes[np.argsort(sizes - ideal, kind="stable")[:short]] += 1
    return sizes


def _launches(settings: ShopSettings, seed: int, first: Ints, u: Floats) -> Ints:
    """Week of entry; one product of each family was always there, so that no family is ever empty."""
    if not settings.launches:
        return np.full(len(u), BEFORE, dtype=np.int16)
    week = np.floor(u / settings.launch_share * settings.weeks) if settings.launch_share else u * 0 + BEFORE
    launch = np.where(u < settings.launch_share, week, BEFORE).astype(np.int16)
    family = np.repeat(np.arange(len(first) - 1), np.diff(first))
    eldest = np.lexsort((-u, family))[first[:-1]]  # the latest draw is the one surest not to be a launch
    launch[eldest] = BEFORE
    return launch


def _companions(settings: ShopSettings, seed: int, family: Ints, weight: Floats) -> tuple[Ints, Floats]:
    """Up to two companions of each product, in other families, popular ones more often."""
    cum = np.cumsum(np.sqrt(weight))
    products = np.arange(len(family))
    partner = np.empty((len(family), 2), dtype=np.int32)
    chance = np.zeros((len(family), 2))
    for slot in range(2):
        u = [uniform(seed, Stream.PRODUCT_COMPANION, 0, products, 3 * slot + part) for part in range(3)]
        chosen = np.minimum(np.searchsorted(cum, u[0] * cum[-1], side="right"), len(family) - 1)
        has = (u[1] < settings.companion_share) & (family[chosen] != family)
        partner[:, slot] = np.where(has, chosen, -1)
        q = settings.companion_low + (settings.companion_high - settings.companion_low) * u[2]
        chance[:, slot] = np.where(has, q, 0.0)
    same = (partner[:, 0] == partner[:, 1]) & (partner[:, 0] >= 0)
    partner[same, 1], chance[same, 1] = -1, 0.0
    return partner, chance


def _shares(weight: Floats) -> Floats:
    total = weight.sum()
    return np.cumsum(weight) / (total if total > 0 else 1.0)
