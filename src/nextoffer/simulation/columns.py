"""Arrow columns of the written tables: ids, exact prices, moments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.simulation.catalogue import Catalogue
from nextoffer.simulation.settings import ShopSettings

SHOP_VERSION = "3"
"""Changes with every constant or stream of the world; written into every file."""
PRICE = pa.decimal128(12, 2)
MOMENT = pa.timestamp("us", tz="UTC")
ORDERS = pa.schema(
    [
        ("order_id", pa.string()),
        ("customer_id", pa.string()),
        ("product_id", pa.string()),
        ("quantity", pa.int32()),
        ("unit_price", PRICE),
        ("ordered_at", MOMENT),
        ("unit_cost", PRICE),
    ]
)
DAY = 86_400_000_000  # microseconds


def ids(prefix: str, numbers: Ints, width: int, missing: Bools | None = None) -> pa.Array:
    """Texts like C000123: the prefix and the number, filled with zeros to `width` digits."""
    powers = 10 ** np.arange(width - 1, -1, -1, dtype=np.int64)
    letters = np.empty((len(numbers), len(prefix) + width), dtype=np.uint8)
    letters[:, : len(prefix)] = np.frombuffer(prefix.encode(), dtype=np.uint8)
    letters[:, len(prefix) :] = 48 + numbers[:, None] // powers % 10
    lengths = np.full(len(numbers), letters.shape[1])
    mask = None
    if missing is not None and missing.any():
        letters, lengths = letters[~missing], np.where(missing, 0, lengths)
        mask = pa.py_buffer(np.packbits(~missing, bitorder="little"))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    buffers = [mask, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(letters))]
    return pa.Array.from_buffers(pa.string(), len(numbers), buffers)


def customer_ids(settings: ShopSettings, numbers: Ints, missing: Bools | None = None) -> pa.Array:
    """C000000 and on, wide enough for every customer to come."""
    return ids("C", numbers, max(6, len(str(settings.customers - 1))), missing)


def product_ids(catalogue: Catalogue, products: Ints) -> pa.Array:
    """P0001 and on; the numbers tell nothing about families."""
    return ids("P", catalogue.number[products], max(4, len(str(catalogue.size))))


def order_ids(settings: ShopSettings, numbers: Ints) -> pa.Array:
    """O and the order's number, wide enough for a year after the history."""
    return ids("O", numbers, len(str(2 * settings.customers * (settings.weeks + 52))))


def money(minor: Ints) -> pa.Array:
    """Exact prices from integer minor units."""
    words = np.empty((len(minor), 2), dtype=np.int64)
    words[:, 0], words[:, 1] = minor, np.where(minor < 0, -1, 0)
    return pa.Array.from_buffers(PRICE, len(minor), [None, pa.py_buffer(words)])


def moments(micros: Ints) -> pa.Array:
    """Moments from microseconds since 1970, UTC."""
    return pa.array(np.asarray(micros, dtype=np.int64)).cast(pa.timestamp("us")).cast(MOMENT)


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Parquet any engine reads, marked with the shop's version: plain texts, prices as integers."""
    file = pq.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=1,
        store_schema=False,
        store_decimal_as_integer=True,
    )
    file.add_key_value_metadata({"shop_version": SHOP_VERSION})
    return file


def write_table(path: Path, table: pa.Table) -> None:
    """One table as one file."""
    with writer(path, table.schema) as file:
        file.write_table(table)
