"""Where candidates come from: each source is one pure function with one signature.

A source proposes products a customer has *not* bought, with a score and, where there is one, the product that
gave rise to it; some have an opinion on any product, those bought before among them. Adding a source is one
function and one line of SOURCES; the ranker makes features of every source's score and rank by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.domain.arrays import Floats, Ints, best_first, place_in_run, ranges
from nextoffer.models.collaborative import Neighbours, contains, largest, retrieve
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.people import what_alike_bought
from nextoffer.models.regression import Weights, evened

N_SIMILAR = 25  # neighbours of each of these products that are looked at
ROWS = 128  # customers whose scores of all products are searched at a time
N_RECENT = 12  # products of a customer's history that speak for what they want next


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Products one source proposes, sorted by customer, then best first.

    Parameters
    ----------
    position : (n,) int64 position of the customer in the batch
    product : (n,) int32, score : (n,) float32 > 0, comparable within one customer
    because : (n,) int32 the product that gave rise to it, −1 if none
    rank : (n,) int32 0 for the customer's best
    """

    position: Ints
    product: Ints
    score: Floats
    because: Ints
    rank: Ints


Opinion = Callable[[Ints, Ints], Floats]
"""Scores of (position, product) rows, bought before or not; 0 where the source knows nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """The customers asked for: their rows, what they ever bought, what they bought lately (see Pairs.step_weight)."""

    rows: Ints
    bought: sp.csr_matrix
    recent: sp.csr_matrix


Source = Callable[[Knowledge, Batch], tuple[Proposals, Opinion | None]]


def by_next_basket(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, Opinion]:
    """What tends to follow in the next basket of customers who bought what this one did."""
    return _by_weights(knowledge.next_basket, evened(batch.recent), batch, 30)


def by_ease(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, Opinion]:
    """What customers with this history also bought, each product beside all others."""
    history = batch.recent.copy()
    history.data = np.minimum(history.data, 1.0)
    return _by_weights(knowledge.ease, history, batch, 30)


def by_people(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, Opinion]:
    """What the customers most alike bought lately."""
    scores = what_alike_bought(knowledge.people, batch.rows, batch.recent).toarray()
    every = np.arange(scores.shape[1], dtype=np.int32)
    return _best_new(scores, every, every, batch, 30), lambda position, product: scores[position, product]


def by_factors(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, Opinion]:
    """What customers with the same taste buy: inner products of ALS factors."""
    factors, rows = knowledge.factors, batch.rows
    product, score = retrieve(factors, rows, batch.bought, 30)
    found = (product >= 0) & (score > 0)
    position = np.nonzero(found)[0]
    best = _best(position, product[found], score[found], np.full(len(position), -1, np.int32), 30)

    def opinion(position: Ints, product: Ints) -> Floats:
        customer = factors.customer[rows[position]]
        return np.asarray(np.einsum("ij,ij->i", customer, factors.product[product]))

    return best, opinion


def by_similar(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, Opinion]:
    """Products alike, by their buyers, to what the customer bought."""
    position, product, weight = recent_history(knowledge, batch.rows)
    history = sp.csr_matrix((weight, (position, product)), shape=batch.bought.shape)
    scores = (history @ knowledge.similar.matrix(N_SIMILAR)).tocsr()
    return _propose(scores, batch, 20), _sparse_opinion(scores)


def by_companions(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, None]:
    """What is bought in the same basket as what the customer bought last."""
    position, product, _ = recent_history(knowledge, batch.rows)
    return _through(knowledge.companions, position, product, batch.bought, per_product=15, n=20), None


def by_ladder(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, None]:
    """One step up the price ladder from what the customer bought in the last half year."""
    position, product, _ = recent_history(knowledge, batch.rows, max_age_days=180)
    return _through(knowledge.ladder, position, product, batch.bought, per_product=10, n=10), None


def by_popularity(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, None]:
    """What most customers bought in the last four weeks."""
    products = knowledge.products
    return _same_for_all(products.popular(30), products.share_28, batch), None


def by_trend(knowledge: Knowledge, batch: Batch) -> tuple[Proposals, None]:
    """What more and more customers buy: the pace of the last ten days on top of that of four weeks."""
    products = knowledge.products
    score = products.share_28 * np.exp(products.trend)
    top = np.lexsort((np.arange(len(score)), -score))[:20]
    return _same_for_all(top[score[top] > 0], score, batch), None


SOURCES: dict[str, Source] = {
    "next_basket": by_next_basket,
    "ease": by_ease,
    "people": by_people,
    "factors": by_factors,
    "similar": by_similar,
    "companions": by_companions,
    "ladder": by_ladder,
    "popular": by_popularity,
    "trending": by_trend,
}


def batch_of(knowledge: Knowledge, rows: Ints) -> Batch:
    """The customers at `rows` with their purchases."""
    return Batch(
        rows, bought_matrix(knowledge, rows), bought_matrix(knowledge, rows, knowledge.pairs.step_weight)
    )


def bought_matrix(knowledge: Knowledge, rows: Ints, values: Floats | None = None) -> sp.csr_matrix:
    """(len(rows), n_products) sparse: `values` of the pairs, or 1, where the customer bought the product."""
    pairs = knowledge.pairs
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    at = ranges(pairs.indptr[rows], counts)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    shape = (len(rows), len(knowledge.products))
    entries = np.ones(len(at), np.float32) if values is None else np.asarray(values[at], np.float32)
    return sp.csr_matrix((entries, pairs.product[at], indptr), shape=shape)


def recent_history(
    knowledge: Knowledge, rows: Ints, max_age_days: int | None = None
) -> tuple[npt.NDArray[np.int64], Ints, Floats]:
    """Position, product and decayed weight of each customer's most telling products (at most N_RECENT)."""
    pairs = knowledge.pairs
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    at = ranges(pairs.indptr[rows], counts)
    position = np.repeat(np.arange(len(rows)), counts)
    if max_age_days is not None:
        fresh = pairs.last_age_days[at] <= max_age_days
        at, position = at[fresh], position[fresh]
    # newest first, then heaviest; rows of a customer are in product order, so ties end in the product
    order = np.lexsort((at, -pairs.weight[at], pairs.last_age_days[at], position))
    at, position = at[order], position[order]
    top = place_in_run(position) < N_RECENT
    at = at[top]
    return position[top], pairs.product[at], np.sqrt(pairs.weight[at])


def _by_weights(weights: Weights, history: sp.csr_matrix, batch: Batch, n: int) -> tuple[Proposals, Opinion]:
    """Best `n` by product-to-product weights, and the score of any product that takes part."""
    scores = weights.scores(history)
    best = _best_new(scores, weights.product, weights.place, batch, n)

    def opinion(position: Ints, product: Ints) -> Floats:
        column = weights.place[product]
        if not scores.shape[1]:
            return np.zeros(len(column), np.float32)
        return np.where(column >= 0, scores[position, column], np.float32(0.0))

    return best, opinion


def _best_new(scores: Floats, product: Ints, place: Ints, batch: Batch, n: int) -> Proposals:
    """Best `n` new products of each customer by scores held in full, a few customers at a time.

    Parameters
    ----------
    scores : (m, k); product : (k,) products of its columns; place : (n_products,) their columns, −1 for none
    """
    parts = []
    for begin in range(0, len(scores), ROWS):
        free = scores[begin : begin + ROWS].copy()
        known = batch.bought[begin : begin + ROWS]
        at, column = np.repeat(np.arange(len(free)), np.diff(known.indptr)), place[known.indices]
        free[at[column >= 0], column[column >= 0]] = 0.0
        row, column = largest(free, n)
        parts.append((row + begin, column, free[row, column]))
    none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    position, column, score = (np.concatenate(found) for found in zip(none, *parts, strict=True))
    return _best(position, product[column], score, np.full(len(position), -1, np.int32), n)


def _propose(scores: sp.csr_matrix, batch: Batch, n: int) -> Proposals:
    """Best `n` new products of each customer by sparse scores."""
    position = np.repeat(np.arange(len(batch.rows)), np.diff(scores.indptr))
    keep = (scores.data > 0) & ~contains(batch.bought, position, scores.indices)
    position, product, score = position[keep], scores.indices[keep], scores.data[keep]
    return _best(position, product, score, np.full(len(position), -1, np.int32), n)


def _sparse_opinion(scores: sp.csr_matrix) -> Opinion:
    scores.sort_indices()
    n = scores.shape[1]
    keys = np.repeat(np.arange(scores.shape[0], dtype=np.int64), np.diff(scores.indptr)) * n + scores.indices

    def opinion(position: Ints, product: Ints) -> Floats:
        if not len(keys):
            return np.zeros(len(position), np.float32)
        asked = np.asarray(position, dtype=np.int64) * n + product
        at = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
        return np.where(keys[at] == asked, scores.data[at], np.float32(0.0))

    return opinion


def _same_for_all(top: Ints, score: Floats, batch: Batch) -> Proposals:
    """The same products for every customer, without those bought."""
    position = np.repeat(np.arange(len(batch.rows)), len(top))
    product = np.tile(top, len(batch.rows)).astype(np.int32)
    keep = ~contains(batch.bought, position, product)
    position, product = position[keep], product[keep]
    value = score[product] + np.float32(1e-9)
    return _best(position, product, value, np.full(len(position), -1, np.int32), len(top))


def _through(
    neighbours: Neighbours,
    position: Ints,
    product: Ints,
    bought: sp.csr_matrix,
    per_product: int,
    n: int,
) -> Proposals:
    """Neighbours of the customers' products: scores added up, `because` is the strongest contributor."""
    by_source = best_first(position, product)  # so that ties go to the lowest `because`
    position, product = position[by_source], product[by_source]
    counts = np.minimum(neighbours.indptr[product + 1] - neighbours.indptr[product], per_product)
    at = ranges(neighbours.indptr[product], counts)
    where = np.repeat(position, counts)
    via = np.repeat(product, counts)
    target, score = neighbours.product[at], neighbours.score[at]
    keep = ~contains(bought, where, target)
    where, via, target, score = where[keep], via[keep], target[keep], score[keep]
    order = best_first(where, target, score, product_first=True)
    where, via, target, score = where[order], via[order], target[order], score[order]
    first = np.ones(len(where), dtype=bool)
    first[1:] = (where[1:] != where[:-1]) | (target[1:] != target[:-1])
    starts = np.flatnonzero(first)
    total = np.add.reduceat(score, starts) if len(starts) else score
    return _best(where[starts], target[starts], total, via[starts], n)


def _best(position: Ints, product: Ints, score: Floats, because: Ints, n: int) -> Proposals:
    """The best `n` of each customer, ties by product."""
    order = best_first(position, product, score)
    position = position[order]
    place = place_in_run(position)
    top = place < n
    chosen = order[top]
    return Proposals(
        position[top],
        product[chosen].astype(np.int32),
        score[chosen].astype(np.float32),
        because[chosen].astype(np.int32),
        place[top].astype(np.int32),
    )
