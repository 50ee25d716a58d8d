"""The seam between SQL texts and whoever runs them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import pyarrow as pa


class Engine(Protocol):
    """Runs the portable SQL of `features/` over Parquet; the prelude functions exist on each engine."""

    def tables(self, folder: Path) -> None:
        """Make every `<name>.parquet` of the folder readable as table `<name>`."""

    def sql(self, text: str, params: Mapping[str, object], out: Path) -> None:
        """Run one SELECT with `$name` parameters, write it to `out` as Parquet (zstd), in its ORDER BY.

        The result is from then on readable as the table named by the file's stem. Parameters that the text
        does not name are ignored. Moments are naive UTC.
        """

    def arrow(self, query: str) -> pa.Table:
        """The whole answer of a query as an Arrow table."""

    def close(self) -> None:
        """Release files, memory and threads; the engine answers nothing afterwards."""
