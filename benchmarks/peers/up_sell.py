"""Peers of the up-sell task: what else could order the steps up that are open to a customer."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from nextoffer.models.knowledge import Knowledge
from nextoffer.models.up_sell import Steps

Floats = npt.NDArray[np.float64]
RECENT_DAYS = 28
EPSILON = 1e-9  # ties of one figure by the next


def popularity(knowledge: Knowledge, steps: Steps) -> Floats:
    """Customers who ever bought the product."""
    return knowledge.products.n_customers[steps.product].astype(np.float64)


def popularity_28(knowledge: Knowledge, steps: Steps) -> Floats:
    """Customers who bought the product in the last 28 days; ties by all."""
    recent = knowledge.products.share_28[steps.product].astype(np.float64)
    return recent + EPSILON * popularity(knowledge, steps)


def neighbours_x_recent(knowledge: Knowledge, steps: Steps) -> Floats:
    """Cosine of the product's buyers with those of the customer's products, summed, times 28-day popularity.

    References
    ----------
    Sarwar et al. (2001), WWW, item-based collaborative filtering.
    """
    pairs = knowledge.pairs
    bought = pairs.matrix(np.ones(len(pairs.product), dtype=np.float64), len(knowledge.products))
    length = np.sqrt(np.maximum(np.asarray(bought.sum(axis=0)).ravel(), 1.0))
    columns = (bought @ sp.diags(1.0 / length)).tocsc()
    customers = np.unique(steps.position)
    scores: Any = (bought[customers] @ (columns.T @ columns)).tocsr()
    likeness = np.asarray(scores[np.searchsorted(customers, steps.position), steps.product]).ravel()
    return likeness * (popularity_28(knowledge, steps) + EPSILON)


PEERS = {
    "popularity": popularity,
    "popularity, 28 days": popularity_28,
    "neighbours x recent": neighbours_x_recent,
}
