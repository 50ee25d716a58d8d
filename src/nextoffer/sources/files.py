"""The shop's files, whatever they look like, as one numbered table of cells.

CSV is staged as text in Parquet (arrow parses, transcodes and numbers it); Parquet is read in place.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import glob
import gzip
import io
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from nextoffer.config import Source
from nextoffer.errors import ConfigError, EmptyTableError, MissingFileError, SourceError

SAMPLE_BYTES = 1 << 18
BLOCK_BYTES = 1 << 23
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Staged:
    """Cells ready for SQL: `sql` selects `row` (1-based data record) and the columns asked for.

    `malformed` holds the records that could not even be split into cells, with their row numbers.
    """

    sql: str
    read: int
    malformed: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Origin:
    """One table as the shop keeps it: what to call it, the columns it has, and how to stage some of them."""

    name: str
    columns: tuple[str, ...]
    delimiter: str | None
    stage: Callable[[list[str]], Staged]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one CSV file is written."""

    delimiter: str
    encoding: str
    header: tuple[str, ...]
    header_lines: int


def open_files(source: Source, scratch: Path) -> Origin:
    """Files of `source.path`; CSV is staged under `scratch`.

    Raises
    ------
    MissingFileError : nothing matches; SourceError : neither CSV nor Parquet; EmptyTableError : no byte.
    """
    paths = matching(str(source.path))
    shown = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
    if _starts(paths[0], b"PAR1"):
        return _open_parquet(paths, shown)
    dialects = [sniff(path, source) for path in paths]
    columns = dialects[0].header
    for path, dialect in zip(paths, dialects, strict=True):
        if missing := [name for name in columns if name not in dialect.header]:
            raise SourceError(
                f"{path.name} lacks the column {missing[0]!r} that {paths[0].name} has; files of one table "
                f"need the same columns."
            )
    target = scratch / "cells.parquet"
    return Origin(
        shown, columns, dialects[0].delimiter, lambda wanted: _stage_csv(paths, dialects, wanted, target)
    )


def matching(pattern: str) -> list[Path]:
    """Files a path or glob stands for, in name order.

    Raises
    ------
    MissingFileError : none; names the nearest file of the folder.
    """
    path = Path(pattern)
    found = [path] if path.is_file() else sorted(Path(name) for name in glob.glob(pattern, recursive=True))
    files = [item for item in found if item.is_file()]
    if files:
        return files
    if path.is_dir():
        raise MissingFileError(f"{pattern} is a folder; name its files, for example {pattern}/*.parquet")
    names = [item.name for item in path.parent.iterdir() if item.is_file()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    hint = (
        f"did you mean {near[0]!r}?" if near else "check the path in nextoffer.toml (relative to that file)"
    )
    where = "no file matches" if glob.has_magic(pattern) else "there is no file"
    raise MissingFileError(f"{where} {pattern}; {hint}")


def sniff(path: Path, source: Source | None = None) -> Dialect:
    """Encoding, separator and header of a CSV file; settings of `source` win over what the bytes suggest."""
    _refuse_other_formats(path)
    encoding = (source.encoding if source else None) or None
    encoding = known_encoding(encoding) if encoding else detect_encoding(path)
    with open_bytes(path) as file:
        raw = file.read(SAMPLE_BYTES)
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(raw)
    except UnicodeDecodeError as error:
        raise _undecodable(path, encoding, error.start, raw[error.start]) from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise EmptyTableError(f"{path} is empty: it has no header and no row")
    delimiter = (source.delimiter if source else None) or _delimiter(text)
    if len(delimiter) != 1:
        raise ConfigError("nextoffer.toml", [f"delimiter must be one character, not {delimiter!r}"])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = tuple(name.strip().strip("\u00a0") for name in next(row for row in reader if row))
    if twice := [name for name, times in Counter(header).items() if times > 1 and name]:
        # Still usable as long as nobody asks for it: renamed so that only one of them keeps the name.
        seen: Counter[str] = Counter()
        header = tuple(_numbered(name, seen) if name in twice else name for name in header)
    return Dialect(delimiter, encoding, header, reader.line_num)


def _numbered(name: str, seen: Counter[str]) -> str:
    seen[name] += 1
    return name if seen[name] == 1 else f"{name} ({seen[name]})"


def known_encoding(name: str) -> str:
    """The codec of that name.

    Raises
    ------
    ConfigError : there is none.
    """
    try:
        codec = codecs.lookup(name).name
    except LookupError:
        raise ConfigError(
            "nextoffer.toml", [f'encoding: unknown encoding {name!r}; try "utf-8" or "windows-1251"']
        ) from None
    return "utf-8" if codec == "utf-8-sig" else codec


def detect_encoding(path: Path) -> str:
    """utf-8, utf-16 (by its mark) or windows-1251 (if its words read as Russian).

    Raises
    ------
    SourceError : neither; names the offset of the first byte that is not UTF-8.
    """
    with open_bytes(path) as file:
        mark = file.read(2)
        if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        bad = _first_bad_byte(file)
        if bad is None:
            return "utf-8"
        file.seek(max(bad - 200, 0))
        sample = file.read(1 << 20)
    if _reads_as_russian(sample):
        return "cp1251"
    with open_bytes(path) as file:
        file.seek(bad)
        byte = file.read(1)[0]
    raise _undecodable(path, "UTF-8 nor windows-1251", bad, byte)


def _first_bad_byte(file: BinaryIO) -> int | None:
    """Offset of the first byte that breaks UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    for block in iter(lambda: file.read(BLOCK_BYTES), b""):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            return offset - held + error.start
        offset += len(block)
    held = len(decoder.getstate()[0])
    return offset - held if held else None


def _reads_as_russian(sample: bytes) -> bool:
    """Whole Cyrillic words must outnumber words that mix alphabets, which other encodings would give."""
    try:
        text = sample.decode("cp1251")
    except UnicodeDecodeError:
        return False
    words = re.findall(r"[^\W\d_]+", text)
    whole = sum(1 for word in words if len(word) >= 3 and re.fullmatch(r"[А-яЁё]+", word))
    mixed = sum(1 for word in words if re.search(r"[А-яЁё]", word) and re.search(r"[A-Za-z]", word))
    return whole > mixed


def _undecodable(path: Path, encoding: str, offset: int, byte: int) -> SourceError:
    neither = "neither " if " nor " in encoding else "not "
    return SourceError(
        f"{path}: byte 0x{byte:02x} at offset {offset:,} is {neither}{encoding}. "
        f'Save the file as UTF-8, or name its encoding in nextoffer.toml, as in: encoding = "latin-1"'
    )


def _refuse_other_formats(path: Path) -> None:
    if _starts(path, b"PK\x03\x04"):
        raise SourceError(
            f"{path} is a spreadsheet or a zip archive; save it as CSV (UTF-8) and name that file"
        )


def open_bytes(path: Path) -> BinaryIO:
    """The bytes of a file, unpacked if it is gzip."""
    opened = gzip.open(path, "rb") if _starts(path, b"\x1f\x8b") else path.open("rb")
    return cast(BinaryIO, opened)


def _starts(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def _delimiter(text: str) -> str:
    """The separator under which the first records agree best on how many cells there are."""
    lines = "\n".join(text.splitlines()[:200])

    def fit(delimiter: str) -> tuple[float, int]:
        records = [row for row in csv.reader(io.StringIO(lines), delimiter=delimiter) if row][:100]
        width = len(records[0]) if records else 1
        same = sum(1 for row in records if len(row) == width) / max(len(records), 1)
        return (same if width > 1 else 0.0) * width, -DELIMITERS.index(delimiter)

    return max(DELIMITERS, key=fit)


def _stage_csv(paths: list[Path], dialects: list[Dialect], wanted: list[str], target: Path) -> Staged:
    """Copy the wanted columns as text, each record numbered as it is read."""
    schema = pa.schema([("row", pa.int64()), *((name, pa.string()) for name in wanted)])
    malformed: list[tuple[int, str]] = []
    read = 0
    with pq.ParquetWriter(target, schema, compression="snappy") as writer:
        for path, dialect in zip(paths, dialects, strict=True):
            read = _copy_records(path, dialect, wanted, writer, read, malformed)
    return Staged(f"SELECT * FROM read_parquet('{quoted(target)}')", read, tuple(malformed))


def _copy_records(
    path: Path,
    dialect: Dialect,
    wanted: list[str],
    writer: pq.ParquetWriter,
    before: int,
    malformed: list[tuple[int, str]],
) -> int:
    """Copy one file whose first record is number `before` + 1; the number of its last record."""
    names = [f"c{place}" for place in range(len(dialect.header))]
    kept = [names[dialect.header.index(name)] for name in wanted]
    broken: list[int] = []

    def skip(record: pyarrow.csv.InvalidRow) -> str:
        broken.append(before + record.number - dialect.header_lines)
        malformed.append((broken[-1], record.text[:200]))
        return "skip"

    done = before
    try:
        with open_bytes(path) as file:
            reader = pyarrow.csv.open_csv(
                file,
                # One thread: only then does arrow know the number of a broken record.
                pyarrow.csv.ReadOptions(
                    use_threads=False,
                    encoding=dialect.encoding,
                    block_size=BLOCK_BYTES,
                    column_names=names,
                    skip_rows=dialect.header_lines,
                ),
                pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(kept, pa.string()),
                    include_columns=kept,
                    null_values=[""],
                    strings_can_be_null=True,
                ),
            )
            for batch in reader:
                numbers = _numbers(done, batch.num_rows, broken)
                done = int(numbers[-1]) if len(numbers) else done
                writer.write_batch(pa.record_batch([pa.array(numbers), *batch.columns], schema=writer.schema))
    except UnicodeDecodeError as error:
        raise _undecodable(path, dialect.encoding, error.start, error.object[error.start]) from None
    except (pa.ArrowInvalid, gzip.BadGzipFile, EOFError) as error:
        if "Empty CSV" not in str(error):
            raise SourceError(
                f"{path} cannot be read as CSV separated by {dialect.delimiter!r}: {error}. Look for a "
                f"quotation mark that is never closed, or set delimiter in nextoffer.toml."
            ) from None
    return max([done, *broken[-1:]])


def _numbers(done: int, count: int, broken: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Numbers of the next `count` good records after number `done`."""
    skipped = [number for number in broken if number > done]
    numbers = np.arange(done + 1, done + 1 + count + len(skipped), dtype=np.int64)
    return numbers[~np.isin(numbers, skipped)][:count] if skipped else numbers


def _open_parquet(paths: list[Path], shown: str) -> Origin:
    """Parquet read in place: its own row numbers, shifted by the rows of the files before."""
    counts, columns = [], []
    for path in paths:
        try:
            file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise SourceError(f"{path} cannot be read as Parquet: {error}") from None
        with file:
            counts.append(file.metadata.num_rows)
            columns += [name for name in file.schema_arrow.names if name not in columns]
    before = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)

    def stage(wanted: list[str]) -> Staged:
        listed = ", ".join(f"'{quoted(path)}'" for path in paths)
        shift = " ".join(f"WHEN {place} THEN {count}" for place, count in enumerate(before))
        number = "0" if len(paths) == 1 else f"(CASE file_index {shift} END)"
        cells = "".join(f", {name_of(name)}" for name in wanted)
        return Staged(
            f"SELECT CAST({number} + file_row_number + 1 AS BIGINT) AS row{cells} "
            f"FROM read_parquet([{listed}], union_by_name = true)",
            sum(counts),
        )

    return Origin(shown, tuple(columns), None, stage)


def name_of(column: str) -> str:
    """A column name inside SQL."""
    return '"' + column.replace('"', '""') + '"'


def quoted(path: Path) -> str:
    """A path inside an SQL text literal."""
    return str(path).replace("'", "''")
