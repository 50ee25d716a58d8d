"""Collaborative filtering: factors (ALS), products alike by their buyers, and companions in the basket.

All three are fitted with time decay, which matters more than the family of the method (measured: the same
lift doubles when only recent buyers count).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from nextoffer.domain.arrays import Bools, Floats, Ints, ranges

N_FACTORS = 64
REGULARIZATION = 10.0
ITERATIONS = 8  # with 15 the ranking of Ta-Feng and Online Retail at earlier cuts differs by less than 1 %
# A matrix product rounds a row by the number of rows and by the row's place among them. So customers are
# multiplied this many at a time, each always in the same place: who asks with whom cannot change a slate.
BLOCK = 64
LIGHT = 64  # products bought, up to which they are left out after the search


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """What each customer and each product is like, learned from who bought what.

    Parameters
    ----------
    customer : (n_customers, f) float32, product : (n_products, f) float32; the score is the inner product
    """

    customer: Floats
    product: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """For each product, other products by falling score (ties by row): `product[indptr[i]:indptr[i + 1]]`."""

    indptr: Ints
    product: Ints
    score: Floats

    def of(self, row: int, n: int | None = None) -> tuple[Ints, Floats]:
        """Neighbours of one product and their scores, best first."""
        start, end = int(self.indptr[row]), int(self.indptr[row + 1])
        cut = slice(start, end if n is None else min(end, start + n))
        return self.product[cut], self.score[cut]

    def matrix(self, n_best: int | None = None) -> sp.csr_matrix:
        """(n_products, n_products) sparse scores, of the `n_best` neighbours of each product."""
        n = len(self.indptr) - 1
        counts = np.diff(self.indptr)
        if n_best is None or not len(counts) or counts.max() <= n_best:
            return sp.csr_matrix((self.score, self.product, self.indptr), shape=(n, n))
        counts = np.minimum(counts, n_best)
        at = ranges(self.indptr[:-1], counts)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return sp.csr_matrix((self.score[at], self.product[at], indptr), shape=(n, n))


def fit_factors(
    weights: sp.csr_matrix, seed: int, n_factors: int = N_FACTORS, iterations: int = ITERATIONS
) -> Factors:
    """Factors from a customers × products matrix of decayed purchase counts; 0 for products nobody bought.

    References
    ----------
    Hu, Koren & Volinsky (2008), ICDM; as implicit has it, the confidence of a purchase is its weight and that
    of a product not bought is 1.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    n_customers, n_products = weights.shape
    product = np.zeros((n_products, n_factors), np.float32)
    sold = np.unique(weights.indices)  # what is not sold yet must not shift the random start of the others
    if not len(sold):
        return Factors(np.zeros((n_customers, n_factors), np.float32), product)
    with threadpool_limits(1, "blas"):  # the constructor looks, and warns of more threads
        model = AlternatingLeastSquares(
            factors=n_factors,
            regularization=REGULARIZATION,
            alpha=1.0,
            iterations=iterations,
            random_state=seed,
        )
        model.fit(weights[:, sold].astype(np.float32), show_progress=False)
    product[sold] = model.item_factors
    return Factors(model.user_factors, product)


def retrieve(factors: Factors, rows: Ints, bought: sp.csr_matrix, n: int) -> tuple[Ints, Floats]:
    """Best `n` products each customer has not bought: (m, n) rows and scores, −1 where there are fewer.

    Parameters
    ----------
    rows : (m,) customers asked for
    bought : (m, n_products) sparse with sorted columns, whose entries are left out
    """
    from threadpoolctl import threadpool_limits

    n = min(n, len(factors.product))
    product = np.full((len(rows), n), -1, dtype=np.int32)
    score = np.zeros((len(rows), n), dtype=np.float32)
    light = np.diff(bought.indptr) <= LIGHT
    with threadpool_limits(1, "blas"):
        for asked in _blocks(rows, np.flatnonzero(~light)):
            known = _placed(bought, asked, rows[asked] % BLOCK)
            product[asked], score[asked] = _top(factors, rows[asked], n, known)
        # Leaving out inside implicit costs as much as the search: most customers' few products are left out
        # here, from lists long enough to hold them all.
        longer = min(n + LIGHT, len(factors.product))
        for asked in _blocks(rows, np.flatnonzero(light)):
            found, values = _top(factors, rows[asked], longer, None)
            known = contains(bought, np.repeat(asked, longer), found.ravel()).reshape(found.shape)
            values[known] = -np.inf
            best = np.argsort(known, axis=1, kind="stable")[:, :n]
            product[asked] = np.take_along_axis(found, best, axis=1)
            score[asked] = np.take_along_axis(values, best, axis=1)
    # implicit pads short lists with products already bought, at −3.4e38
    short = score <= -1e38
    product[short], score[short] = -1, 0.0
    return product, score


def _top(factors: Factors, rows: Ints, n: int, known: sp.csr_matrix | None) -> tuple[Ints, Floats]:
    """Best `n` products of at most BLOCK customers in different places of a block."""
    from implicit.cpu.topk import topk

    place = rows % BLOCK
    padded = np.zeros((BLOCK, factors.customer.shape[1]), dtype=np.float32)
    padded[place] = factors.customer[rows]
    found, values = topk(factors.product, padded, n, filter_query_items=known, num_threads=1)
    return found[place], values[place]


def largest(scores: Floats, n: int) -> tuple[Ints, Ints]:
    """(row, column) of each row's `n` largest scores above 0, in that order; of equal ones the first columns."""
    n = min(n, scores.shape[1])
    if not n:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    least = np.partition(scores, -n, axis=1)[:, -n]
    row, column = np.nonzero((scores >= least[:, None]) & (scores > 0))
    tied = scores[row, column] == least[row]
    room = n - np.bincount(row[~tied], minlength=len(scores))
    before = np.cumsum(tied) - tied
    first = np.searchsorted(row, np.arange(len(scores)))
    keep = ~tied | (before - np.append(before, 0)[first][row] < room[row])
    return row[keep], column[keep]


def contains(matrix: sp.csr_matrix, row: Ints, column: Ints) -> Bools:
    """Whether each (row, column) is an entry of a matrix with sorted columns."""
    n = matrix.shape[1]
    have = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr)) * n + matrix.indices
    want = np.asarray(row, dtype=np.int64) * n + column
    at = np.searchsorted(have, want)
    found: Bools = np.zeros(len(want), dtype=bool)
    inside = at < len(have)
    found[inside] = have[at[inside]] == want[inside]
    return found


def _blocks(rows: Ints, chosen: Ints) -> list[Ints]:
    """The chosen positions in `rows`, at most BLOCK at a time, of customers in different places of a block."""
    if not len(chosen):
        return []
    place = rows[chosen] % BLOCK
    order = np.argsort(place, kind="stable")
    turn = np.arange(len(chosen)) - np.searchsorted(place[order], place[order])
    by_turn = np.argsort(turn, kind="stable")
    return np.split(chosen[order[by_turn]], np.flatnonzero(np.diff(turn[by_turn])) + 1)


def _placed(bought: sp.csr_matrix, asked: Ints, place: Ints) -> sp.csr_matrix:
    """(BLOCK, n_products): the rows `asked` of a matrix, each in its rising place, the others empty."""
    counts = np.diff(bought.indptr)[asked]
    at = ranges(bought.indptr[asked], counts)
    sizes = np.zeros(BLOCK + 1, dtype=np.int32)
    sizes[place + 1] = counts
    shape = (BLOCK, bought.shape[1])
    return sp.csr_matrix((bought.data[at], bought.indices[at], np.cumsum(sizes, dtype=np.int32)), shape=shape)


def fit_similar(weights: sp.csr_matrix, n: int = 50) -> Neighbours:
    """Products bought by the same customers: cosine of their decayed columns, best `n` each."""
    from implicit.nearest_neighbours import all_pairs_knn, normalize

    if weights.nnz == 0:
        return _neighbours(sp.csr_matrix((weights.shape[1], weights.shape[1]), dtype=np.float32), n)
    columns = normalize(weights.T.tocsr()).T.tocsr()
    similarity = all_pairs_knn(columns, n + 1, show_progress=False, num_threads=0)
    return _neighbours(similarity.tocsr(), n)


def fit_companions(
    indptr: Ints,
    other: Ints,
    n_together: Ints,
    n_orders: Ints,
    n_all_orders: int,
    n: int = 30,
    prior: float = 20.0,
) -> Neighbours:
    """P(other product in the order | this one is), shrunk, and only where it beats chance; best `n` each.

    The share is (n_together + prior × base) / (n_orders + prior), base being the other product's share of all
    orders: a pair seen twice does not outrank one seen two hundred times. Ranked by share × log(lift), so
    that what is simply popular everywhere is no companion of everything.

    Parameters
    ----------
    indptr, other, n_together : co-occurrence as CSR over products
    n_orders : (n_products,) orders holding each product; n_all_orders : orders of the shop
    """
    n_products = len(indptr) - 1
    this = np.repeat(np.arange(n_products), np.diff(indptr))
    base = n_orders[other] / max(float(n_all_orders), 1.0)
    share = (n_together + prior * base) / (n_orders[this] + prior)
    lift = share / np.maximum(base, 1e-12)
    keep = lift > 1.0
    rank = share * np.log(np.maximum(lift, 1.0))
    order = np.lexsort((other[keep], -rank[keep], this[keep]))
    this, other, share = this[keep][order], other[keep][order], share[keep][order]
    place = np.arange(len(this)) - np.searchsorted(this, this)
    top = place < n
    counts = np.bincount(this[top], minlength=n_products)
    return Neighbours(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        other[top].astype(np.int32),
        share[top].astype(np.float32),
    )


def _neighbours(similarity: sp.csr_matrix, n: int) -> Neighbours:
    """The best `n` of each row, without the product itself, ties by row."""
    this = np.repeat(np.arange(similarity.shape[0]), np.diff(similarity.indptr))
    other, score = similarity.indices, similarity.data
    keep = (this != other) & (score > 0)
    this, other, score = this[keep], other[keep], score[keep]
    order = np.lexsort((other, -score, this))
    this, other, score = this[order], other[order], score[order]
    top = np.arange(len(this)) - np.searchsorted(this, this) < n
    counts = np.bincount(this[top], minlength=similarity.shape[0])
    return Neighbours(
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        other[top].astype(np.int32),
        score[top].astype(np.float32),
    )
