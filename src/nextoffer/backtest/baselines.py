"""The named methods nextoffer is compared with, run on the same cut in the same run.

Each ranking method gives (m, k) product rows, best first, for the customers asked; −1 where it has no more.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.domain.arrays import Floats, Ints, first_of_each, ranges
from nextoffer.models.candidates import bought_matrix
from nextoffer.models.knowledge import Knowledge

Lists = npt.NDArray[np.int32]
Counts: TypeAlias = sp.csr_matrix  # customers × products, orders
BLOCK = 1_000  # customers at a time: each takes a row as long as the longest history among them


def popularity(knowledge: Knowledge, rows: Ints, k: int, new_only: bool) -> Lists:
    """What most customers bought in the last 28 days."""
    return _alike(knowledge, knowledge.products.popular(len(knowledge.products)), rows, k, new_only)


def trending(knowledge: Knowledge, rows: Ints, k: int, new_only: bool) -> Lists:
    """What most customers bought in the last 28 days, times the last 10 days' pace against the 28 days'."""
    products = knowledge.products
    pace = products.share_28 * np.exp(products.trend.astype(np.float64))
    popular = products.popular(len(products))
    ranked = popular[np.argsort(-pace[popular], kind="stable")]
    return _alike(knowledge, ranked, rows, k, new_only)


def _alike(knowledge: Knowledge, ranked: Ints, rows: Ints, k: int, new_only: bool) -> Lists:
    """One ranking for all, for each without what they bought if only the new is asked for."""
    if not new_only:
        return _pad(np.tile(ranked[:k], (len(rows), 1)), k)
    blocks = [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]
    lists = [_popular_and_new(knowledge, ranked, block, k) for block in blocks]
    return np.concatenate([np.zeros((0, k), np.int32), *lists])


def _popular_and_new(knowledge: Knowledge, ranked: Ints, rows: Ints, k: int) -> Lists:
    bought = bought_matrix(knowledge, rows)
    most = int(np.diff(bought.indptr).max(initial=0))
    top = ranked[: k + min(most, len(ranked))]
    place = np.full(len(knowledge.products), -1)
    place[top] = np.arange(len(top))
    free = np.ones((len(rows), len(top)), dtype=bool)
    owner = np.repeat(np.arange(len(rows)), np.diff(bought.indptr))
    known = place[bought.indices] >= 0
    free[owner[known], place[bought.indices[known]]] = False
    order = np.argsort(~free, axis=1, kind="stable")[:, :k]
    lists = top[order]
    lists[~np.take_along_axis(free, order, axis=1)] = -1
    return _pad(lists, k)


def personal_frequency(knowledge: Knowledge, rows: Ints, k: int) -> Lists:
    """What the customer ordered most often; ties, and the rest of the list, by popularity."""
    position, at = _history(knowledge, rows)
    pairs = knowledge.pairs
    product = pairs.product[at]
    own = lists_of(position, product, pairs.n_orders[at] - _place(knowledge)[product], len(rows), k)
    return _then(own, popularity(knowledge, rows, k, new_only=True))


def last_basket(knowledge: Knowledge, rows: Ints, k: int) -> Lists:
    """What the customer's newest order held, the most popular first; then what else is popular."""
    position, at = _history(knowledge, rows)
    held = knowledge.pairs.in_last[at] > 0
    position, product = position[held], knowledge.pairs.product[at[held]]
    own = lists_of(position, product, -_place(knowledge)[product], len(rows), k)
    rest = popularity(knowledge, rows, 2 * k, new_only=False)  # k of them may stand in `own`
    blocks = [slice(start, start + BLOCK) for start in range(0, len(rows), BLOCK)]
    known = [(rest[block, :, None] == own[block, None, :]).any(axis=2) for block in blocks]
    rest[np.concatenate([np.zeros((0, rest.shape[1]), bool), *known])] = -1
    return _then(own, rest)


def _history(knowledge: Knowledge, rows: Ints) -> tuple[Ints, Ints]:
    """Position of the customer and row of `pairs` of everything they bought."""
    pairs = knowledge.pairs
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    return np.repeat(np.arange(len(rows)), counts), ranges(pairs.indptr[rows], counts)


def _place(knowledge: Knowledge) -> Floats:
    """(n_products,) place in the order of popularity, 0 for the first, below 1."""
    place = np.empty(len(knowledge.products))
    ranked = np.lexsort((-knowledge.products.n_customers, -knowledge.products.share_28))
    place[ranked] = np.arange(len(ranked)) / len(ranked)
    return place


def _then(first: Lists, rest: Lists) -> Lists:
    """`first`, filled up from `rest` to its own length."""
    together = np.concatenate([first, rest], axis=1)
    order = np.argsort(together < 0, axis=1, kind="stable")[:, : first.shape[1]]
    return np.take_along_axis(together, order, axis=1)


def als(counts: Counts, rows: Ints, k: int, seed: int) -> tuple[Lists, Lists]:
    """implicit's AlternatingLeastSquares with its defaults on the count of orders: of everything, of the new."""
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # the constructor looks, and warns of more threads
        model = AlternatingLeastSquares(random_state=seed)
        model.fit(counts.copy(), show_progress=False)  # its solver asks for arrays that may be written
        return _recommended(model, counts, rows, k, -1e38)


def item_item(counts: Counts, rows: Ints, k: int) -> tuple[Lists, Lists]:
    """implicit's CosineRecommender with its defaults on the count of orders: of everything, of the new."""
    from implicit.nearest_neighbours import ItemItemRecommender, normalize

    # what CosineRecommender.fit does, without its conversions of the matrix to and fro
    model = ItemItemRecommender()
    model.fit(normalize(counts.T).T.tocsr(), show_progress=False)
    return _recommended(model, counts, rows, k, 0.0)


def _recommended(model: Any, counts: Counts, rows: Ints, k: int, nothing: float) -> tuple[Lists, Lists]:
    """Lists of everything and of the new; a score at or below `nothing` is a place left empty."""

    def lists(new_only: bool) -> Lists:
        ids, scores = model.recommend(rows, counts[rows], N=k, filter_already_liked_items=new_only)
        return np.where(scores <= nothing, -1, ids).astype(np.int32)

    return lists(False), lists(True)


def mean_gap_score(knowledge: Knowledge, horizon_days: int) -> Floats:
    """(n_pairs,) closeness of last purchase + mean gap to the middle of the horizon, higher is closer.

    A pair bought on one day takes the median mean gap of its product, else of the shop.
    """
    pairs = knowledge.pairs
    many = pairs.n_days >= 2
    gap = np.full(len(pairs.product), np.nan)
    span = pairs.first_age_days[many] - pairs.last_age_days[many]
    gap[many] = span / (pairs.n_days[many] - 1)
    overall = float(np.median(gap[many])) if many.any() else float(horizon_days)
    usual = np.full(len(knowledge.products), overall)
    order = np.lexsort((gap[many], pairs.product[many]))
    product, sorted_gap = pairs.product[many][order], gap[many][order]
    if len(product):
        starts = np.flatnonzero(np.r_[True, product[1:] != product[:-1]])
        lengths = np.diff(np.append(starts, len(product)))
        low, high = starts + (lengths - 1) // 2, starts + lengths // 2
        usual[product[starts]] = (sorted_gap[low] + sorted_gap[high]) / 2
    gap = np.where(many, gap, usual[pairs.product])
    due_in_days = gap - pairs.last_age_days
    return np.asarray(-np.abs(due_in_days - horizon_days / 2))


def lists_of(position: Ints, product: Ints, score: Floats, m: int, k: int) -> Lists:
    """(m, k) lists from scored rows, best first, ties by product."""
    keep = first_of_each(position, -score, product, k)
    position, product, score = position[keep], product[keep], score[keep]
    order = np.lexsort((product, -score, position))
    position, product = position[order], product[order]
    lists = np.full((m, k), -1, dtype=np.int32)
    lists[position, np.arange(len(position)) - np.searchsorted(position, position)] = product
    return lists


def _pad(lists: Ints, k: int) -> Lists:
    padded = np.full((len(lists), k), -1, dtype=np.int32)
    padded[:, : lists.shape[1]] = lists
    return padded
