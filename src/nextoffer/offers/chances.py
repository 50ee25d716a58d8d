"""How likely customers are to buy any product at all, also those tonight's candidates do not hold."""

from __future__ import annotations

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Floats, Ints, ranges

MAX_P = 0.9
OWN = 3.0  # orders: a regular's own share of a product is shrunk by so many without it


def first_shares(bundle: Bundle) -> Floats:
    """(n_products,) share of the customers of the last 28 days who bought the product for the first time then."""
    lately = np.count_nonzero(np.asarray(bundle.knowledge.customers.recency_days) < 28)
    new = np.exp(bundle.knowledge.products.log_new_28.astype(np.float64))
    return np.asarray(new / max(lately, 1), dtype=np.float64)


def chances(bundle: Bundle, first: Floats, rows: Ints, customer: Ints, product: Ints) -> tuple[Floats, Ints]:
    """P(buys it, no offer made), (m,), and days since they last bought it (very many if never).

    Tonight's own estimate where there is one; else P(orders) × a share of orders: of their own orders those that
    held the product, for to call a regular's purchase unlikely would book a discount on it as a gain; of who never
    had it `first`, as many as lately bought it for the first time. Of the whole basket (−1): P(orders).

    Parameters
    ----------
    first : (n_products,) from `first_shares`
    rows : (batch,) rows of the bundle, −1 for who is not known
    customer, product : (m,) position in `rows`, row of a product
    """
    knowledge = bundle.knowledge
    known, some = rows[customer], product >= 0
    people, pairs, stored = knowledge.customers, knowledge.pairs, bundle.candidates
    p_order = np.where(known >= 0, people.p_order[known], bundle.p_newcomer).astype(np.float64)
    share = np.where(some, first[product], 1.0)
    age = np.full(len(product), np.iinfo(np.int32).max, dtype=np.int64)
    bought, which = _looked_up(pairs.indptr, pairs.product, rows, customer, product)
    orders = pairs.n_orders[which].astype(np.float64)
    own = orders / (np.maximum(people.frequency[known[bought]], orders) + OWN)
    share[bought] = np.maximum(share[bought], own)
    age[bought] = pairs.last_age_days[which]
    p_buy = p_order * share
    scored, which = _looked_up(stored.indptr, stored.product, rows, customer, product, stored.p_buy)
    p_buy[scored] = stored.p_buy[which]
    # what is left to P(orders) would count as gained by an offer on the whole basket
    return np.minimum(p_buy, np.where(some, MAX_P, 1.0)), age


def _looked_up(
    indptr: Ints,
    products: Ints,
    rows: Ints,
    customer: Ints,
    product: Ints,
    best: Floats | None = None,
) -> tuple[Ints, Ints]:
    """Which (customer, product) have an entry in the compressed rows, and which entry: the one with most of `best`."""
    if len(rows) == 1:  # a request: nothing to gather
        begin, end = (int(indptr[rows[0]]), int(indptr[rows[0] + 1])) if rows[0] >= 0 else (0, 0)
        entry, key, asked = np.arange(begin, end), products[begin:end], product
    else:
        n = 1 + max(int(product.max(initial=0)), 0)
        wanted = np.zeros(n + 1, dtype=bool)
        wanted[product[product >= 0]] = True
        known = np.flatnonzero(rows >= 0)
        counts = indptr[rows[known] + 1] - indptr[rows[known]]
        entry = ranges(indptr[rows[known]], counts)
        held = products[entry]
        kept = np.flatnonzero(wanted[np.minimum(held, n)])
        entry, key = entry[kept], np.repeat(known, counts)[kept] * n + held[kept]
        asked = np.where(product >= 0, customer * n + product, -1)
    if best is not None:
        order = np.lexsort((best[entry], key))
        entry, key = entry[order], key[order]
    if not len(entry):
        return entry, entry
    place = np.maximum(np.searchsorted(key, asked, side="right") - 1, 0)
    there = np.flatnonzero((key[place] == asked) & (product >= 0))
    return there, entry[place[there]]
