"""Collaborative peers: popularity, implicit's ALS, BM25 and cosine, EASE.

Each takes (n_users, n_products) purchase weights, the rows asked for, the length of a list and whether products
bought before are left out; it gives (m, k) product rows, best first, −1 where a list ends early. Decay is in the
weights: `Baskets.matrix(half_life)` or the product's own decayed pairs. `times`, where taken, is (n_products,)
a factor on every product's score: the trend that lifts all of these methods.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from benchmarks.peers.lists import Floats, Ints, Lists, best, blocks, stacked, without


@dataclass(frozen=True, slots=True)
class Als:
    """Parameters of ALS: implicit's defaults."""

    factors: int = 64
    regularization: float = 0.01
    alpha: float = 1.0
    iterations: int = 15


def popularity(
    weights: sp.csr_matrix, rows: Ints, k: int, new_only: bool, bought: sp.csr_matrix | None = None
) -> Lists:
    """What most users bought: the column sums of `weights`, which may hold recent purchases only.

    Parameters
    ----------
    bought : what `new_only` leaves out, where `weights` holds less than that
    """
    sums = np.asarray(weights.sum(axis=0)).ravel()
    known = weights if bought is None else bought
    return _ranked(known, rows, k, new_only, lambda block: np.tile(sums, (len(block), 1)))


def als(
    weights: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    chosen: Als | None = None,
    times: Floats | None = None,
    seed: int = 0,
) -> Lists:
    """implicit's AlternatingLeastSquares.

    References
    ----------
    Hu, Koren & Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets, ICDM.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    chosen = chosen or Als()
    with threadpool_limits(1, "blas"):  # the constructor looks, and warns of more threads
        model = AlternatingLeastSquares(
            factors=chosen.factors,
            regularization=chosen.regularization,
            alpha=chosen.alpha,
            iterations=chosen.iterations,
            random_state=seed,
        )
        model.fit(weights.astype(np.float32), show_progress=False)
    users, products = model.user_factors, model.item_factors
    return _ranked(weights, rows, k, new_only, lambda block: users[block] @ products.T, times)


def bm25(
    weights: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    neighbours: int = 20,
    k1: float = 1.2,
    b: float = 0.75,
    times: Floats | None = None,
) -> Lists:
    """implicit's BM25Recommender: products alike by their buyers, common ones damped; defaults are implicit's.

    References
    ----------
    Robertson & Zaragoza (2009), The Probabilistic Relevance Framework: BM25 and Beyond.
    """
    from implicit.nearest_neighbours import bm25_weight

    columns = bm25_weight(weights.T, K1=k1, B=b).T.tocsr()
    return _alike(weights, rows, k, new_only, columns, neighbours, times)


def cosine(
    weights: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    neighbours: int = 20,
    times: Floats | None = None,
) -> Lists:
    """implicit's CosineRecommender; defaults are implicit's.

    References
    ----------
    Sarwar, Karypis, Konstan & Riedl (2001), Item-based Collaborative Filtering, WWW.
    """
    from implicit.nearest_neighbours import normalize

    columns = normalize(weights.T).T.tocsr()
    return _alike(weights, rows, k, new_only, columns, neighbours, times)


def ease(
    weights: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    l2: float = 100.0,
    times: Floats | None = None,
) -> Lists:
    """EASE: the ridge regression of each product on all the others, in closed form.

    Dense in products: 8 n² bytes. On 0/1 weights it is the paper's; on decayed ones the strongest single method.

    References
    ----------
    Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW.
    """
    learned = ease_weights(weights, l2)
    return _ranked(weights, rows, k, new_only, lambda block: weights[block] @ learned, times)


def ease_weights(weights: sp.csr_matrix, l2: float) -> Floats:
    """(n_products, n_products) item-to-item weights: 1 − P / diag(P), P the inverse of XᵀX + l2."""
    from scipy.linalg import lapack

    gram = (weights.T @ weights).toarray(order="F")
    gram[np.diag_indices_from(gram)] += l2
    factor, failed = lapack.dpotrf(gram, lower=1, overwrite_a=1)
    inverse, singular = lapack.dpotri(factor, lower=1, overwrite_c=1)
    if failed or singular:
        raise ValueError(f"XᵀX + {l2} is not positive definite")
    learned: Floats = np.tril(inverse)
    learned += np.tril(learned, -1).T
    learned /= -np.diag(learned)
    np.fill_diagonal(learned, 0.0)
    return learned


def _alike(
    weights: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    columns: sp.csr_matrix,
    neighbours: int,
    times: Floats | None,
) -> Lists:
    """What implicit's recommenders of either kind do once they have weighted the columns."""
    from implicit.nearest_neighbours import ItemItemRecommender

    model = ItemItemRecommender(K=neighbours)
    model.fit(columns, show_progress=False)
    similarity = model.similarity
    return _ranked(weights, rows, k, new_only, lambda block: (weights[block] @ similarity).toarray(), times)


def _ranked(
    bought: sp.csr_matrix,
    rows: Ints,
    k: int,
    new_only: bool,
    score: Callable[[Ints], Floats],
    times: Floats | None = None,
) -> Lists:
    """The best k of each row, block by block; only what scores above 0 is listed."""
    lists = []
    for block in blocks(rows):
        scores = np.array(score(block))  # ours to change
        if times is not None:
            scores *= times
        lists.append(best(without(scores, bought[block]) if new_only else scores, k))
    return stacked(lists, k)
