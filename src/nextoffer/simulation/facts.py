"""Stylised facts of retail: what the order lines of any real shop look like, and the shop's acceptance test.

`facts(lines)` is the same function for real and synthetic data; `targets.misses` says which of them are out
of the range of real shops. Returns, guests and zero prices are left out, except where they are the fact. A
gap is the time between successive orders of a customer, if longer than half a day.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Floats, Ints

CUT_DAYS = 91
MIN_GAPS = 6
LIFT_PRODUCTS = 500
LIFT_ORDERS = 10
NEW_DAYS, RECENT_DAYS = 91, 28


@dataclass(frozen=True, slots=True, eq=False)
class LineTable:
    """Order lines of any shop, as columns.

    Parameters
    ----------
    order, customer, product : (n,) integer codes; customer −1 = guest
    quantity, price : (n,)
    day : (n,) days since some midnight, with fraction; a Monday is day 4 (as 1970-01-05)
    family : (n,) product family, if known
    """

    order: Ints
    customer: Ints
    product: Ints
    quantity: Floats
    price: Floats
    day: Floats
    family: Ints | None = None

    def take(self, rows: Bools | Ints) -> LineTable:
        """The rows chosen."""
        family = None if self.family is None else self.family[rows]
        return LineTable(
            self.order[rows],
            self.customer[rows],
            self.product[rows],
            self.quantity[rows],
            self.price[rows],
            self.day[rows],
            family,
        )


def read_lines(orders: pa.Table, families: pa.Table | None = None) -> LineTable:
    """Columns of a canonical orders table; `families` maps product_id to family_id."""

    def codes(name: str) -> pa.DictionaryArray:
        return orders[name].combine_chunks().dictionary_encode()

    product = codes("product_id")
    family = None
    if families is not None:
        place = pc.index_in(product.dictionary, value_set=families["product_id"].combine_chunks())
        known = families["family_id"].combine_chunks().take(place)
        family = np.asarray(known)[np.asarray(product.indices)]
    moment = orders["ordered_at"].cast(pa.timestamp("us")).cast(pa.int64())
    return LineTable(
        order=np.asarray(codes("order_id").indices),
        customer=np.asarray(pc.fill_null(codes("customer_id").indices, -1)),
        product=np.asarray(product.indices),
        quantity=np.asarray(orders["quantity"].cast(pa.float64())),
        price=np.asarray(orders["unit_price"].cast(pa.float64())),
        day=np.asarray(moment) / 86_400_000_000.0,
        family=family,
    )


def facts(lines: LineTable) -> dict[str, float]:
    """Facts 1 to 18 of a line table; names as in `TARGETS` (those of families only if they are known)."""
    sold = lines.take((lines.quantity > 0) & (lines.price > 0) & (lines.customer >= 0))
    return {
        **_popularity(sold),
        **_baskets(sold),
        **_rhythm(sold),
        **_repeats(sold),
        **_recency(sold),
        **_spend(sold),
        **_prices(sold),
        **_calendar(sold),
        **_returns(lines),
        **_lift(sold),
        **_new_products(sold),
    }


def _popularity(lines: LineTable) -> dict[str, float]:
    count = np.sort(np.bincount(lines.product))[::-1]
    count = count[count > 0]
    ranks = np.unique(np.rint(np.geomspace(10, max(11, 0.2 * len(count)), 60)).astype(int))
    ranks = ranks[ranks <= len(count)]
    slope = np.polyfit(np.log(ranks), np.log(count[ranks - 1]), 1)[0] if len(ranks) > 1 else np.nan

    def share(part: float) -> float:
        return float(count[: max(1, round(part * len(count)))].sum() / count.sum())

    return {"popularity_slope": -float(slope), "top_1_share": share(0.01), "top_20_share": share(0.20)}


def _baskets(lines: LineTable) -> dict[str, float]:
    order, _ = _pairs(lines.order, lines.product)
    size = np.bincount(order)
    size = size[size > 0]
    return {
        "lines_median": float(np.median(size)),
        "lines_mean": float(size.mean()),
        "lines_p95": float(np.quantile(size, 0.95)),
        "lines_cv": float(size.std() / size.mean()),
        "single_line_share": float((size == 1).mean()),
    }


def _rhythm(lines: LineTable) -> dict[str, float]:
    customer, day, _ = _orders(lines)
    count = np.bincount(customer)
    count = np.sort(count[count > 0])
    n = len(count)
    gini = float(2 * (np.arange(1, n + 1) * count).sum() / (n * count.sum()) - (n + 1) / n)
    gap, owner = np.diff(day), customer[1:]
    keep = (customer[1:] == customer[:-1]) & (gap > 0.5)
    gap, owner = gap[keep], owner[keep]
    gaps = np.bincount(owner, minlength=int(customer.max()) + 1)
    total = np.bincount(owner, weights=gap, minlength=len(gaps))
    square = np.bincount(owner, weights=gap**2, minlength=len(gaps))
    many = gaps >= MIN_GAPS
    mean = total[many] / gaps[many]
    spread = np.sqrt(np.maximum(square[many] / gaps[many] - mean**2, 0) * gaps[many] / (gaps[many] - 1))
    low, high = np.quantile(mean, [0.1, 0.9]) if many.any() else (np.nan, np.nan)
    return {
        "one_time_share": float((count == 1).mean()),
        "orders_gini": gini,
        "orders_p99_over_mean": float(np.quantile(count, 0.99) / count.mean()),
        "gap_median": float(np.median(gap)),
        "gap_cv": float(gap.std() / gap.mean()),
        "gap_cv_within": float(np.median(spread / mean)) if many.any() else np.nan,
        "gap_p90_over_p10": float(high / low),
    }


def _repeats(lines: LineTable) -> dict[str, float]:
    order, product = _pairs(lines.order, lines.product)
    customer = np.zeros(int(lines.order.max()) + 1, dtype=np.int64)
    customer[lines.order] = lines.customer
    bought = np.unique(customer[order] * (int(product.max()) + 1) + product, return_counts=True)[1]
    repeats = float((bought - 1).sum() / bought.sum())
    return {"repeat_line_share": repeats, "repeat_pair_share": float((bought > 1).mean())}


def _recency(lines: LineTable) -> dict[str, float]:
    from scipy.stats import spearmanr

    customer, day, spend = _orders(lines)
    cut = day.max() - CUT_DAYS
    before = day < cut
    n = int(customer.max()) + 1
    frequency = np.bincount(customer[before], minlength=n)
    known = frequency > 0
    last = np.full(n, -np.inf)
    np.maximum.at(last, customer[before], day[before])
    spent = np.bincount(customer[before], weights=spend[before], minlength=n)[known]
    after = np.bincount(customer[~before], minlength=n)[known]
    frequency, recency = frequency[known], cut - last[known]
    rank = np.argsort(np.argsort(recency, kind="stable"), kind="stable")
    quintile = rank * 5 // len(rank)
    buys = np.bincount(quintile, weights=after > 0) / np.bincount(quintile)
    return {
        "recency_frequency": float(spearmanr(recency, frequency).statistic),
        "frequency_spend": float(spearmanr(frequency, spent).statistic),
        "frequency_future": float(spearmanr(frequency, after).statistic),
        "recency_buy_first": float(buys[0]),
        "recency_buy_last": float(buys[-1]),
        "recency_buy_ratio": float(buys[0] / max(buys[-1], 1e-9)),
        "recency_buy_falls": float((np.diff(buys) < 0).all()),
    }


def _spend(lines: LineTable) -> dict[str, float]:
    customer, _, spend = _orders(lines)
    by_customer = np.sort(np.bincount(customer, weights=spend))[::-1]
    by_customer = by_customer[by_customer > 0]
    top = by_customer[: max(1, round(0.2 * len(by_customer)))].sum() / by_customer.sum()
    return {"top_20_spend_share": float(top), "order_value_sd": float(np.log(spend).std())}


def _prices(lines: LineTable) -> dict[str, float]:
    product, first = np.unique(lines.product, return_index=True)
    count = np.bincount(lines.product)[product]
    price = np.log(np.bincount(lines.product, weights=lines.price)[product] / count)
    found = {"price_sd": float(price.std())}
    if lines.family is None:
        return found
    _, family = np.unique(lines.family[first], return_inverse=True)
    size = np.bincount(family)
    mean = np.bincount(family, weights=price) / size
    within = np.bincount(family, weights=(price - mean[family]) ** 2)
    large = size >= 5
    spread = np.sqrt(within[large] / (size[large] - 1))
    p10, p50, p90 = np.quantile(spread, [0.1, 0.5, 0.9])
    return found | {
        "family_price_sd_p10": float(p10),
        "family_price_sd": float(p50),
        "family_price_sd_p90": float(p90),
        "between_family_share": float(1 - within.sum() / ((price - price.mean()) ** 2).sum()),
    }


def _calendar(lines: LineTable) -> dict[str, float]:
    _, first = np.unique(lines.order, return_index=True)
    day = np.floor(lines.day[first]).astype(np.int64)
    weekday = np.bincount((day - 4) % 7, minlength=7)
    week = np.bincount((day - day.min()) // 7)
    full = week[: (int(day.max() - day.min()) + 1) // 7]
    usual = float(np.median(full)) if len(full) else 0.0
    return {
        "busiest_weekday": float(weekday.max() / weekday.mean()),
        "peak_week": float(full.max() / usual) if usual > 0 else np.nan,
    }


def _returns(lines: LineTable) -> dict[str, float]:
    negative = lines.quantity < 0
    back = negative & (lines.price > 0)  # without price it is a correction of the stock
    sold = (lines.quantity > 0) & (lines.price > 0)
    day = np.floor(lines.day).astype(np.int64)
    documents = len(_pairs(lines.order[back], day[back] - day.min())[0])
    value = np.abs(lines.quantity * lines.price)
    return {
        "return_line_share": float(negative.mean()),
        "return_document_share": documents / len(np.unique(lines.order[sold])),
        "return_value_share": float(value[back].sum() / value[sold].sum()),
    }


def _lift(lines: LineTable) -> dict[str, float]:
    """Lift of pairs among the top products: joint orders × all orders ÷ (orders of one × of the other)."""
    from scipy.sparse import csr_matrix  # here and below: the shop itself runs without these modules

    order, product = _pairs(lines.order, lines.product)
    n_orders = len(np.unique(order))
    count = np.bincount(product)
    top = np.lexsort((np.arange(len(count)), -count))[:LIFT_PRODUCTS]
    place = np.full(len(count), -1)
    place[top] = np.arange(len(top))
    keep = place[product] >= 0
    baskets = csr_matrix(
        (np.ones(int(keep.sum()), dtype=np.float64), (order[keep], place[product[keep]])),
        shape=(int(order.max()) + 1, len(top)),
    )
    joint = (baskets.T @ baskets).toarray()
    row, col = np.triu_indices(len(top), 1)
    together = joint[row, col]
    often = together >= LIFT_ORDERS
    single = np.diag(joint)
    lift = together[often] * n_orders / (single[row[often]] * single[col[often]])
    if not len(lift):
        return {}
    p50, p90, p99 = np.quantile(lift, [0.5, 0.9, 0.99])
    return {"lift_median": float(p50), "lift_p90": float(p90), "lift_p99": float(p99)}


def _new_products(lines: LineTable) -> dict[str, float]:
    end = lines.day.max()
    first = np.full(int(lines.product.max()) + 1, np.inf)
    np.minimum.at(first, lines.product, lines.day)
    recent = lines.day > end - RECENT_DAYS
    new = first[lines.product[recent]] >= end - NEW_DAYS
    return {"new_product_share": float(new.mean())}


def _orders(lines: LineTable) -> tuple[Ints, Floats, Floats]:
    """Customer, first moment and value of each order, by customer and time."""
    order, first, inverse = np.unique(lines.order, return_index=True, return_inverse=True)
    day = np.full(len(order), np.inf)
    np.minimum.at(day, inverse, lines.day)
    spend: Floats = np.bincount(inverse, weights=lines.quantity * lines.price).astype(np.float64)
    customer = lines.customer[first]
    sequence = np.lexsort((day, customer))
    return customer[sequence], day[sequence], spend[sequence]


def _pairs(left: Ints, right: Ints) -> tuple[Ints, Ints]:
    """Distinct pairs."""
    width = int(right.max()) + 1 if len(right) else 1
    key = np.unique(left.astype(np.int64) * width + right)
    return key // width, key % width
