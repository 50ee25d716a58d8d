"""Any SQL database by URL: the query's rows staged as text in Parquet, in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.config import Source
from nextoffer.errors import ConfigError, MissingFileError, SourceError
from nextoffer.sources.files import Origin, Staged, name_of, quoted

if TYPE_CHECKING:
    from sqlalchemy import URL

CHUNK_ROWS = 50_000


def open_query(source: Source, scratch: Path) -> Origin:
    """Run `source.query` once and stage all it returns; the password of the URL appears nowhere.

    Raises
    ------
    ConfigError : the URL is malformed or its driver is not installed; SourceError : the database refuses.
    """
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        url = sqlalchemy.make_url(str(source.url))
    except ArgumentError:
        raise ConfigError(
            "nextoffer.toml", ["history: url is no database URL; write it as driver://user@host/database"]
        ) from None
    shown = url.render_as_string(hide_password=True)
    _refuse_missing_sqlite(url)
    try:
        engine = sqlalchemy.create_engine(url, poolclass=NullPool)
        with engine.connect().execution_options(stream_results=True, yield_per=CHUNK_ROWS) as connection:
            result = connection.execute(sqlalchemy.text(str(source.query)))
            columns, read = _stage_rows(list(result.keys()), result.partitions(), scratch / "cells.parquet")
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            "nextoffer.toml",
            [f"{shown}: no driver for it is installed ({error}); for PostgreSQL: "
             f"pip install 'nextoffer[postgresql]'"],
        ) from None  # fmt: skip
    except SQLAlchemyError as error:
        reason = _without_password(str(getattr(error, "orig", None) or error), url)
        raise SourceError(f"{shown} refused the query: {reason}\n  query: {source.query}") from None

    def stage(wanted: list[str]) -> Staged:
        cells = "".join(f", {name_of(name)}" for name in wanted)
        return Staged(f"SELECT row{cells} FROM read_parquet('{quoted(scratch / 'cells.parquet')}')", read)

    return Origin(shown, columns, None, stage)


def _refuse_missing_sqlite(url: URL) -> None:
    """SQLite would make an empty database of a mistyped path."""
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database)
        if not path.is_file() and not url.database.startswith("file:"):
            raise MissingFileError(f"there is no SQLite database {path}; check the url in nextoffer.toml")


def _without_password(message: str, url: URL) -> str:
    first = message.strip().splitlines()[0] if message.strip() else "no reason given"
    return first.replace(str(url.password), "***") if url.password else first


def _stage_rows(columns: list[str], chunks: Any, target: Path) -> tuple[tuple[str, ...], int]:
    schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in columns)])
    read = 0
    with pq.ParquetWriter(target, schema, compression="snappy") as writer:
        for chunk in chunks:
            numbers = pa.array(range(read + 1, read + 1 + len(chunk)), pa.int64())
            cells = [pa.array(_texts(values), pa.string()) for values in zip(*chunk, strict=True)]
            writer.write_batch(pa.record_batch([numbers, *cells], schema=schema))
            read += len(chunk)
    return tuple(columns), read


def _texts(values: Sequence[object]) -> list[str | None]:
    """One column as text. Texts, because drivers disagree on types and a chunk of NULLs has none."""
    return [value if value is None or isinstance(value, str) else _text(value) for value in values]


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode("utf-8", errors="replace")
    return str(value)
