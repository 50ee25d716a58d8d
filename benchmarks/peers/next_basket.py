"""Next-basket peers, from their papers: frequency with popularity, TIFU-KNN, UP-CF@r.

Each takes a split and gives (m, k) product rows for its judged users, best first. Neighbours are taken from the
histories of all users; nobody's hidden basket is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from benchmarks.peers.lists import Floats, Ints, Lists, best, blocks, stacked
from benchmarks.quality.splits import Baskets


@dataclass(frozen=True, slots=True)
class Tifu:
    """Parameters of TIFU-KNN; the defaults are those published for Ta-Feng."""

    neighbours: int = 300
    within_decay: float = 0.9
    group_decay: float = 0.7
    own: float = 0.7
    groups: int = 7


@dataclass(frozen=True, slots=True)
class Upcf:
    """Parameters of UP-CF@r: baskets that count, asymmetry, locality, neighbours kept."""

    recent: int = 5
    asymmetry: float = 0.25
    locality: float = 5.0
    neighbours: int = 1_000


def personal_frequency(baskets: Baskets, k: int) -> Lists:
    """P-TopFreq: the user's own products by how many of their baskets held them, ties by popularity."""
    return _by_frequency(baskets, k, fill=False)


def gp_topfreq(baskets: Baskets, k: int) -> Lists:
    """GP-TopFreq: the user's own products by frequency, then everybody's; all ties by popularity.

    The reference code breaks ties of the personal part by first purchase; popularity is the stronger rule.

    References
    ----------
    Li, Jullien, Ariannezhad & de Rijke (2023), A Next Basket Recommendation Reality Check, TOIS 41(4).
    """
    return _by_frequency(baskets, k, fill=True)


def _by_frequency(baskets: Baskets, k: int, fill: bool) -> Lists:
    counts = baskets.matrix()
    popular = np.asarray(counts.sum(axis=0)).ravel()
    below_one = popular / (popular.max() + 1.0)
    lists = []
    for rows in blocks(baskets.judged):
        own = counts[rows].toarray()
        lists.append(best(own + below_one * ((own > 0) | fill), k))
    return stacked(lists, k)


def tifu_knn(baskets: Baskets, k: int, chosen: Tifu) -> Lists:
    """TIFU-KNN: own decayed frequencies mixed with the mean of the nearest users' (Euclidean).

    References
    ----------
    Hu, He, Gao & Zhang (2020), Modeling Personalized Item Frequency Information for Next-basket
    Recommendation, SIGIR; weights as in the authors' code, on which their figures and later ones rest.
    """
    vectors = tifu_vectors(baskets, chosen)
    square = np.asarray(vectors.multiply(vectors).sum(axis=1)).ravel()
    n = min(chosen.neighbours, baskets.n_users - 1)
    lists = []
    for rows in blocks(baskets.judged):
        near = 2.0 * (vectors[rows] @ vectors.T).toarray() - square
        near[np.arange(len(rows)), rows] = -np.inf
        around = _nearest(near, n)
        mean = sp.csr_matrix(
            (np.full(around.size, 1.0 / n), around.ravel(), np.arange(len(rows) + 1) * n),
            shape=(len(rows), baskets.n_users),
        )
        scores = chosen.own * vectors[rows] + (1.0 - chosen.own) * (mean @ vectors)
        lists.append(best(scores.toarray(), k))
    return stacked(lists, k)


def tifu_vectors(baskets: Baskets, chosen: Tifu) -> sp.csr_matrix:
    """(n_users, n_known) decayed frequencies: baskets decay by age, groups of baskets once more.

    A history of n baskets makes g = min(n, groups) groups, as equal as can be, the longer ones last; a basket
    weighs within_decay^age × group_decay^(groups − 1 − place of its group) / (size of its group × g).
    """
    n = baskets.n_baskets()[baskets.user]
    at = baskets.number - 1
    groups = np.minimum(n, chosen.groups)
    size, extra = n // groups, n % groups
    short = (groups - extra) * size  # baskets that lie in groups of the shorter length
    late = at >= short
    place = np.where(late, groups - extra + (at - short) // (size + 1), at // size)
    weight = chosen.within_decay ** (n - 1 - at) * chosen.group_decay ** (chosen.groups - 1 - place)
    weight = weight / ((size + late) * groups)
    shape = (baskets.n_users, baskets.n_known)
    return sp.csr_matrix((weight, (baskets.user, baskets.product)), shape=shape)


def up_cf(baskets: Baskets, k: int, chosen: Upcf) -> Lists:
    """UP-CF@r: recent personal popularity, summed over users by similarity^locality, oneself with weight 1.

    Similarity is the asymmetric cosine of who ever bought what: |u ∩ v| / (|u|^a |v|^(1 − a)).

    References
    ----------
    Faggioli, Polato & Aiolli (2020), Recency Aware Collaborative Filtering for Next Basket Recommendation,
    UMAP; Aiolli (2013), RecSys.
    """
    bought = (baskets.matrix() > 0).astype(np.float64)
    n_bought = np.maximum(np.diff(bought.indptr), 1)
    counted = np.maximum(np.minimum(baskets.n_baskets(), chosen.recent), 1)
    recent = sp.diags_array(1.0 / counted) @ baskets.matrix(last=chosen.recent)
    n = min(chosen.neighbours, baskets.n_users)
    lists = []
    for rows in blocks(baskets.judged):
        both = (bought[rows] @ bought.T).toarray()
        likeness = both / n_bought[rows, None] ** chosen.asymmetry / n_bought ** (1.0 - chosen.asymmetry)
        likeness[np.arange(len(rows)), rows] = 1.0
        around = _nearest(likeness, n)
        weight = np.take_along_axis(likeness, around, axis=1) ** chosen.locality
        near = sp.csr_matrix(
            (weight.ravel(), around.ravel(), np.arange(len(rows) + 1) * n), shape=(len(rows), baskets.n_users)
        )
        lists.append(best((near @ recent).toarray(), k))
    return stacked(lists, k)


def _nearest(near: Floats, n: int) -> Ints:
    """(m, n) columns of the greatest values of each row, in no order."""
    n_columns = near.shape[1]
    if n >= n_columns:
        return np.tile(np.arange(n_columns), (len(near), 1))
    return np.argpartition(near, n_columns - n, axis=1)[:, n_columns - n :]
