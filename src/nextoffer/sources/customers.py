"""The customer table alone, read afresh: consent counts as it is when a message is written."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.config import Settings
from nextoffer.domain.tables import CUSTOMERS
from nextoffer.sources.load import load_table
from nextoffer.sources.opening import Opener, open_built_in


def read_customers(settings: Settings, folder: Path, open_source: Opener = open_built_in) -> pa.Table | None:
    """The checked customer table as it is now; None if the shop has not configured one.

    Raises
    ------
    SourceError : as `load_history`
    """
    if settings.history.customers is None:
        return None
    load_table(settings, CUSTOMERS.name, folder, open_source)
    return pq.read_table(folder / "customers.parquet")
