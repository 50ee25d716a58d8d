"""Product-to-product weights by ridge regression, of the most bought products: two closed forms.

*Next basket*: what a customer bought lately, newest most, regressed on what the next basket holds. It knows
repeats, complements that follow and what habits change into. *EASE*: each product regressed on the others of the
same customer. Both need as many weights as products squared, so that only the N_PRODUCTS most bought take part:
the rest are sold too rarely for a weight to mean anything, and other sources propose them.

References
----------
Steck (2019), Embarrassingly shallow autoencoders for sparse data, WWW; Hoerl & Kennard (1970), Technometrics 12.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.features.interactions import Baskets

Matrix = npt.NDArray[np.float64]
N_PRODUCTS = 2_000
STEP = 0.8  # what an order counts for, relative to the next newer one
HALF_LIFE_DAYS = 14.0  # of what is learned from: what follows what changes with the season
RIDGE_NEXT = 10.0
RIDGE_EASE = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """What having bought one product says of another.

    Parameters
    ----------
    place : (n_products,) int32 row and column in `weight`, −1 for products that take no part
    product : (k,) int32 products that do, ascending
    weight : (k, k) float32; the score of product j is Σ_i bought_i · weight[i, j]
    """

    place: Ints
    product: Ints
    weight: Floats

    def scores(self, bought: sp.csr_matrix) -> Floats:
        """(m, k) float32 scores of customers whose history is (m, n_products) sparse; row by row."""
        return np.asarray(bought[:, self.product] @ self.weight, dtype=np.float32)


def fit_next_basket(baskets: Baskets, n_products: int) -> Weights:
    """Weights from the state of a customer before each basket to what the basket holds."""
    order, start = _orders(baskets)
    weights = _taking_part(np.bincount(baskets.product_row, minlength=n_products))
    columns = weights.place[baskets.product_row]
    inside = columns >= 0
    shape = (len(start), len(weights.product))
    held = sp.csr_matrix((np.ones(int(inside.sum())), (order[inside], columns[inside])), shape=shape)
    customer = baskets.customer_row[start]
    follows = np.flatnonzero(customer[1:] == customer[:-1])
    if not len(follows):
        return weights
    state = evened((_decay(customer) @ held).tocsr())[follows]
    fresh = np.sqrt(0.5 ** (baskets.age_days[start][follows + 1] / HALF_LIFE_DAYS))
    state, after = sp.diags(fresh) @ state, sp.diags(fresh) @ held[follows + 1]
    gram = (state.T @ state).toarray() + RIDGE_NEXT * np.eye(shape[1])
    return Weights(weights.place, weights.product, _solve(gram, (state.T @ after).toarray()))


def fit_ease(bought: sp.csr_matrix) -> Weights:
    """EASE on a (n_customers, n_products) matrix of decayed purchases; a product has no weight on itself."""
    weights = _taking_part(np.bincount(bought.indices, minlength=bought.shape[1]))
    history = bought[:, weights.product].astype(np.float64)
    history.data = np.minimum(history.data, 1.0)
    if not history.nnz:
        return weights
    gram = (history.T @ history).toarray() + RIDGE_EASE * np.eye(len(weights.product))
    inverse = _inverse(gram)
    weight = -inverse / np.diag(inverse)
    np.fill_diagonal(weight, 0.0)
    return Weights(weights.place, weights.product, weight.astype(np.float32))


def evened(state: sp.csr_matrix) -> sp.csr_matrix:
    """Rows divided by the root of their sum: a long history says more than a short one, not in proportion."""
    total = np.asarray(state.sum(axis=1)).ravel()
    return (sp.diags(1.0 / np.sqrt(np.maximum(total, 1e-9))) @ state).tocsr()


def _taking_part(n_bought: Ints) -> Weights:
    """The most bought products, ties by row, without weights yet."""
    best = np.lexsort((np.arange(len(n_bought)), -n_bought))[:N_PRODUCTS]
    product = np.sort(best[n_bought[best] > 0]).astype(np.int32)
    place = np.full(len(n_bought), -1, dtype=np.int32)
    place[product] = np.arange(len(product))
    return Weights(place, product, np.zeros((len(product), len(product)), np.float32))


def _orders(baskets: Baskets) -> tuple[Ints, Ints]:
    """Number of the order of each line, and the first line of each order."""
    customer, rank = baskets.customer_row, baskets.order_rank
    new = np.ones(len(customer), dtype=bool)
    new[1:] = (customer[1:] != customer[:-1]) | (rank[1:] != rank[:-1])
    return np.cumsum(new) - 1, np.flatnonzero(new)


def _decay(customer: Ints) -> sp.csr_matrix:
    """(n_orders, n_orders) weights of each order in the state after a later one of the same customer."""
    n = len(customer)
    row, column, value = [], [], []
    back, same = 0, np.arange(n)
    while len(same):
        row.append(same)
        column.append(same - back)
        value.append(np.full(len(same), STEP**back))
        back += 1
        same = same[same >= back]
        same = same[customer[same] == customer[same - back]]
    return sp.csr_matrix((np.concatenate(value), (np.concatenate(row), np.concatenate(column))), shape=(n, n))


def _solve(gram: Matrix, right: Matrix) -> npt.NDArray[np.float32]:
    """Solution of a symmetric positive system, in single precision: the ridge keeps it far from singular."""
    from scipy.linalg import cho_factor, cho_solve
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):  # the same bits on any machine of a kind
        factor = cho_factor(gram.astype(np.float32), overwrite_a=True)
        return np.asarray(cho_solve(factor, right.astype(np.float32), overwrite_b=True))


def _inverse(gram: Matrix) -> Matrix:
    """Inverse of a symmetric positive matrix, by its Cholesky factor: a third of the work of solving for it."""
    from scipy.linalg import cho_factor
    from scipy.linalg.lapack import dpotri
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        factor, lower = cho_factor(gram, lower=True)
        half, failed = dpotri(factor, lower=lower, overwrite_c=True)
    if failed:
        raise np.linalg.LinAlgError("EASE: the matrix of purchases is singular")
    whole: Matrix = np.tril(half) + np.tril(half, -1).T
    return whole
