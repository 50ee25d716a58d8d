"""The k best of each row of scores, the way every peer ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

Ints = npt.NDArray[np.integer[Any]]
Floats = npt.NDArray[np.floating[Any]]
Lists = npt.NDArray[np.int64]

BLOCK = 256  # users scored at a time: memory is this many rows of all users or all products


def best(scores: Floats, k: int) -> Lists:
    """(m, k) columns by falling score, ties by column; −1 where a score is not above 0 or there is no column."""
    m, n = scores.shape
    lists = np.full((m, k), -1, dtype=np.int64)
    least = np.partition(scores, n - k, axis=1)[:, n - k] if n > k else np.full(m, -np.inf)
    row, column = np.nonzero((scores >= least[:, None]) & (scores > 0))
    order = np.lexsort((column, -scores[row, column], row))
    row, column = row[order], column[order]
    rank = np.arange(len(row)) - np.searchsorted(row, row)
    lists[row[rank < k], rank[rank < k]] = column[rank < k]
    return lists


def without(scores: Floats, bought: sp.csr_matrix) -> Floats:
    """The scores, in place, with 0 where a product was bought before."""
    scores[np.repeat(np.arange(len(scores)), np.diff(bought.indptr)), bought.indices] = 0.0
    return scores


def blocks(rows: Ints) -> list[Ints]:
    """The rows, BLOCK at a time."""
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


def stacked(lists: list[Lists], k: int) -> Lists:
    """The lists of all blocks under each other."""
    return np.concatenate([np.zeros((0, k), dtype=np.int64), *lists])
