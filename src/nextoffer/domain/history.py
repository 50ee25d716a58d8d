"""A shop's checked history: canonical Parquet tables in one folder, and what was refused on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TableReport:
    """What became of the rows of one table: read = accepted + rejected + excluded, always.

    `excluded` and `rejected` are also broken down, by rule. `guests` counts accepted rows without a
    customer; `duplicates` accepted rows that repeat another exactly.
    """

    read: int
    accepted: int
    rejected: int = 0
    excluded: int = 0
    guests: int = 0
    duplicates: int = 0
    rejected_by_rule: Mapping[str, int] = field(default_factory=dict)
    excluded_by_rule: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class History:
    """Canonical tables as `<folder>/<table>.parquet` (orders, products, customers, …), checked once.

    Every folder holds `orders`, `products` and `customers`; a table the shop does not have is there and
    empty, but `products` is then derived from the lines and `given` does not name it.
    """

    folder: Path
    currency: str
    reports: Mapping[str, TableReport]
    given: frozenset[str]
    first_order_at: datetime
    last_order_at: datetime
    rejects_path: Path | None = None
    warnings: tuple[str, ...] = ()
