"""A category or a brand as a rule of the marketer names it: its products, and the best of them for everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.offers.audiences import leaves
from nextoffer.offers.shelf import Shelf

BEST = 5  # products every customer is considered for, beside their own candidates


@dataclass(frozen=True, slots=True, eq=False)
class Assortment:
    """Ranges of products, each a category, a brand, or what is of both.

    Parameters
    ----------
    leaf : (n_products,) code of the product's category and brand together
    holds : (n_ranges, n_leaves) bool
    start, product : the BEST sellable products of range k are product[start[k] : start[k + 1]]
    sellable : (n_products,) bool
    margin : (n_products,) minor units, at least 0
    once : (n_products,) bool, not bought again within days
    """

    leaf: Ints
    holds: Bools
    start: Ints
    product: Ints
    sellable: Bools
    margin: Ints
    once: Bools


def assortment_of(
    bundle: Bundle, wanted: Sequence[tuple[str | None, str | None]], shelf: Shelf | None = None
) -> Assortment:
    """The products of each category, brand, or both, and the best of them for everybody; none the shop excludes."""
    catalogue, products = bundle.catalogue, bundle.knowledge.products
    below, category = leaves(catalogue.category)
    encoded = catalogue.brand.to_arrow().dictionary_encode()
    brands = {name: code for code, name in enumerate(encoded.dictionary.to_pylist())}
    brand = np.asarray(pc.fill_null(encoded.indices, -1), dtype=np.int64)
    found, leaf = np.unique((category + 1) * (len(brands) + 1) + brand + 1, return_inverse=True)
    of_category, of_brand = (part - 1 for part in np.divmod(found, len(brands) + 1))
    sellable = ~catalogue.hidden & ~catalogue.restricted & (catalogue.price > 0) & ~(catalogue.stock <= 0)
    if shelf is not None:
        sellable &= ~shelf.excluded[:-1]
    margin = np.maximum(catalogue.price - catalogue.unit_cost, 0)
    worth = np.exp(products.log_share_28.astype(np.float64)) * margin
    holds = np.zeros((len(wanted), len(found)), dtype=bool)
    best = []
    for at, (path, label) in enumerate(wanted):
        holds[at] = True
        if path is not None:
            holds[at] &= np.isin(of_category, below.get(path, -2))
        if label is not None:
            holds[at] &= of_brand == brands.get(label, -2)
        inside = np.flatnonzero(holds[at][leaf] & sellable)
        best.append(inside[np.lexsort((inside, -worth[inside]))][:BEST])
    start = np.concatenate([[0], np.cumsum([len(rows) for rows in best])]).astype(np.int64)
    product = np.concatenate([np.zeros(0, np.int64), *best])
    return Assortment(leaf, holds, start, product, sellable, margin, ~catalogue.repeatable)
