"""Who the customers are: lasting traits, each a function of the world's seed and the customer's number."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from scipy.special import ndtr, ndtri

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.simulation.catalogue import (
    BEFORE,
    CLASS_SHARES,
    Catalogue,
    choose_family,
    choose_product,
    shelf,
)
from nextoffer.simulation.luck import Stream, gamma, lognormal, pick, uniform
from nextoffer.simulation.settings import ShopSettings

SLOTS = 4  # refills a customer can have
SLOT_SHARES = (0.30, 0.25, 0.20, 0.15, 0.10)
GUEST = 1 << 40  # guests are people of their own, numbered from here
PARTNER = 1 << 41  # the second person of a shared account
SESSION = 1 << 42  # sessions have luck of their own
LEARNABLE = (0.5, 0.35)  # correlation of response with basket size and with opening
DISCOUNT_BY_CLASS = np.array([1.5, 0.9, 0.5])
TYPES = ("put off", "lost cause", "persuadable")
TYPE_SHARES = {False: (0.05, 0.35, 0.60), True: (0.40, 0.20, 0.40)}  # by the setting `harmful`
MEMBERS = 0.6  # share of customers in the loyalty programme
PASS_TAKERS = 0.2  # share of customers who may hold a pass
NO_MEMBER = -32_000
ERA = 1 << 44  # with `drift`, a customer's later tastes are those of another number
ERA_WEEKS = 50


class Rows:
    """Mixin of frozen dataclasses whose fields are arrays with one row per customer."""

    __slots__ = ()

    def take(self, rows: Ints | slice) -> Self:
        """Copies of the rows chosen."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        return type(self)(*(np.array(getattr(self, name)[rows]) for name in names))

    @classmethod
    def concat(cls, parts: list[Self]) -> Self:
        """All rows of several parts, in the order given."""
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True, slots=True, eq=False)
class Tastes(Rows):
    """What shapes a basket: the customer's number, lines of a typical order, price class, loyalty."""

    customer: Ints
    lines: Floats
    price_class: Ints
    loyalty: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Customers(Rows):
    """Lasting traits of n customers.

    Parameters
    ----------
    customer : (n,) int64 number
    rate, lapse : (n,) orders a week while active; chance a week of lapsing
    regular : (n,) Erlang-2 gaps, else exponential
    joins : (n,) int32 week of the first order, `BEFORE` if before the history
    refill : (n, 4) product of each refill slot, −1 none; `cycle` (n, 4) weeks one unit lasts
    response, discount : (n,) ρ and σ, how messages and price cuts work
    opening, pull : (n,) chance of opening a message; share of caused orders that are only moved
    born : (n,) int32 birthday, days since 1970
    member_since : (n,) int16 week of joining the loyalty programme, `NO_MEMBER` if never
    passes : (n,) int32 product of the pass they may hold, −1 none
    """

    customer: Ints
    lines: Floats
    price_class: Ints
    loyalty: Floats
    rate: Floats
    lapse: Floats
    regular: Bools
    joins: Ints
    refill: Ints
    cycle: Floats
    response: Floats
    type: Ints
    discount: Floats
    opening: Floats
    pull: Floats
    born: Ints
    member_since: Ints
    passes: Ints

    def tastes(self, rows: Ints) -> Tastes:
        """What shapes the baskets of the customers at `rows`."""
        return Tastes(self.customer[rows], self.lines[rows], self.price_class[rows], self.loyalty[rows])


def make_customers(settings: ShopSettings, catalogue: Catalogue, seed: int, numbers: Ints) -> Customers:
    """Traits of the customers with these numbers."""

    def drawn(stream: Stream, slot: int = 0) -> Floats:
        return uniform(seed, stream, 0, numbers, slot)

    taste = make_tastes(settings, seed, numbers)
    opening = drawn(Stream.OPENING)
    private = np.sqrt(1.0 - LEARNABLE[0] ** 2 - LEARNABLE[1] ** 2)
    size_normal = np.log(taste.lines / settings.basket_median) / settings.basket_spread
    normal = LEARNABLE[0] * size_normal + LEARNABLE[1] * ndtri(opening)
    response, kind = _response(ndtr(normal + private * ndtri(drawn(Stream.RESPONSE))), settings.harmful)
    joins = _joins(settings, drawn(Stream.JOINING))
    first_week = np.where(joins == BEFORE, -weeks_before(seed, numbers), joins)
    refill, cycle = _refills(settings, catalogue, seed, taste)
    return Customers(
        customer=numbers,
        lines=taste.lines,
        price_class=taste.price_class,
        loyalty=taste.loyalty,
        rate=gamma(drawn(Stream.RATE), settings.rate_shape, settings.rate),
        lapse=gamma(drawn(Stream.LAPSE), settings.lapse_shape, settings.lapse),
        regular=drawn(Stream.SHAPE) < settings.regular_share,
        joins=joins,
        refill=refill,
        cycle=cycle,
        response=response * settings.response,
        type=kind,
        discount=gamma(drawn(Stream.DISCOUNT), 1.5, settings.discount_response or 1e-12)
        * DISCOUNT_BY_CLASS[taste.price_class],
        opening=0.12 + 0.5 * opening**1.3,
        pull=np.minimum((0.15 + 0.40 * drawn(Stream.PULL)) * settings.pull_forward, 1.0),
        born=np.floor((1950 - 1970 + 55 * drawn(Stream.PERSON, 3)) * 365.25).astype(np.int32),
        member_since=np.where(drawn(Stream.PERSON, 2) < MEMBERS, first_week, NO_MEMBER).astype(np.int16),
        passes=_passes(settings, catalogue, seed, taste),
    )


def make_tastes(settings: ShopSettings, seed: int, numbers: Ints) -> Tastes:
    """What shapes the baskets of people with these numbers (guests and partners too)."""
    loyalty = uniform(seed, Stream.LOYALTY, 0, numbers)
    return Tastes(
        customer=numbers,
        lines=lognormal(
            uniform(seed, Stream.BASKET, 0, numbers), settings.basket_median, settings.basket_spread
        ),
        price_class=pick(uniform(seed, Stream.PRICE_CLASS, 0, numbers), CLASS_SHARES),
        loyalty=settings.loyalty_low + (settings.loyalty_high - settings.loyalty_low) * loyalty,
    )


def taste_family(catalogue: Catalogue, seed: int, numbers: Ints, slot: Ints) -> Ints:
    """The family in a slot of a person's own families."""
    return choose_family(catalogue.family_cum, uniform(seed, Stream.TASTE_FAMILY, 0, numbers, slot))


def weeks_before(seed: int, numbers: Ints) -> Ints:
    """How many weeks before the history those who came before it placed their first order."""
    return np.floor(1 + 156 * uniform(seed, Stream.PERSON, 0, numbers, 8)).astype(np.int64)


def liking(settings: ShopSettings, seed: int, numbers: Ints, week: int) -> Ints:
    """Whose tastes people with these numbers have in a week: with `drift` 2 % a week begin new ones."""
    if not settings.drift:
        return numbers
    era = np.floor(max(week, 0) / ERA_WEEKS + uniform(seed, Stream.ERA, 0, numbers)).astype(np.int64)
    return numbers + ERA * era


def discount_now(settings: ShopSettings, customers: Customers, row: Ints, week: int) -> Floats:
    """σ of some customers; with `drift` it falls soon after the history."""
    fallen = settings.drift and week >= settings.weeks + 4
    return customers.discount[row] * (0.6 if fallen else 1.0)


def _joins(settings: ShopSettings, u: Floats) -> Ints:
    later = (u - settings.joined_before) / max(1.0 - settings.joined_before, 1e-9)
    week = np.floor(later * (settings.weeks + settings.joining_weeks))
    return np.where(u < settings.joined_before, BEFORE, week).astype(np.int32)


def _response(u: Floats, harmful: bool) -> tuple[Floats, Ints]:
    """ρ and its type: 5 % put off by mail, 35 % lost causes, 60 % persuadable to a varying degree."""
    shares = TYPE_SHARES[harmful]
    kind = pick(u, shares)
    persuadable = gamma(np.clip((u - 1.0 + shares[2]) / shares[2], 1e-9, 1 - 1e-9), 1.2, 1.45)
    return np.choose(kind, [np.full_like(u, -0.4), np.full_like(u, 0.05), persuadable]), kind


def _refills(settings: ShopSettings, catalogue: Catalogue, seed: int, taste: Tastes) -> tuple[Ints, Floats]:
    """Products that run out, and how long one lasts in this household."""
    numbers = taste.customer
    count = pick(uniform(seed, Stream.REFILLS, 0, numbers), SLOT_SHARES)
    window = shelf(settings, catalogue, seed, -1)
    product = np.full((len(numbers), SLOTS), -1, dtype=np.int32)
    cycle = np.zeros((len(numbers), SLOTS))
    if catalogue.refill_cum[-1] <= 0:
        return product, cycle
    for slot in range(SLOTS):
        u = [uniform(seed, Stream.REFILLS, 0, numbers, 10 * (slot + 1) + part) for part in range(3)]
        family = choose_family(catalogue.refill_cum, u[0])
        chosen = choose_product(catalogue, window, taste.price_class, family, u[1])
        taken = (product[:, :slot] == chosen[:, None]).any(axis=1)
        has = (count > slot) & ~taken
        product[:, slot] = np.where(has, chosen, -1)
        cycle[:, slot] = np.where(
            has, lognormal(u[2], 1.0, settings.refill_spread) * catalogue.cycle_weeks[family], 0.0
        )
    return product, cycle


def _passes(settings: ShopSettings, catalogue: Catalogue, seed: int, taste: Tastes) -> Ints:
    """The product of the pass a customer may hold: a usual one of their dearest family; −1 for most."""
    numbers = taste.customer
    if not settings.subscriptions:
        return np.full(len(numbers), -1, dtype=np.int32)
    family = taste_family(catalogue, seed, numbers, 0 * numbers)
    usual = uniform(seed, Stream.TASTE_PRODUCT, 0, numbers, family)
    product = choose_product(
        catalogue, shelf(settings, catalogue, seed, -1), taste.price_class, family, usual
    )
    holds = uniform(seed, Stream.PASS, 0, numbers) < PASS_TAKERS
    return np.where(holds, product, -1).astype(np.int32)
