"""Product titles as vectors: what two products have in common by name, and what kind of thing each is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from nextoffer.domain.arrays import Strings

_COMMON = 1000  # an n-gram of more titles than this, and than 5 % of them, says nothing about the kind

Rows = npt.NDArray[np.int64]
Prices = npt.NDArray[np.float64]


def distinct_texts(titles: Strings) -> tuple[list[str], Rows]:
    """Distinct titles in lower case without punctuation, and which of them each product has."""
    plain = pc.utf8_lower(pc.fill_null(pa.array(list(titles), pa.string()), ""))
    plain = pc.utf8_trim_whitespace(pc.replace_substring_regex(plain, r"[^\p{L}\p{N}]+", " "))
    coded = plain.dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy().astype(np.int64)


def title_vectors(texts: list[str], text: Rows, prices: Prices) -> tuple[Any, Any]:
    """Two (m, n-grams) float32 matrices with rows of length 1: as the titles read, and by kind of thing.

    Sublinear TF-IDF of the 3- to 5-grams of ` word `, counted per distinct word, then summed over the words
    of each title; in the second every n-gram is weighed by the words it stands in.

    Parameters
    ----------
    texts : m distinct titles, lower case, words apart by one space
    text : (n,) the title of each product
    prices : (n,) currency; NaN or ≤ 0 = unknown
    """
    words = pc.split_pattern(pa.array(texts, pa.string()), " ")
    coded = words.flatten().dictionary_encode()
    row = np.repeat(np.arange(len(texts)), pc.list_value_length(words).to_numpy(zero_copy_only=False))
    vocabulary = coded.dictionary.to_pylist()
    shape = (len(texts), len(vocabulary))
    holds = sparse.csr_matrix((np.ones(len(row)), (row, coded.indices.to_numpy())), shape=shape)
    grams = _word_grams(vocabulary)
    weights = sparse.diags(_kind_weights(holds[text], prices))
    counts, weighed = (holds @ grams).tocsr(), (holds @ weights @ grams).tocsr()
    counts.sort_indices()
    weighed.sort_indices()
    titles_with = np.bincount(counts.indices, minlength=counts.shape[1])
    rarity = np.log((1 + len(texts)) / (1 + titles_with)) + 1
    rarity[titles_with > max(_COMMON, len(texts) // 20)] = 0.0
    plain = (1 + np.log(counts.data)) * rarity[counts.indices]
    return _unit_rows(counts, plain), _unit_rows(counts, plain * weighed.data / counts.data)


def _kind_weights(holds: Any, prices: Prices) -> Prices:
    """(words,) .2 to 1: how much a word tells of the kind of thing, judged by the prices it goes with.

    Bags, earrings and mugs each have their price; red things, large things and things with a heart cost
    anything. So a word counts the more, the less log prices vary among the products that bear it, against
    all products. Shrunk by 3 products that vary as all do, so a word borne once counts least.
    """
    known = np.flatnonzero(np.isfinite(prices) & (prices > 0))
    log_price = np.log(prices[known])
    variance = float(log_price.var()) if len(known) else 0.0
    if variance < 1e-12:
        return np.ones(holds.shape[1])
    log_price = (log_price - log_price.mean()) / variance**0.5
    bears = (holds[known] > 0).astype(np.float64).T.tocsr()
    n = np.asarray(bears.sum(axis=1)).ravel()
    within = bears @ log_price**2 - (bears @ log_price) ** 2 / np.maximum(n, 1)
    spread = (np.maximum(within, 0.0) + 3) / (np.maximum(n - 1, 0) + 3)
    weights: Prices = 1 - 0.8 * np.minimum(spread, 1.0)
    return weights


def _unit_rows(counts: Any, values: Prices) -> Any:
    """The cells of `counts` with other values, rows scaled to length 1, zeros dropped."""
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    length = np.sqrt(np.bincount(row, weights=values**2, minlength=counts.shape[0]))
    scaled = (values / np.where(length > 0, length, 1.0)[row]).astype(np.float32)
    vectors = sparse.csr_matrix((scaled, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    vectors.eliminate_zeros()
    return vectors


def _word_grams(vocabulary: list[str]) -> Any:
    ids: dict[str, int] = {}
    row: list[int] = []
    column: list[int] = []
    for place, word in enumerate(vocabulary):
        padded = f" {word} " if word else ""
        grams = [padded[at : at + n] for n in (3, 4, 5) for at in range(len(padded) - n + 1)]
        row += [place] * len(grams)
        column += [ids.setdefault(gram, len(ids)) for gram in grams]
    return sparse.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(vocabulary), len(ids)))
