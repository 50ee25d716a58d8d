"""The default engine: DuckDB, inside the process, spilling to disk when memory runs short."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import duckdb
import pyarrow as pa

from nextoffer.config import EngineSettings
from nextoffer.errors import MissingFileError

_COMMENT = re.compile(r"--[^\n]*")
_PARAMETER = re.compile(r"\$(\w+)")


class DuckDBEngine:
    """An `Engine` on one in-memory DuckDB connection; use it as a context manager.

    Parameters
    ----------
    settings : memory limit, threads and where to spill; what is unset is DuckDB's default (80 % of memory,
        all cores), but the spill folder is `scratch`
    scratch : an existing or new folder this engine may fill and empty
    """

    def __init__(self, settings: EngineSettings, scratch: Path) -> None:
        spill = settings.temp_directory or scratch / "spill"
        spill.mkdir(parents=True, exist_ok=True)
        self._con = duckdb.connect(":memory:")
        self._set("temp_directory", str(spill))
        if settings.memory_limit is not None:
            self._set("memory_limit", settings.memory_limit)
        if settings.threads is not None:
            self._set("threads", settings.threads)
        self._con.execute(files("nextoffer.engines").joinpath("prelude_duckdb.sql").read_text("utf-8"))

    def _set(self, option: str, value: str | int) -> None:
        self._con.execute(f"SET {option} = {_literal(str(value)) if isinstance(value, str) else value}")

    def __enter__(self) -> DuckDBEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def tables(self, folder: Path) -> None:
        """Make every `<name>.parquet` of the folder readable as table `<name>`."""
        paths = sorted(folder.glob("*.parquet"))
        if not paths:
            raise MissingFileError(f"{folder} holds no Parquet table; give a folder of canonical tables")
        for path in paths:
            self._register(path)

    def sql(self, text: str, params: Mapping[str, object], out: Path) -> None:
        """Run one SELECT, write it to `out`, and make it readable under the file's stem."""
        select = _COMMENT.sub("", text).strip().removesuffix(";")
        used = {name: params[name] for name in _PARAMETER.findall(select)}
        self._con.execute(
            f"COPY ({select}) TO {_literal(str(out))} (FORMAT parquet, COMPRESSION zstd)", used or None
        )
        self._register(out)

    def arrow(self, query: str) -> pa.Table:
        """The whole answer of a query as an Arrow table."""
        return self._con.sql(query).to_arrow_table()

    def close(self) -> None:
        """Close the connection; spilled files go with it."""
        self._con.close()

    def _register(self, path: Path) -> None:
        name = path.stem.replace('"', '""')
        self._con.execute(
            f'CREATE OR REPLACE VIEW "{name}" AS SELECT * FROM read_parquet({_literal(str(path))})'
        )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
