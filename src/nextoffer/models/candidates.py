"""Where candidates come from: each source is one pure function with one signature.

A source proposes products a customer has *not* bought, with a score and, where there is one, the product that
gave rise to it. Adding a source is one function and one line of SOURCES; the ranker makes features of every
source's score and rank by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.domain.arrays import Floats, Ints, best_first, place_in_run, ranges
from nextoffer.models.collaborative import Neighbours, contains, retrieve
from nextoffer.models.knowledge import Knowledge

N_SIMILAR = 25  # neighbours of each of these products that are looked at
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


Source = Callable[[Knowledge, Ints, sp.csr_matrix], Proposals]


def by_factors(knowledge: Knowledge, rows: Ints, bought: sp.csr_matrix) -> Proposals:
    """What customers with the same taste buy: inner products of ALS factors."""
    product, score = retrieve(knowledge.factors, rows, bought, 30)
    found = (product >= 0) & (score > 0)
    position = np.nonzero(found)[0]
    return _best(position, product[found], score[found], np.full(len(position), -1, np.int32), 30)


def by_similar(knowledge: Knowledge, rows: Ints, bought: sp.csr_matrix) -> Proposals:
    """Products alike, by their buyers, to what the customer bought."""
    position, product, weight = recent_history(knowledge, rows)
    history = sp.csr_matrix((weight, (position, product)), shape=bought.shape)
    scores = (history @ knowledge.similar.matrix(N_SIMILAR)).tocsr()
    position = np.repeat(np.arange(len(rows)), np.diff(scores.indptr))
    keep = ~contains(bought, position, scores.indices)
    position, product, score = position[keep], scores.indices[keep], scores.data[keep]
    return _best(position, product, score, np.full(len(position), -1, np.int32), 20)


def by_companions(knowledge: Knowledge, rows: Ints, bought: sp.csr_matrix) -> Proposals:
    """What is bought in the same basket as what the customer bought last."""
    position, product, _ = recent_history(knowledge, rows)
    return _through(knowledge.companions, position, product, bought, per_product=15, n=20)


def by_ladder(knowledge: Knowledge, rows: Ints, bought: sp.csr_matrix) -> Proposals:
    """One step up the price ladder from what the customer bought in the last half year."""
    position, product, _ = recent_history(knowledge, rows, max_age_days=180)
    return _through(knowledge.ladder, position, product, bought, per_product=10, n=10)


def by_popularity(knowledge: Knowledge, rows: Ints, bought: sp.csr_matrix) -> Proposals:
    """What most customers bought in the last four weeks."""
    top = knowledge.products.popular(15)
    position = np.repeat(np.arange(len(rows)), len(top))
    product = np.tile(top, len(rows)).astype(np.int32)
    score = np.tile(knowledge.products.share_28[top] + np.float32(1e-9), len(rows))
    keep = ~contains(bought, position, product)
    position = position[keep]
    return _best(position, product[keep], score[keep], np.full(len(position), -1, np.int32), 15)


SOURCES: dict[str, Source] = {
    "factors": by_factors,
    "similar": by_similar,
    "companions": by_companions,
    "ladder": by_ladder,
    "popular": by_popularity,
}


def bought_matrix(knowledge: Knowledge, rows: Ints) -> sp.csr_matrix:
    """(len(rows), n_products) sparse, non-zero where the customer bought the product."""
    pairs = knowledge.pairs
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    at = ranges(pairs.indptr[rows], counts)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    shape = (len(rows), len(knowledge.products))
    return sp.csr_matrix((np.ones(len(at), np.float32), pairs.product[at], indptr), shape=shape)


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
