"""What a simple policy can work out about customers from the visible tables: columns, one row a customer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Floats, Ints, first_of_each
from nextoffer.simulation.visible import SeenLines, Visible

PAIRED = 8  # lines of an order that are looked at for companions
ENOUGH = 4  # joint orders two companions have at least


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """n customers the shop knows; −1 where there is no such product.

    Parameters
    ----------
    customer : (n,) number; `consent` may be e-mailed
    orders, silent, tenure : (n,) orders so far; weeks since the last and since the first
    spend, margin, lines : (n,) of the mean order, currency units
    gap, gap_cv : (n,) mean weeks between orders and their coefficient of variation
    price : (n,) log of the mean price paid over the mean price of the product's category
    due, due_ratio, due_gap : (n,) product most overdue; silence over its usual gap; that gap, weeks
    companion : (n,) best companion of the last order; `favourite` of the category bought most, not owned
    step : (n,) the next dearer product of the category of the last purchase
    category_share : (n,) share of lines in the favourite category
    birthday, carted, pass_product : (n,) within a fortnight; product in the cart; product of a pass about to end
    points : (n,) points that expire within a fortnight
    """

    customer: Ints
    consent: Bools
    orders: Floats
    silent: Floats
    tenure: Floats
    spend: Floats
    margin: Floats
    lines: Floats
    gap: Floats
    gap_cv: Floats
    price: Floats
    due: Ints
    due_ratio: Floats
    due_gap: Floats
    companion: Ints
    favourite: Ints
    step: Ints
    category_share: Floats
    birthday: Bools
    carted: Ints
    pass_product: Ints
    points: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Assortment:
    """Products as the history shows them: category code, price, margin, popularity, best companion."""

    category: Ints
    price: Floats
    margin: Floats
    sold: Floats
    companion: Ints
    repeatable: Bools
    in_category: Ints  # products by category, the most sold first
    first: Ints  # where each category begins


def know(seen: Visible) -> Known:
    """The columns of every customer the shop knows."""
    shelf = seen.once("assortment", lambda: _assortment(seen))
    lines = _bought(seen.lines())
    customer = np.asarray(pc.utf8_slice_codeunits(seen.customers["customer_id"], 1).cast(pa.int64()))
    n = int(max(customer.max(initial=-1), lines.customer.max(initial=-1))) + 1
    orders = _order_columns(lines, n, seen.week)
    due, due_ratio, due_gap = _due(lines, shelf, n, seen.week)
    last = np.full(n, -1, dtype=np.int64)
    last[lines.customer] = lines.product  # lines are by time: the last one stays
    category, share = _favourite(lines, shelf, n)
    dates = _dates(seen, n, customer)
    columns = {
        **orders,
        "price": _price_level(lines, shelf, n),
        "due": due,
        "due_ratio": due_ratio,
        "due_gap": due_gap,
        "companion": np.where(last >= 0, shelf.companion[last], -1),
        "favourite": _not_owned(lines, shelf, category),
        "step": _dearer(shelf, last),
        "category_share": share,
        **dates,
    }
    consent = np.asarray(seen.customers["consent_email"].to_numpy(zero_copy_only=False), dtype=bool)
    return Known(customer, consent, **{name: column[customer] for name, column in columns.items()})


def _bought(lines: SeenLines) -> SeenLines:
    """Sold lines by time, returns left out."""
    rows = np.flatnonzero(lines.quantity > 0)
    rows = rows[np.argsort(lines.week[rows], kind="stable")]
    return SeenLines(*(getattr(lines, name)[rows] for name in SeenLines.__slots__))


def _order_columns(lines: SeenLines, n: int, week: int) -> dict[str, Floats]:
    _, first = np.unique(lines.order, return_index=True)
    who, at = lines.customer[first], lines.week[first]
    sequence = np.lexsort((at, who))
    who, at = who[sequence], at[sequence]
    count = np.bincount(who, minlength=n).astype(np.float64)
    some = np.maximum(count, 1.0)
    begin, end = np.full(n, float(week)), np.zeros(n)
    begin[who[::-1]], end[who] = at[::-1], at
    gaps, same = np.diff(at), np.diff(who) == 0
    total = np.bincount(who[1:][same], gaps[same], minlength=n)
    squares = np.bincount(who[1:][same], gaps[same] ** 2, minlength=n)
    between = np.maximum(count - 1.0, 1.0)
    mean = total / between
    spread = np.sqrt(np.maximum(squares / between - mean**2, 0.0))
    return {
        "orders": count,
        "silent": np.where(count > 0, week - end, 200.0),
        "tenure": week - begin,
        "spend": np.bincount(lines.customer, lines.quantity * lines.price, minlength=n) / some,
        "margin": np.bincount(lines.customer, lines.quantity * (lines.price - lines.cost), minlength=n)
        / some,
        "lines": np.bincount(lines.customer, minlength=n) / some,
        "gap": np.where(count > 1, mean, np.nan),
        "gap_cv": np.where(count > 2, spread / np.maximum(mean, 1e-9), np.nan),
    }


def _price_level(lines: SeenLines, shelf: Assortment, n: int) -> Floats:
    per_category = np.maximum(np.bincount(shelf.category), 1)
    usual = np.bincount(shelf.category, np.log(shelf.price)) / per_category
    apart = np.log(np.maximum(lines.price, 0.01)) - usual[shelf.category[lines.product]]
    count = np.bincount(lines.customer, minlength=n)
    return np.where(count > 0, np.bincount(lines.customer, apart, minlength=n) / np.maximum(count, 1), np.nan)


def _due(lines: SeenLines, shelf: Assortment, n: int, week: int) -> tuple[Ints, Floats, Floats]:
    """Of products bought in two orders or more, the one whose usual gap is most overdue."""
    size = len(shelf.category)
    rows = np.flatnonzero(shelf.repeatable[lines.product])
    key = lines.customer[rows] * size + lines.product[rows]
    sequence = np.argsort(key, kind="stable")
    key, at = key[sequence], lines.week[rows][sequence]
    start = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]])) if len(key) else np.zeros(0, int)
    count = np.diff(np.append(start, len(key)))
    often = count >= 2
    start, count = start[often], count[often]
    first, last = at[start], at[start + count - 1]
    gap = np.maximum((last - first) / (count - 1), 0.5)
    ratio = (week + 0.5 - last) / gap
    who, product = key[start] // size, key[start] % size
    live = ratio < 3.0  # else the habit is over
    who, product, gap, ratio = who[live], product[live], gap[live], ratio[live]
    best = first_of_each(who, -ratio, product, 1)
    found = np.full(n, -1, dtype=np.int64), np.full(n, np.nan), np.full(n, np.nan)
    for column, values in zip(found, (product, ratio, gap), strict=True):
        column[who[best]] = values[best]
    return found


def _favourite(lines: SeenLines, shelf: Assortment, n: int) -> tuple[Ints, Floats]:
    """The category each customer bought most lines of, and its share of their lines."""
    categories = len(shelf.first) - 1
    key, count = np.unique(lines.customer * categories + shelf.category[lines.product], return_counts=True)
    who = key // categories
    best = first_of_each(who, -count, key, 1)
    category, share = np.full(n, -1, dtype=np.int64), np.zeros(n)
    category[who[best]] = key[best] % categories
    total = np.bincount(lines.customer, minlength=n)
    share[who[best]] = count[best] / np.maximum(total[who[best]], 1)
    return category, share


def _not_owned(lines: SeenLines, shelf: Assortment, category: Ints) -> Ints:
    """The most sold product of a category that the customer has not bought; the second most, and so on."""
    size = len(shelf.category)
    owned = np.sort(lines.customer * size + lines.product)
    chosen = np.full(len(category), -1, dtype=np.int64)
    people = np.flatnonzero(category >= 0)
    for place in range(4):
        open_ = people[chosen[people] < 0]
        at = shelf.first[category[open_]] + place
        there = at < shelf.first[category[open_] + 1]
        open_, product = open_[there], shelf.in_category[at[there]]
        wanted = open_ * size + product
        new = owned.take(np.searchsorted(owned, wanted), mode="clip") != wanted
        chosen[open_[new]] = product[new]
    return chosen


def _dearer(shelf: Assortment, product: Ints) -> Ints:
    """The next dearer product of the same category; −1 if there is none."""
    order = np.lexsort((shelf.price, shelf.category))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    above = np.minimum(place[product] + 1, len(order) - 1)
    same = (product >= 0) & (shelf.category[order[above]] == shelf.category[product])
    return np.where(same & (order[above] != product), order[above], -1)


def _dates(seen: Visible, n: int, customer: Ints) -> dict[str, Ints | Floats]:
    """Birthdays, carts and passes of this fortnight."""
    born = seen.customers["birth_date"].combine_chunks()
    day = np.asarray(pc.day_of_year(born).fill_null(-1000)).astype(np.int64) - 1
    middle = seen.now.timetuple().tm_yday + 2
    apart = np.abs(day - middle)
    birthday = np.zeros(n, dtype=bool)
    birthday[customer] = (np.minimum(apart, np.abs(365 - apart)) <= 7) & (day >= 0)
    now = round(seen.now.timestamp()) * 1_000_000
    week = 7 * 86_400_000_000
    expires = np.asarray(seen.customers["points_expire_at"].cast(pa.int64()).fill_null(1 << 60))
    balance = np.asarray(seen.customers["points_balance"].fill_null(0)).astype(np.float64)
    points = np.zeros(n)
    points[customer] = np.where(expires - now <= 2 * week, balance, 0.0)
    return {
        "birthday": birthday,
        "points": points,
        "carted": _carted(seen, n, now - 2 * week),
        "pass_product": _ending(seen, n, now, now + 3 * week),
    }


def _carted(seen: Visible, n: int, since: int) -> Ints:
    """The product each customer left in the cart lately, if no order came after it."""
    product = np.full(n, -1, dtype=np.int64)
    events = seen.interactions
    if events is None:
        return product
    at = np.asarray(events["occurred_at"].cast(pa.int64()))
    rows = np.flatnonzero((at >= since) & np.asarray(pc.equal(events["event"], "add-to-cart")))
    rows = rows[np.argsort(at[rows], kind="stable")]
    recent = events.take(pa.array(rows))
    who = np.asarray(pc.utf8_slice_codeunits(recent["customer_id"], 1).cast(pa.int64()))
    lines = seen.lines()
    begin = round(seen.start.timestamp()) * 1_000_000
    ordered = np.zeros(n)
    np.maximum.at(ordered, lines.customer, lines.week)
    late = (at[rows] - begin) / (7 * 86_400_000_000) > ordered[who]
    what = np.asarray(pc.utf8_slice_codeunits(recent["product_id"], 1).cast(pa.int64())) - 1
    product[who[late]] = what[late]
    return product


def _ending(seen: Visible, n: int, now: int, until: int) -> Ints:
    """The product of a pass that ends soon and is not renewed."""
    product = np.full(n, -1, dtype=np.int64)
    passes = seen.subscriptions
    if passes is None:
        return product
    who = np.asarray(pc.utf8_slice_codeunits(passes["customer_id"], 1).cast(pa.int64()))
    what = np.asarray(pc.utf8_slice_codeunits(passes["product_id"], 1).cast(pa.int64())) - 1
    ends = np.asarray(passes["ends_at"].cast(pa.int64()))
    last = np.zeros(n, dtype=np.int64)
    np.maximum.at(last, who, ends)
    rows = np.flatnonzero((ends == last[who]) & (ends > now) & (ends <= until))
    product[who[rows]] = what[rows]
    return product


def _assortment(seen: Visible) -> Assortment:
    products = seen.history("products")
    coded = products["category"].combine_chunks().dictionary_encode()
    category = np.asarray(coded.indices).astype(np.int64)
    size = len(category)
    lines = _bought(seen.history_lines())
    sold = np.bincount(lines.product, minlength=size).astype(np.float64)
    order = np.lexsort((-sold, category))
    price = np.asarray(products["price"].cast(pa.float64()))
    return Assortment(
        category=category,
        price=price,
        margin=price - np.asarray(products["unit_cost"].cast(pa.float64())),
        sold=sold,
        companion=_companions(lines, category),
        repeatable=np.asarray(products["repeatable"].to_numpy(zero_copy_only=False), dtype=bool),
        in_category=order,
        first=np.concatenate([[0], np.cumsum(np.bincount(category))]),
    )


def _companions(lines: SeenLines, category: Ints) -> Ints:
    """The product of another category most surprisingly often in the same order; −1 if none."""
    size = len(category)
    sequence = np.argsort(lines.order, kind="stable")
    order, product = lines.order[sequence], lines.product[sequence]
    keys = []
    for apart in range(1, PAIRED):
        same = order[apart:] == order[:-apart]
        left, right = product[:-apart][same], product[apart:][same]
        keys += [left * size + right, right * size + left]
    key, joint = np.unique(np.concatenate(keys), return_counts=True)
    enough = joint >= ENOUGH
    key, joint = key[enough], joint[enough].astype(np.float64)
    left, right = key // size, key % size
    count = np.bincount(product, minlength=size)
    expected = count[left] * count[right] / max(len(np.unique(order)), 1)
    surprise = np.where(category[left] == category[right], -1.0, (joint - expected) / np.sqrt(expected))
    best = first_of_each(left, -surprise, right, 1) & (surprise > 2.0)
    companion = np.full(size, -1, dtype=np.int64)
    companion[left[best]] = right[best]
    return companion
