"""Feature tables as numpy columns: what the models learn from, all of it read in one place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import sparse

from nextoffer.domain.arrays import Strings

Int8 = npt.NDArray[np.int8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]

NEVER_DAYS = 1_000_000
"""Age in days of what never happened: older than any history."""
GUEST = -1
"""Customer row of an order without a customer."""


@dataclass(frozen=True, slots=True, eq=False)
class Rfm:
    """Recency, frequency and money; (n_customers,) each, ages in days before as_of, money in minor units."""

    recency_days: Int32
    first_age_days: Int32
    frequency: Int32
    n_order_days: Int32
    monetary: Int64
    n_products: Int32
    n_lines: Int32


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Customer × product as compressed sparse rows: customer u holds entries indptr[u] : indptr[u + 1].

    Parameters
    ----------
    indptr : (n_customers + 1,)
    product : (n_pairs,) product rows, ascending within a customer; the columns after it are aligned to it
    n_orders, n_days : orders and distinct days on which the customer bought the product
    first_age_days, last_age_days : ages of the first and of the newest such order
    quantity, revenue : units and minor units, net of returns
    weight : orders, each halved for every half-life of its age
    step_weight : orders, each a fifth less for every newer order of the customer
    n_last_3, in_last : in how many of the customer's 3 newest orders, and whether in the newest (0 or 1)
    """

    indptr: Int64
    product: Int32
    n_orders: Int32
    n_days: Int32
    first_age_days: Int32
    last_age_days: Int32
    quantity: Float32
    revenue: Int64
    weight: Float32
    step_weight: Float32
    n_last_3: Int8
    in_last: Int8

    def matrix(self, values: npt.NDArray[Any], n_products: int) -> sparse.csr_matrix:
        """`values`, one per pair, as a customers × products matrix that shares memory where it can."""
        return _matrix(values, self.product, self.indptr, n_products)

    def customer(self) -> Int32:
        """(n_pairs,) customer row of each pair."""
        n_customers = len(self.indptr) - 1
        return np.repeat(np.arange(n_customers, dtype=np.int32), np.diff(self.indptr))


@dataclass(frozen=True, slots=True, eq=False)
class Cooccurrence:
    """Products bought together, as compressed sparse rows, symmetric, without the diagonal.

    Parameters
    ----------
    indptr : (n_products + 1,)
    other : (n_entries,) product rows, ascending within a product
    n_orders : (n_entries,) orders that hold both
    """

    indptr: Int64
    other: Int32
    n_orders: Int32

    def matrix(self, values: npt.NDArray[Any]) -> sparse.csr_matrix:
        """`values`, one per entry, as a products × products matrix."""
        return _matrix(values, self.other, self.indptr, len(self.indptr) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Popularity:
    """How each product sells; (n_products,) each, zeros and ages of NEVER_DAYS where nobody bought.

    `n_orders…` count guests, `n_customers…` do not; `_10`, `_28`, `_91` are the last so many days.
    """

    n_orders: Int32
    n_customers: Int32
    n_repeat_customers: Int32
    n_orders_10: Int32
    n_orders_28: Int32
    n_orders_91: Int32
    n_customers_10: Int32
    n_customers_28: Int32
    n_customers_91: Int32
    first_age_days: Int32
    last_age_days: Int32
    quantity: Float64
    revenue: Int64


@dataclass(frozen=True, slots=True, eq=False)
class ShopOrders:
    """Every order of which something was kept; (n_orders,) each.

    `customer_row` is GUEST for guests; `order_rank` 1 is the customer's newest order, 0 marks guests.
    """

    customer_row: Int32
    age_days: Int32
    n_products: Int32
    revenue: Int64
    order_rank: Int32


@dataclass(frozen=True, slots=True, eq=False)
class Baskets:
    """Lines of the newest baskets of customers with two or more (a sample in a large shop), oldest first.

    `order_rank` is 1 for the newest; sorted by customer, order and product; (n_lines,) each.
    """

    customer_row: Int32
    order_rank: Int32
    age_days: Int32
    product_row: Int32


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Everything known of a shop's purchases at `as_of`; rows follow the byte order of the ids."""

    as_of: datetime
    stride: int
    half_life_days: float
    customers: Strings
    products: Strings
    rfm: Rfm
    pairs: Pairs
    popularity: Popularity
    cooccurrence: Cooccurrence
    shop_orders: ShopOrders
    baskets: Baskets


def load_features(folder: Path, as_of: datetime, stride: int, half_life_days: float) -> Features:
    """Read the feature tables `build_features` wrote to `folder`."""
    customers = Strings.from_arrow(_read(folder, "customers_index", ["customer_id"])["customer_id"])
    products = Strings.from_arrow(_read(folder, "products_index", ["product_id"])["product_id"])
    return Features(
        as_of=as_of,
        stride=stride,
        half_life_days=half_life_days,
        customers=customers,
        products=products,
        rfm=_load_rfm(folder),
        pairs=_load_pairs(folder, len(customers)),
        popularity=_load_popularity(folder, len(products)),
        cooccurrence=_load_cooccurrence(folder, len(products)),
        shop_orders=_load_shop_orders(folder),
        baskets=Baskets(**_columns(_read(folder, "baskets"))),
    )


def _load_rfm(folder: Path) -> Rfm:
    return Rfm(**_columns(_read(folder, "rfm", list(Rfm.__dataclass_fields__))))


def _load_pairs(folder: Path, n_customers: int) -> Pairs:
    narrow: dict[str, npt.DTypeLike] = {
        "quantity": np.float32,
        "weight": np.float32,
        "step_weight": np.float32,
        "n_last_3": np.int8,
        "in_last": np.int8,
    }
    table = _read(folder, "pairs")
    columns = _columns(table, narrow)
    indptr = _indptr(columns.pop("customer_row"), n_customers)
    return Pairs(indptr=indptr, product=columns.pop("product_row"), **columns)


def _load_popularity(folder: Path, n_products: int) -> Popularity:
    columns = _columns(_read(folder, "popularity"))
    rows = columns.pop("product_row")

    def aligned(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        full = np.full(n_products, NEVER_DAYS if name.endswith("age_days") else 0, dtype=values.dtype)
        full[rows] = values
        return full

    return Popularity(**{name: aligned(name, values) for name, values in columns.items()})


def _load_cooccurrence(folder: Path, n_products: int) -> Cooccurrence:
    columns = _columns(_read(folder, "cooccurrence"))
    indptr = _indptr(columns["product_row"], n_products)
    return Cooccurrence(indptr=indptr, other=columns["other_row"], n_orders=columns["n_orders"])


def _load_shop_orders(folder: Path) -> ShopOrders:
    table = _read(folder, "shop_orders", list(ShopOrders.__dataclass_fields__))
    missing = {"customer_row": GUEST, "order_rank": 0}
    for name, value in missing.items():
        filled = table[name].fill_null(pa.scalar(value, table[name].type))
        table = table.set_column(table.column_names.index(name), name, filled)
    return ShopOrders(**_columns(table))


def _read(folder: Path, name: str, columns: list[str] | None = None) -> pa.Table:
    return pq.read_table(folder / f"{name}.parquet", columns=columns)


def _columns(table: pa.Table, narrow: dict[str, npt.DTypeLike] | None = None) -> dict[str, npt.NDArray[Any]]:
    """Columns of a table without nulls as numpy arrays, some in a narrower type."""
    narrow = narrow or {}
    return {
        name: np.ascontiguousarray(table[name].to_numpy(), dtype=narrow.get(name))
        for name in table.column_names
    }


def _indptr(rows: Int32, n_rows: int) -> Int64:
    """Where each row starts among entries sorted by row."""
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))]).astype(np.int64)


def _matrix(values: npt.NDArray[Any], columns: Int32, indptr: Int64, n_columns: int) -> sparse.csr_matrix:
    matrix = sparse.csr_matrix((values, columns, indptr), shape=(len(indptr) - 1, n_columns), copy=False)
    matrix.has_sorted_indices = True
    return matrix


def load_labels(folder: Path) -> tuple[Int32, Int32]:
    """Customer and product rows of the label table."""
    columns = _columns(_read(folder, "labels"))
    return columns["customer_row"], columns["product_row"]
