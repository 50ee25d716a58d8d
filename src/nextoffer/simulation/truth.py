"""The visible tables beside the orders, and the truth about them, written while it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.simulation import columns, words
from nextoffer.simulation.baskets import World
from nextoffer.simulation.catalogue import BEFORE, CLASS_ELASTICITY, Catalogue, list_price, sold_out
from nextoffer.simulation.columns import DAY
from nextoffer.simulation.customers import NO_MEMBER, TYPES, Customers, taste_family, weeks_before
from nextoffer.simulation.life import BY_OFFER, NEVER, State
from nextoffer.simulation.luck import Stream, pick, uniform
from nextoffer.simulation.occasions import points_expire
from nextoffer.simulation.sales import order_moments, week_start, week_starts


def product_table(world: World, week: int | None = None) -> pa.Table:
    """The shop's products as it would list them at the end of the history, or at the start of a week."""
    settings, catalogue, seed = world.settings, world.catalogue, world.world_seed
    family, products = catalogue.family, np.arange(catalogue.size)
    numbers = columns.product_ids(catalogue, products)
    price = list_price(settings, catalogue, settings.weeks - 1 if week is None else week)
    stock = np.floor(5 + 200 * uniform(seed, Stream.PRODUCT_STOCK, 0, products))
    tracked = uniform(seed, Stream.PRODUCT_STOCK, 0, products, 1) < 0.7
    out = sold_out(settings, catalogue, seed, settings.weeks if week is None else week)
    stock, tracked = np.where(out, 0.0, stock), tracked | out
    brand = pick(uniform(seed, Stream.PRODUCT_NAME, 0, family, catalogue.step % 3), _even(len(words.BRANDS)))
    told = (catalogue.cycle_weeks > 0) & (
        uniform(seed, Stream.FAMILY_CYCLE, 0, np.arange(len(catalogue.margin)), 1) < 0.6
    )
    table = pa.table(
        {
            "product_id": numbers,
            "title": titles(catalogue, seed),
            "category": _categories(catalogue),
            "brand": pa.array(words.BRANDS).take(pa.array(brand)),
            "price": columns.money(price),
            "unit_cost": columns.money(np.rint(price * (1 - catalogue.margin[family])).astype(np.int64)),
            "url": _joined("https://shop.example/products/", numbers),
            "image_url": _joined("https://shop.example/images/", numbers, ".jpg"),
            "stock": pa.array(stock, mask=~tracked),
            "repeatable": pa.array(catalogue.cycle_weeks[family] > 0),
            "shelf_life_days": pa.array(np.rint(7 * catalogue.cycle_weeks[family]), mask=~told[family]),
            "added_at": columns.moments(_launched(world)),
        }
    )
    return table.take(pa.array(np.argsort(catalogue.number)))


def titles(catalogue: Catalogue, seed: int) -> pa.Array:
    """Names a shopper would understand: family, variant, and a size that grows up the ladder."""
    family = catalogue.family
    members = np.diff(catalogue.first)[family]
    sizes = [size for pack, _ in words.DEPARTMENTS.values() for size in pack]
    packs = len(sizes) // len(words.DEPARTMENTS)
    band = catalogue.step * packs // members
    size = catalogue.department[family] * packs + band
    place = catalogue.step - -(-band * members // packs)  # place within the size band
    start = np.floor(uniform(seed, Stream.FAMILY_NAME, 0, family) * len(words.VARIANTS)).astype(np.int64)
    variant = (start + place) % len(words.VARIANTS)
    suffix = np.minimum(place // len(words.VARIANTS), len(words.SUFFIXES) - 1)
    return pc.binary_join_element_wise(
        pa.array(family_names(len(catalogue.margin))).take(pa.array(family)),
        pc.binary_join_element_wise(
            pa.array(words.VARIANTS).take(pa.array(variant)),
            pa.array(words.SUFFIXES).take(pa.array(suffix)),
            "",
        ),
        pa.array(sizes).take(pa.array(size)),
        " ",
    )


def family_names(count: int) -> list[str]:
    """Names of families 0, 1, …: departments in turn, plain nouns first, then finer kinds of them."""
    nouns = [text.split(";") for _, text in words.DEPARTMENTS.values()]
    names = []
    for family in range(count):
        department, turn = family % len(nouns), family // len(nouns)
        noun = nouns[department][turn % len(nouns[department])]
        kind, again = divmod(turn // len(nouns[department]), 1)[0], ""
        if kind >= len(words.QUALIFIERS):
            again = f" {kind // len(words.QUALIFIERS) + 1}"
        qualifier = words.QUALIFIERS[kind % len(words.QUALIFIERS)]
        name = f"{qualifier} {noun[0].lower()}{noun[1:]}" if qualifier else noun
        names.append(name + again)
    return names


def customer_table(world: World, customers: Customers, state: State, week: int) -> pa.Table:
    """What the shop knows, at the start of a week, of those of these customers who have joined by then."""
    settings, seed = world.settings, world.world_seed
    joined = customers.joins < week
    rows, numbers = np.flatnonzero(joined), customers.customer[joined]

    def drawn(slot: int) -> Floats:
        return uniform(seed, Stream.PERSON, 0, numbers, slot)

    russian = drawn(0) < 0.08
    names = words.FIRST_NAMES + words.FIRST_NAMES_RU
    english = len(words.FIRST_NAMES)
    name = np.floor(drawn(1) * np.where(russian, len(names) - english, english)).astype(np.int64)
    name += np.where(russian, english, 0)
    member = customers.member_since[rows] > NO_MEMBER
    first = _first_order(world, customers, rows)
    customer_ids = columns.customer_ids(settings, numbers)
    phone = columns.ids("+4479", np.floor(1e8 * drawn(4)).astype(np.int64), 8)
    return pa.table(
        {
            "customer_id": customer_ids,
            "email": _joined("", pc.utf8_lower(customer_ids), "@example.com"),
            "phone": pc.if_else(pa.array(drawn(5) < 0.5), phone, pa.scalar(None, pa.string())),
            "first_name": pa.array(names).take(pa.array(name)),
            "birth_date": pa.array(customers.born[rows], mask=drawn(6) > 0.5).cast(pa.date32()),
            "joined_at": pc.if_else(pa.array(member), columns.moments(first), None),
            "programme": pc.if_else(pa.array(member), words.PROGRAMME, None),
            "points_balance": pa.array(state.points[rows].astype(np.int64), mask=~member),
            "points_expire_at": pc.if_else(
                pa.array(member),
                columns.moments(week_starts(world, points_expire(customers.member_since[rows], week))),
                None,
            ),
            "locale": pc.if_else(pa.array(russian), "ru", "en"),
            "consent_email": pa.array(state.subscribed[rows]),
            "consent_push": pa.array(drawn(7) < 0.25),
        }
    )


def write_truth_of_products(world: World, folder: Path) -> None:
    """truth/products.parquet and truth/complements.parquet."""
    catalogue = world.catalogue
    family, products = catalogue.family, np.arange(catalogue.size)
    numbers = columns.product_ids(catalogue, products)
    cycle = catalogue.cycle_weeks[family]
    table = pa.table(
        {
            "product_id": numbers,
            "family_id": pa.array(family),
            "ladder_step": pa.array(catalogue.step),
            "z": pa.array(catalogue.z),
            "elasticity_by_class": pa.array([list(CLASS_ELASTICITY)]).take(pa.array(products * 0)),
            "margin": pa.array(catalogue.margin[family]),
            "cycle_days": pa.array(7 * cycle, mask=cycle == 0),
            "return_probability": pa.array(catalogue.return_p[family]),
            "launched_at": columns.moments(_launched(world)),
        }
    )
    columns.write_table(folder / "products.parquet", table)
    row, slot = np.nonzero(catalogue.companions >= 0)
    pairs = pa.table(
        {
            "product_id": numbers.take(pa.array(row)),
            "companion_id": numbers.take(pa.array(catalogue.companions[row, slot])),
            "q": pa.array(catalogue.companion_q[row, slot]),
        }
    )
    columns.write_table(folder / "complements.parquet", pairs)


def customer_truth(world: World, customers: Customers) -> pa.Table:
    """What these customers are really like, those to come included."""
    slots = np.arange(world.settings.taste_families)
    own = taste_family(world.catalogue, world.world_seed, customers.customer[:, None], slots[None, :]).astype(
        np.int32
    )
    width = len(slots)
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, customers.customer),
            "joins_week": pa.array(customers.joins, mask=customers.joins == BEFORE),
            "order_rate": pa.array(customers.rate),
            "gap_shape": pa.array(np.where(customers.regular, 2, 1).astype(np.int8)),
            "lapse_rate": pa.array(customers.lapse),
            "response": pa.array(customers.response),
            "type": pa.array(TYPES).take(pa.array(customers.type)),
            "discount_response": pa.array(customers.discount),
            "price_class": pa.array(customers.price_class.astype(np.int8)),
            "opening": pa.array(customers.opening),
            "pull_forward": pa.array(customers.pull),
            "loyalty": pa.array(customers.loyalty),
            "basket_lines": pa.array(customers.lines),
            "taste_families": pa.ListArray.from_arrays(
                pa.array(np.arange(0, width * len(own) + 1, width, dtype=np.int32)), pa.array(own.ravel())
            ),
        }
    )


def refill_truth(world: World, customers: Customers, state: State) -> pa.Table:
    """Planted cycles, the next due moment, and the interval the shop could see.

    A quarter of the needs the customer does not meet here in a week are met elsewhere, so the visible
    interval is longer than the cycle. It is null before a second visible purchase.
    """
    row, slot = np.nonzero((customers.refill >= 0) & (state.due < NEVER))
    seen = state.refill_count[row, slot]
    span = 7.0 * (state.refill_last[row, slot] - state.refill_first[row, slot])
    due = week_start(world, 0) + (state.due[row, slot].astype(np.float64) * 7 * DAY).astype(np.int64)
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, customers.customer[row]),
            "slot": pa.array(slot.astype(np.int8)),
            "product_id": columns.product_ids(world.catalogue, customers.refill[row, slot]),
            "cycle_days": pa.array(7 * customers.cycle[row, slot]),
            "next_due_at": columns.moments(due),
            "visible_purchases": pa.array(seen),
            "visible_interval_days": pa.array(span / np.maximum(seen - 1, 1), mask=seen < 2),
        }
    )


def lapse_truth(world: World, lapsed: Ints, returned: Ints) -> pa.Table:
    """Spells of silence: when each began, when and why it ended.

    `lapsed` : (l, 2) week and customer number; `returned` : (r, 3) the same and the cause.
    """
    lapsed = lapsed[np.lexsort((lapsed[:, 0], lapsed[:, 1]))]
    returned = returned[np.lexsort((returned[:, 0], returned[:, 1]))]
    week, number = lapsed.T
    spell = np.arange(len(number)) - np.searchsorted(number, number)
    horizon = 1 << 20
    ends = np.searchsorted(returned[:, 1] * horizon + returned[:, 0], number * horizon + week, side="right")
    ends = np.minimum(ends, max(len(returned) - 1, 0))
    back = np.zeros(len(number), dtype=bool)
    until, cause = np.zeros(len(number), dtype=np.int64), np.zeros(len(number), dtype=np.int64)
    if len(returned):
        next_week = np.concatenate([week[1:], [horizon]])
        next_week[:-1][number[1:] != number[:-1]] = horizon
        back = (returned[ends, 1] == number) & (returned[ends, 0] > week) & (returned[ends, 0] <= next_week)
        until, cause = returned[ends, 0], returned[ends, 2]
    causes = pa.array(["natural", "offer"]).take(pa.array((cause == BY_OFFER).astype(np.int8)))
    return pa.table(
        {
            "customer_id": columns.customer_ids(world.settings, number),
            "spell": pa.array(spell.astype(np.int32)),
            "lapsed_at": columns.moments(week_start(world, 0) + (week + 1) * 7 * DAY),
            "returned_at": pc.if_else(
                pa.array(back), columns.moments(week_start(world, 0) + until * 7 * DAY), None
            ),
            "cause": pc.if_else(pa.array(back), causes, None),
        }
    )


def _first_order(world: World, customers: Customers, rows: Ints) -> Ints:
    """Moment of the first order; somewhere in the three years before for those who came before."""
    numbers, joins = customers.customer[rows], customers.joins[rows]
    moment = order_moments(world, 0, numbers) - weeks_before(world.world_seed, numbers) * 7 * DAY
    for week in np.unique(joins[joins >= 0]):
        now = joins == week
        moment[now] = order_moments(world, int(week), numbers[now])
    return moment


def _launched(world: World) -> Ints:
    """Moment each product entered the range; a year before the history if it was always there."""
    launch = np.where(world.catalogue.launch == BEFORE, -52, world.catalogue.launch).astype(np.int64)
    return week_start(world, 0) + launch * 7 * DAY


def _categories(catalogue: Catalogue) -> pa.Array:
    names = family_names(len(catalogue.margin))
    departments = list(words.DEPARTMENTS)
    paths = [f"{departments[catalogue.department[f]]} > {name}" for f, name in enumerate(names)]
    return pa.array(paths).take(pa.array(catalogue.family))


def _joined(before: str, texts: pa.Array, after: str = "") -> pa.Array:
    return pc.binary_join_element_wise(before, texts, after, "")


def _even(count: int) -> tuple[float, ...]:
    return (1.0 / count,) * count
