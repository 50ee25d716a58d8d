"""What a policy means for one bundle's products, worked out once: who is excluded, pinned, alike, already cheap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Exclude
from nextoffer.domain.arrays import Bools, Ints, Strings
from nextoffer.offers.choosing import Policy

CHEAPER = 0.95  # a product at less than this share of what is usually paid for it is discounted already


@dataclass(frozen=True, slots=True, eq=False)
class Shelf:
    """One row per product of a bundle, and one more at the end for "no product" (row −1): nothing holds for it.

    Parameters
    ----------
    price, unit_cost : (n + 1,) int64 minor units
    excluded, discounted, pinned, buried : (n + 1,) bool
    category, brand : (n + 1,) int32 codes, −1 where it has none
    order_value, margin_share : the shop's mean order in currency units, and what share of its sales is margin
    """

    price: Ints
    unit_cost: Ints
    excluded: Bools
    discounted: Bools
    pinned: Bools
    buried: Bools
    category: Ints
    brand: Ints
    order_value: float
    margin_share: float


_SHELVES: WeakKeyDictionary[Bundle, dict[tuple[object, ...], Shelf]] = WeakKeyDictionary()


def shelf_of(bundle: Bundle, policy: Policy) -> Shelf:
    """The shelf of a bundle under a policy; made once for as long as the bundle lives."""
    key = (policy.exclude, policy.pinned, policy.buried)
    made = _SHELVES.setdefault(bundle, {})
    if key not in made:
        made[key] = _make(bundle, policy)
    return made[key]


def _make(bundle: Bundle, policy: Policy) -> Shelf:
    catalogue, products, customers = bundle.catalogue, bundle.knowledge.products, bundle.knowledge.customers
    price, cost = catalogue.price.astype(np.int64), catalogue.unit_cost.astype(np.int64)
    sold = np.asarray(products.n_orders, dtype=np.float64)
    takings = float((sold * price).sum())
    orders = float(np.asarray(customers.frequency).sum())
    usual = np.exp(np.asarray(products.log_unit_price, dtype=np.float64))
    cheap = (sold > 0) & (price < CHEAPER * usual)
    ids = catalogue.ids.to_arrow()
    return Shelf(
        price=np.append(price, 0),
        unit_cost=np.append(cost, 0),
        excluded=_and_no(_excluded(bundle, policy.exclude)),
        discounted=_and_no(cheap),
        pinned=_and_no(_named(ids, policy.pinned)),
        buried=_and_no(_named(ids, policy.buried)),
        category=_codes(catalogue.category),
        brand=_codes(catalogue.brand),
        order_value=float(np.asarray(customers.monetary).sum()) / max(orders, 1.0),
        margin_share=float((sold * (price - cost)).sum()) / takings if takings > 0 else 0.0,
    )


def _excluded(bundle: Bundle, exclude: Exclude) -> Bools:
    catalogue = bundle.catalogue
    out = _named(catalogue.ids.to_arrow(), exclude.products)
    if exclude.brands:
        out |= _true(pc.is_in(catalogue.brand.to_arrow(), pa.array(exclude.brands, pa.large_string())))
    category = catalogue.category.to_arrow()
    for path in exclude.categories:
        out |= _true(pc.or_(pc.equal(category, path), pc.starts_with(category, f"{path} >")))
    return out


def _named(ids: pa.Array, patterns: Sequence[str]) -> Bools:
    """Products named by their ids, or by patterns as in `GIFT*`."""
    plain = [pattern for pattern in patterns if not set(pattern) & set("*?[")]
    found = _true(pc.is_in(ids, pa.array(plain, pa.large_string())))
    wild = [pattern for pattern in patterns if set(pattern) & set("*?[")]
    if wild:
        found |= np.array([any(fnmatchcase(i, p) for p in wild) for i in ids.to_pylist()], dtype=bool)
    return found


def _codes(texts: Strings) -> Ints:
    codes = pc.fill_null(texts.to_arrow().dictionary_encode().indices, -1)
    return np.append(np.asarray(codes, dtype=np.int32), np.int32(-1))


def _and_no(flags: Bools) -> Bools:
    return np.append(flags, False)


def _true(flags: pa.Array) -> Bools:
    """Nulls are no."""
    return np.array(pc.fill_null(flags, False).to_numpy(zero_copy_only=False), dtype=bool)
