"""Product families and price ladders: which products are one kind of thing, and which of it is a step dearer.

A family is a leaf of the shop's categories; where there is none, or it holds too much to be one kind, titles
that look alike. A step of the ladder leads to a product of the family at 1.10 to 1.60 times the price.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from nextoffer.domain.arrays import Floats, Ints, Strings
from nextoffer.models.collaborative import Neighbours
from nextoffer.models.titles import distinct_texts, title_vectors

SIMILAR = 0.50  # least cosine of a title to the leading title of its family; see fit_families
LARGEST_LEAF = 300  # products; a category of more is split by title
MOST_STEPS = 20
_SMALL = 1e-6  # a family tie, so that two of a category with nothing in common in their titles still pair
_NEIGHBOURS = 100  # nearest titles kept for linking
_BLOCK = 4_000_000  # pairs looked at in one go
_PER_UNIT = 10_000  # prices are compared as they are stored, in 1/10,000 of the currency unit

Rows = npt.NDArray[np.int64]
Prices = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Families(Neighbours):
    """Families of n products; as neighbours, the dearer ones of each product's family.

    Parameters
    ----------
    indptr, product : steps of product i are `product[indptr[i]:indptr[i + 1]]`, likest title first, at most 20
    score : float32 cosine similarity of the two titles, 0..1
    family : (n,) int32 id, numbered by first product; −1 = stands alone
    price : (n,) float64 currency, NaN = unknown
    """

    family: npt.NDArray[np.int32]
    price: Prices


def fit_families(titles: Strings, categories: Strings, prices: Prices, popularity: Ints | Floats) -> Families:
    """Families and price ladders of all products.

    Titles are compared by the cosine of their TF-IDF of character 3- to 5-grams inside words, so that word
    order, plurals and typing errors matter little. For families the words that tell the kind of thing (the
    lunch bag) outweigh those that tell the variant (the red one). A family gathers the titles around a
    leading one, each like the leader itself: chains of alike pairs do not run together. The steps of a
    product are ordered by plain likeness, so that the dearer thing of the same kind keeps its colour.

    Chosen on Online Retail at 2011-08-19 and 2011-09-16: with weighed words 90 % of the shop's own variants
    (85123A, 85123B) fall in one family, with plain titles 76 %. The price paid: lists of five catch 9 to 16 %
    fewer purchases, for people also collect one pattern across kinds. At a least likeness of .50 a step
    exists for 96 % of the active customers and is bought 2.5 to 3 times as often as its popularity says.

    Parameters
    ----------
    titles, categories : n texts, None where unknown; a category is a path, as in A > B > C
    prices : (n,) currency; NaN or ≤ 0 = unknown: such a product is in a family but on no ladder
    popularity : (n,) orders; of equally alike steps the more bought comes first, and of a family of more
        than 300 products only the 300 most bought are ever a step
    """
    texts, text = distinct_texts(titles)
    prices = np.asarray(prices, dtype=np.float64)
    plain, by_kind = title_vectors(texts, text, prices)
    family = _numbered(_kinds(_leaves(categories), text, by_kind))
    return _ladder(family, plain[text], prices, np.asarray(popularity, dtype=np.float64))


def in_price_units(prices: Prices) -> Rows:
    """(n,) prices as they are compared, in 1/10,000 of the currency unit; 0 where unknown."""
    known = np.isfinite(prices) & (prices > 0)
    units: Rows = np.rint(np.where(known, prices, 0.0) * _PER_UNIT).astype(np.int64)
    return units


def _kinds(leaf: Rows, text: Rows, vectors: Any) -> Rows:
    """(n,) some id of each product's family, −1 without category and title."""
    titled = np.diff(vectors.indptr)[text] > 0
    group = np.where(leaf >= 0, leaf, leaf.max(initial=-1) + 1)
    large = np.bincount(group, minlength=1) > LARGEST_LEAF
    by_title = (large[group] | (leaf < 0)) & titled
    nodes, node = np.unique(np.stack([group[by_title], text[by_title]]), axis=1, return_inverse=True)
    kinds = np.where(large[group] | (leaf < 0), -1, leaf)
    if len(node):
        leader = _leaders(_within(vectors[nodes[1]], nodes[0]), nodes[0])
        kinds[by_title] = leaf.max(initial=-1) + 1 + leader[node]
    return kinds


def _leaders(vectors: Any, group: Rows) -> Rows:
    """(n,) row of the leading title each title belongs to; a leader is its own."""
    n = vectors.shape[0]
    row, other, likeness = _neighbours(vectors, group)
    centrality = np.round(np.bincount(row, weights=likeness, minlength=n), 4)
    rank = np.empty(n, dtype=np.int64)
    rank[np.lexsort((-np.arange(n), centrality))] = np.arange(n)
    free, leads = np.ones(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
    a, b = row, other
    while free.any():  # the same leaders as taking the most central free title one by one
        best = np.full(n, -1)
        np.maximum.at(best, a, rank[b])
        new = free & (rank > best)
        leads |= new
        free &= ~new
        free[a[new[b]]] = False
        open_ = free[a] & free[b]
        a, b = a[open_], b[open_]
    follows = ~leads[row] & leads[other]
    row, other, likeness = row[follows], other[follows], likeness[follows]
    order = np.lexsort((other, -likeness, row))
    followers, first = np.unique(row[order], return_index=True)
    leader = np.arange(n)
    leader[followers] = other[order][first]
    return leader


def _neighbours(vectors: Any, group: Rows) -> tuple[Rows, Rows, Prices]:
    """Pairs of titles at least `SIMILAR`, each with its nearest, both ways round."""
    n, parts = vectors.shape[0], []
    for row, other, likeness in _products(vectors, vectors, np.bincount(group)[group]):
        near = (likeness >= SIMILAR) & (row != other)
        parts.append(_best(row[near], other[near], likeness[near], np.zeros(n), _NEIGHBOURS))
    row, other, likeness = (np.concatenate(part) for part in zip(*parts, strict=True))
    low, high = np.minimum(row, other), np.maximum(row, other)
    _, once = np.unique(low * n + high, return_index=True)
    low, high, likeness = low[once], high[once], likeness[once]
    return np.r_[low, high], np.r_[high, low], np.r_[likeness, likeness]


def _ladder(family: Rows, vectors: Any, prices: Prices, popularity: Prices) -> Families:
    n = len(family)
    units = in_price_units(prices)
    on = np.flatnonzero((units > 0) & (family >= 0))
    steps = on[_place_in(family[on], -popularity[on]) < LARGEST_LEAF]
    width = int(family.max(initial=-1)) + 1
    ties = sparse.csr_matrix((np.full(len(on), _SMALL**0.5), (on, family[on])), shape=(n, width))
    local = sparse.hstack([_within(vectors, family), ties.astype(np.float32)], format="csr")
    parts = [(np.empty(0, dtype=np.int64),) * 2 + (np.empty(0),)]
    per_row = np.minimum(np.bincount(family[on], minlength=1), LARGEST_LEAF)[family[on]]
    for row, other, likeness in _products(local[on], local[steps], per_row):
        low, high = on[row], steps[other]
        dearer = (10 * units[high] >= 11 * units[low]) & (10 * units[high] <= 16 * units[low])
        likeness = np.clip(likeness - _SMALL, 0.0, 1.0)
        parts.append(_best(low[dearer], high[dearer], likeness[dearer], popularity, MOST_STEPS))
    row, step, score = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Families(
        indptr=_indptr(np.bincount(row, minlength=n)),
        product=step.astype(np.int32),
        score=score.astype(np.float32),
        family=family.astype(np.int32),
        price=np.where(units > 0, prices, np.nan),
    )


def _best(
    row: Rows, other: Rows, likeness: Prices, popularity: Prices, most: int
) -> tuple[Rows, Rows, Prices]:
    """The `most` likest per row, then the more popular, then the lower row; likeness to 4 digits."""
    likeness = np.round(likeness, 4)
    order = np.lexsort((other, -popularity[other], -likeness, row))
    kept = order[_run_places(row[order]) < most]
    return row[kept], other[kept], likeness[kept]


def _products(left: Any, right: Any, pairs: Ints) -> Iterator[tuple[Rows, Rows, Prices]]:
    """Non-zero cells (row of left, row of right, value) of left · rightᵀ, in blocks of `_BLOCK` pairs."""
    transposed = right.T.tocsr()
    block = np.cumsum(pairs) // _BLOCK
    edges = np.r_[0, np.flatnonzero(np.diff(block)) + 1, len(block)]
    for start, end in pairwise(edges.tolist()):
        cells = (left[start:end] @ transposed).tocoo()
        yield cells.row.astype(np.int64) + start, cells.col.astype(np.int64), cells.data.astype(np.float64)


def _within(vectors: Any, group: Rows) -> Any:
    """The same vectors in columns of their group's own, so that only rows of one group have any product."""
    row = np.repeat(np.arange(vectors.shape[0]), np.diff(vectors.indptr))
    grouped = group[row] >= 0
    keys = group[row] * vectors.shape[1] + vectors.indices
    columns, column = np.unique(keys[grouped], return_inverse=True)
    shape = (vectors.shape[0], len(columns))
    return sparse.csr_matrix((vectors.data[grouped], (row[grouped], column)), shape=shape)


def _leaves(categories: Strings) -> Rows:
    """(n,) id of each product's category path (its last level, told apart by those above); −1 = none."""
    paths = pc.utf8_trim_whitespace(pc.utf8_lower(pa.array(list(categories), pa.string())))
    known = pc.fill_null(pc.greater(pc.utf8_length(paths), 0), False)
    codes = pc.if_else(known, paths, None).dictionary_encode().indices
    return np.asarray(pc.fill_null(codes, -1).to_numpy(zero_copy_only=False), dtype=np.int64)


def _numbered(kinds: Rows) -> Rows:
    """Ids 0, 1, … by first product; a family of one is none."""
    _, first, inverse, counts = np.unique(kinds, return_index=True, return_inverse=True, return_counts=True)
    real = (counts > 1) & (kinds[first] >= 0)
    order = np.argsort(np.where(real, first, len(kinds)), kind="stable")
    number = np.full(len(first), -1, dtype=np.int64)
    number[order[: int(real.sum())]] = np.arange(int(real.sum()))
    return number[inverse]


def _place_in(group: Rows, by: Prices) -> Rows:
    """(n,) rank of each row within its group, lowest `by` first, ties by row."""
    order = np.lexsort((np.arange(len(group)), by, group))
    places = np.empty(len(group), dtype=np.int64)
    places[order] = _run_places(group[order])
    return places


def _run_places(runs: Rows) -> Rows:
    """(n,) 0, 1, … along each run of equal values."""
    return np.arange(len(runs)) - np.searchsorted(runs, runs)


def _indptr(counts: Ints) -> Rows:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(counts, dtype=np.int64)])
