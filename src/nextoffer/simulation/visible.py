"""What a policy may see of a shop: its tables so far, and nothing of the truth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.errors import RequestError
from nextoffer.simulation import columns

if TYPE_CHECKING:
    from nextoffer.simulation.shop import StepRows


@dataclass(frozen=True, slots=True, eq=False)
class SeenLines:
    """The orders table in numbers, by time of writing; guests are left out.

    Parameters
    ----------
    order, customer, product : (n,) int64 numbers of the ids; a product's number is its row in `products`
    quantity : (n,) int64, negative for returns
    price, cost : (n,) currency units a unit
    week : (n,) weeks since the history began, with a fraction
    """

    order: Ints
    customer: Ints
    product: Ints
    quantity: Ints
    price: Floats
    cost: Floats
    week: Floats


@dataclass(slots=True, eq=False)
class Journal:
    """All that was visible so far: the folder of the history, the weeks since, and what was read of them."""

    folder: Path
    weeks: list[StepRows] = field(default_factory=list)
    kept: dict[str, Any] = field(default_factory=dict)

    def fork(self) -> Journal:
        """A journal that goes on by itself; what was read of the history is shared."""
        return Journal(self.folder, list(self.weeks), self.kept)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """What `make` returned the first time, for all forks of this journal."""
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]


@dataclass(frozen=True, slots=True, eq=False)
class Visible:
    """A shop at the start of a week, as its own systems show it.

    `products` and `customers` are as of now: prices, stock, consents, points. The other tables grow week by
    week; all are canonical, `exposures`, `clicks` and `redemptions` are what the shop logs of its messages.
    """

    week: int
    now: datetime
    start: datetime
    products: pa.Table
    customers: pa.Table
    journal: Journal

    @property
    def orders(self) -> pa.Table:
        """All order lines so far."""
        return pa.concat_tables([self.history("orders"), *(rows.orders for rows in self.journal.weeks)])

    @property
    def exposures(self) -> pa.Table:
        """Messages sent so far, those of the past policy too."""
        return self._log("messages", "exposures")

    @property
    def clicks(self) -> pa.Table:
        """Offers of messages that were opened."""
        return self._log(None, "clicks")

    @property
    def redemptions(self) -> pa.Table:
        """Incentives used."""
        return self._log(None, "redemptions")

    @property
    def interactions(self) -> pa.Table | None:
        """Views and carts; None where the shop records none."""
        return self._grown("interactions")

    @property
    def subscriptions(self) -> pa.Table | None:
        """Passes; None where the shop sells none."""
        return self._grown("subscriptions")

    def lines(self) -> SeenLines:
        """The orders table in numbers."""
        parts = [self.history_lines()]
        parts += [_numbers(rows.orders, self.start) for rows in self.journal.weeks]
        names = SeenLines.__slots__
        return SeenLines(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def history_lines(self) -> SeenLines:
        """The orders table in numbers, up to the end of the history."""
        lines: SeenLines = self.once("lines", lambda: _numbers(self.history("orders"), self.start))
        return lines

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Something worked out from the history alone, kept for the later weeks and for all forks."""
        return self.journal.once(name, make)

    def history(self, name: str) -> Any:
        """A table as it stood at the end of the history; None if the shop has none."""

        def read() -> Any:
            path = self.journal.folder / name
            path = path if path.is_dir() else path.with_suffix(".parquet")
            return pq.read_table(path) if path.exists() else None

        table = self.journal.once(f"table {name}", read)
        if name == "orders" and table is None:
            raise RequestError("a shop whose orders are spoilt shows no clean tables: dirty = false", "dirty")
        return table

    def _log(self, history: str | None, name: str) -> pa.Table:
        past = self.history(history) if history else None
        parts = ([] if past is None else [past]) + [getattr(rows, name) for rows in self.journal.weeks]
        return pa.concat_tables(parts, promote_options="default") if parts else pa.table({})

    def _grown(self, name: str) -> pa.Table | None:
        parts = [self.history(name), *(getattr(rows, name) for rows in self.journal.weeks)]
        there = [part for part in parts if part is not None]
        return pa.concat_tables(there) if there else None


def _numbers(orders: pa.Table, start: datetime) -> SeenLines:
    """Order lines of known customers in numbers."""
    orders = orders.filter(pc.is_valid(orders["customer_id"]))

    def number(name: str) -> Ints:
        return np.asarray(pc.utf8_slice_codeunits(orders[name], 1).cast(pa.int64()))

    def units(name: str) -> Floats:
        return np.asarray(orders[name].cast(pa.float64()))

    begin = round(start.timestamp()) * 1_000_000
    at = np.asarray(orders["ordered_at"].cast(pa.int64()))
    return SeenLines(
        order=number("order_id"),
        customer=number("customer_id"),
        product=number("product_id") - 1,
        quantity=np.asarray(orders["quantity"]).astype(np.int64),
        price=units("unit_price"),
        cost=units("unit_cost"),
        week=(at - begin) / (7 * columns.DAY),
    )
