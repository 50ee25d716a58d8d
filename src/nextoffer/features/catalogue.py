"""The catalogue as columns: what each product is called, costs, and whether it may be offered."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Floats, Ints, Strings
from nextoffer.domain.money import minor_digits
from nextoffer.engines.engine import Engine


@dataclass(frozen=True, slots=True, eq=False)
class Catalogue:
    """Products in the order of their sorted ids.

    `price` and `unit_cost` are integer minor units (`digits` decimals), 0 where no price is known; `stock` is
    NaN where it is not tracked, `shelf_life_days` NaN where unknown.
    """

    currency: str
    digits: int
    ids: Strings
    title: Strings
    url: Strings
    image_url: Strings
    category: Strings
    brand: Strings
    price: Ints
    unit_cost: Ints
    stock: Floats
    shelf_life_days: Floats
    repeatable: Bools
    restricted: Bools
    hidden: Bools

    def __len__(self) -> int:
        return len(self.ids)

    def prices(self) -> npt.NDArray[np.float64]:
        """List prices in currency units, for models."""
        return np.asarray(self.price / 10.0**self.digits, dtype=np.float64)


def read_catalogue(engine: Engine, currency: str, margin_share: float) -> Catalogue:
    """The canonical `products` table as columns; an unknown cost is price × (1 − margin_share)."""
    digits = minor_digits(currency)
    table = engine.arrow(
        "SELECT product_id, title, url, image_url, category, brand, "
        f"CAST(ROUND(COALESCE(price, 0) * {10**digits}) AS BIGINT) AS price, "
        f"CAST(ROUND(unit_cost * {10**digits}) AS BIGINT) AS unit_cost, "
        "stock, shelf_life_days, COALESCE(repeatable, FALSE) AS repeatable, "
        "COALESCE(restricted, FALSE) AS restricted, COALESCE(hidden, FALSE) AS hidden "
        "FROM products ORDER BY product_id"
    )
    price = _numbers(table, "price").astype(np.int64)
    cost = _numbers(table, "unit_cost")
    assumed = np.rint(price * (1.0 - margin_share))
    return Catalogue(
        currency=currency,
        digits=digits,
        ids=Strings.from_arrow(table["product_id"]),
        title=Strings.from_arrow(table["title"]),
        url=Strings.from_arrow(table["url"]),
        image_url=Strings.from_arrow(table["image_url"]),
        category=Strings.from_arrow(table["category"]),
        brand=Strings.from_arrow(table["brand"]),
        price=price,
        unit_cost=np.where(np.isnan(cost), assumed, cost).astype(np.int64),
        stock=_numbers(table, "stock").astype(np.float32),
        shelf_life_days=_numbers(table, "shelf_life_days").astype(np.float32),
        repeatable=_numbers(table, "repeatable").astype(bool),
        restricted=_numbers(table, "restricted").astype(bool),
        hidden=_numbers(table, "hidden").astype(bool),
    )


def priced_at(
    catalogue: Catalogue, product_ids: pa.Array, prices: pa.Array, margin_share: float
) -> Catalogue:
    """The catalogue with these list prices in currency units; a product without one has none (0).

    For a shop that gives no product table: its last prices must be those known at the date, not the newest.
    """
    at = pc.index_in(catalogue.ids.to_arrow(), product_ids.cast(pa.large_string()))
    known = pc.fill_null(prices.take(at), 0.0).to_numpy(zero_copy_only=False)
    price = np.rint(known * 10.0**catalogue.digits).astype(np.int64)
    return replace(catalogue, price=price, unit_cost=np.rint(price * (1.0 - margin_share)).astype(np.int64))


def read_languages(engine: Engine, customer_ids: Strings, languages: tuple[str, ...]) -> Ints:
    """(n,) int8 index into `languages` by the canonical customers' `locale`; 0 where it is none of them.

    Parameters
    ----------
    customer_ids : sorted
    """
    table = engine.arrow(
        "SELECT customer_id, locale FROM customers WHERE locale IS NOT NULL ORDER BY customer_id"
    )
    spoken = pc.utf8_lower(pc.utf8_slice_codeunits(table["locale"].cast(pa.string()), 0, 2))
    code = pc.fill_null(pc.index_in(spoken, pa.array(languages)), 0).cast(pa.int8())
    at = pc.index_in(customer_ids.to_arrow(), table["customer_id"].cast(pa.large_string()))
    found = pc.fill_null(pc.take(code, at), 0)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int8)


def _numbers(table: pa.Table, name: str) -> npt.NDArray[np.float64]:
    """A numeric or boolean column as float64, NaN for null."""
    return np.asarray(table[name].cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
