"""How a table of the shop is opened: from files, from a database, or by a source of another package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.config import Source
from nextoffer.sources.files import Origin, open_files
from nextoffer.sources.sql import open_query

Opener = Callable[[Source, Path], Origin]
"""What a source is: from a `[history.…]` section and scratch space of its own to the table as the shop keeps it."""


def open_built_in(source: Source, scratch: Path) -> Origin:
    """Files of a path, or a database by its URL."""
    return open_files(source, scratch) if source.path is not None else open_query(source, scratch)


def open_batches(name: str, batches: pa.RecordBatchReader, scratch: Path) -> Origin:
    """Rows another system gives, batch by batch, staged as they come: all that a source has to call.

    Parameters
    ----------
    name : what to call the origin in messages; no password in it
    batches : cells as they are, or as text: what they mean is for the mapping and the checks to say
    scratch : a folder that is there and is this table's own
    """
    path = scratch / "batches.parquet"
    with pq.ParquetWriter(path, batches.schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    staged = open_files(Source(path=str(path)), scratch)
    return Origin(name, staged.columns, None, staged.stage)
