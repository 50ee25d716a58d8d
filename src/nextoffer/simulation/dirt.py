"""The defects of real exports, put into orders after the fact, and a list of every one of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from nextoffer.domain.arrays import Bools, Ints
from nextoffer.simulation.luck import Stream, uniform
from nextoffer.simulation.words import FEES

DEFECTS: dict[str, float] = {
    "duplicate": 0.01,
    "zero_price": 0.005,
    "fee": 0.005,
    "bad_date": 0.0005,
    "unknown_product": 0.002,
    "id_case": 0.001,
}
"""Share of sold lines with each defect; a line has at most one. `duplicate` and `fee` add a line."""
BAD_DATES = ("0000-00-00 00:00", "31/31/2025", "n/a", "2025-02-30 12:00:00")


def spoil(orders: pa.Table, seed: int) -> tuple[pa.Table, pa.Table]:
    """Orders as texts, spoilt, by time; and the truth: table, row (1 = first record) and defect.

    A `duplicate` is the second of two equal lines; a `fee` is a line of its own whose product is none.
    """
    sequence = pc.sort_indices(
        orders, sort_keys=[(name, "ascending") for name in ("ordered_at", "order_id", "product_id")]
    )
    orders = orders.take(sequence)
    drawn = uniform(seed, Stream.DIRT, 0, np.arange(orders.num_rows))
    edges = np.cumsum(list(DEFECTS.values()))
    defect = np.searchsorted(edges, drawn, side="right")
    defect[~np.asarray(pc.greater(orders["quantity"], 0))] = len(DEFECTS)
    code = {name: place for place, name in enumerate(DEFECTS)}
    adds = (defect == code["duplicate"]) | (defect == code["fee"])
    source = np.repeat(np.arange(orders.num_rows), 1 + adds)
    again = np.concatenate([[False], source[1:] == source[:-1]])
    mark = np.where(adds[source] & ~again, len(DEFECTS), defect[source])
    text = _texts(orders.take(pa.array(source)))
    choice = np.floor(uniform(seed, Stream.DIRT, 1, np.arange(len(source))) * 1000).astype(np.int64)

    def having(name: str) -> Bools:
        having_it: Bools = mark == code[name]
        return having_it

    text["unit_price"] = _where(having("zero_price"), "0.00", text["unit_price"])
    text["unit_price"] = _where(having("fee"), "4.95", text["unit_price"])
    text["unit_cost"] = _where(having("fee"), "", text["unit_cost"])
    text["quantity"] = _where(having("fee"), "1", text["quantity"])
    text["product_id"] = _where(having("fee"), _cycled(FEES, choice), text["product_id"])
    unknown = pc.replace_substring_regex(text["product_id"], "^P", "X")
    text["product_id"] = _where(having("unknown_product"), unknown, text["product_id"])
    text["product_id"] = _where(having("id_case"), pc.utf8_lower(text["product_id"]), text["product_id"])
    text["ordered_at"] = _where(having("bad_date"), _cycled(BAD_DATES, choice), text["ordered_at"])
    rows = np.flatnonzero(mark < len(DEFECTS))
    truth = pa.table(
        {
            "table": pa.array(["orders"]).take(pa.array(rows * 0)),
            "row": pa.array(rows + 1),
            "defect": pa.array(list(DEFECTS)).take(pa.array(mark[rows])),
        }
    )
    return pa.table(text), truth


def write_csv(path: Path, table: pa.Table) -> None:
    """A comma-separated file with a header line; no text of an order needs quotes, and empty is null."""
    csv.write_csv(table, path, csv.WriteOptions(quoting_style="none"))


def _texts(orders: pa.Table) -> dict[str, pa.ChunkedArray]:
    text = {
        name: pc.fill_null(orders[name].cast(pa.string()), "")
        for name in orders.column_names
        if name != "ordered_at"
    }
    seconds = orders["ordered_at"].cast(pa.timestamp("us")).cast(pa.timestamp("s"), safe=False)
    text["ordered_at"] = pc.strftime(seconds, format="%Y-%m-%d %H:%M:%S")
    return {name: text[name] for name in orders.column_names}


def _where(mask: Bools, new: pa.ChunkedArray | pa.Array | str, old: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pa.array(mask), new, old)


def _cycled(words: tuple[str, ...], choice: Ints) -> pa.Array:
    return pa.array(words).take(pa.array(choice % len(words)))
