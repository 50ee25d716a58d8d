"""Customers alike: what the people most like a customer bought lately (nearest neighbours).

The people asked are a pool of bounded size, so that a shop of a million costs what its customers cost, not their
square.

References
----------
Sarwar et al. (2000), EC; Hu et al. (2020), TIFU-KNN, SIGIR, for letting the newest baskets count most.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.models.collaborative import largest

N_POOL = 10_000
N_ALIKE = 200
BLOCK = 512  # customers held against the pool at a time


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """A pool of customers and what each bought lately.

    Parameters
    ----------
    customer : (n_pool,) int32 their rows, ascending
    indptr, product, weight : their purchases as compressed sparse rows; weights at most 1
    rarity : (n_products,) float32, log of one over the share of customers who bought it
    """

    customer: Ints
    indptr: Ints
    product: Ints
    weight: Floats
    rarity: Floats

    def matrix(self) -> sp.csr_matrix:
        """(n_pool, n_products) sparse."""
        shape = (len(self.customer), len(self.rarity))
        return sp.csr_matrix((self.weight, self.product, self.indptr), shape=shape)


def fit_people(recent: sp.csr_matrix, recency_days: Ints) -> People:
    """A pool from a (n_customers, n_products) matrix of recent purchases: all, or evenly of the newer half."""
    n_customers, n_products = recent.shape
    rows = np.arange(n_customers)
    if n_customers > N_POOL:
        newest = np.sort(np.lexsort((rows, recency_days))[: max(N_POOL, n_customers // 2)])
        rows = newest[np.linspace(0, len(newest) - 1, N_POOL).astype(np.int64)]
    pool = recent[rows]
    n_buyers = np.bincount(recent.indices, minlength=n_products)
    return People(
        rows.astype(np.int32),
        pool.indptr.astype(np.int64),
        pool.indices.astype(np.int32),
        np.minimum(pool.data, 1.0).astype(np.float32),
        np.log((n_customers + 1.0) / (n_buyers + 1.0)).astype(np.float32),
    )


def what_alike_bought(people: People, rows: Ints, recent: sp.csr_matrix) -> sp.csr_matrix:
    """(m, n_products) mean purchases of each customer's N_ALIKE nearest people, by cosine; not of themselves.

    Parameters
    ----------
    rows : (m,) customers asked for, −1 for one who is not known
    recent : (m, n_products) what they bought lately
    """
    pool = people.matrix()
    asked = recent.copy()
    asked.data = np.minimum(asked.data, 1.0)
    known = _unit(pool, people.rarity).T.tocsr()
    asked = _unit(asked, people.rarity)
    self_at = np.searchsorted(people.customer, rows)
    self_at[self_at == len(people.customer)] = 0
    is_self = people.customer[self_at] == rows if len(people.customer) else np.zeros(len(rows), bool)
    parts = [
        _nearest(
            asked[begin : begin + BLOCK],
            known,
            self_at[begin : begin + BLOCK],
            is_self[begin : begin + BLOCK],
        )
        @ pool
        for begin in range(0, len(rows), BLOCK)
    ]
    return sp.vstack(parts, format="csr") if parts else sp.csr_matrix(recent.shape, dtype=np.float32)


def _nearest(asked: sp.csr_matrix, known: sp.csr_matrix, self_at: Ints, is_self: Floats) -> sp.csr_matrix:
    """(block, n_pool) likeness of the nearest people, each row adding up to 1."""
    alike = (asked @ known).toarray()
    itself = np.flatnonzero(is_self)
    alike[itself, self_at[itself]] = 0.0
    row, column = largest(alike, N_ALIKE)
    value = alike[row, column]
    value /= np.bincount(row, value, len(alike))[row]
    indptr = np.searchsorted(row, np.arange(len(alike) + 1))
    return sp.csr_matrix((value, column, indptr), shape=alike.shape)


def _unit(matrix: sp.csr_matrix, rarity: Floats) -> sp.csr_matrix:
    """Rows weighted by how rare each product is, of length 1."""
    weighted = matrix.multiply(rarity[None, :]).tocsr()
    length = np.sqrt(np.asarray(weighted.multiply(weighted).sum(axis=1)).ravel())
    return (
        (sp.diags((1.0 / np.maximum(length, 1e-9)).astype(np.float32)) @ weighted).tocsr().astype(np.float32)
    )
