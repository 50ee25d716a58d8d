"""The shapes knowledge travels in: numpy columns, and text columns that can be memory-mapped."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

Floats = npt.NDArray[np.floating[Any]]
Ints = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]
_NO_TEXT = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Strings:
    """n texts as one UTF-8 blob; None is kept apart from the empty text.

    Parameters
    ----------
    blob : (total bytes,) uint8
    ends : (n,) int64, where each text ends in the blob; a negative value −1 − end marks None
    """

    blob: Bytes
    ends: npt.NDArray[np.int64]

    @classmethod
    def of(cls, texts: Iterable[str | None]) -> Strings:
        """Pack any iterable of texts."""
        parts, ends, end = [], [], 0
        for text in texts:
            if text is None:
                ends.append(-1 - end)
                continue
            raw = text.encode()
            parts.append(raw)
            end += len(raw)
            ends.append(end)
        return cls(np.frombuffer(b"".join(parts), dtype=np.uint8), np.array(ends, dtype=np.int64))

    @classmethod
    def from_arrow(cls, column: pa.Array | pa.ChunkedArray) -> Strings:
        """Pack an Arrow text column (string, large_string or a dictionary of them; chunks and nulls may be).

        Whole buffers are copied; no text becomes a Python object.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        texts = pa.concat_arrays(
            [pa.array([], pa.large_string()), *(c.cast(pa.large_string()) for c in chunks)]
        )
        # Arrow allows stray bytes under a null; an empty text in its place has none.
        filled = pc.fill_null(texts, "")
        offsets = (
            np.frombuffer(filled.buffers()[1], dtype=np.int64)[: len(filled) + 1] if len(filled) else _NO_TEXT
        )
        blob = np.frombuffer(filled.buffers()[2] or b"", dtype=np.uint8)[: offsets[-1]].copy()
        ends = np.where(texts.is_null().to_numpy(zero_copy_only=False), -1 - offsets[1:], offsets[1:])
        return cls(blob, ends)

    def to_arrow(self) -> pa.LargeStringArray:
        """The same texts as an Arrow column over the same blob."""
        import pyarrow as pa

        null = self.ends < 0
        offsets = np.concatenate([_NO_TEXT, np.where(null, -1 - self.ends, self.ends)])
        valid = pa.py_buffer(np.packbits(~null, bitorder="little")) if null.any() else None
        buffers = [valid, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(self.blob))]
        return pa.Array.from_buffers(pa.large_string(), len(self), buffers)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, row: int) -> str | None:
        end = int(self.ends[row])
        if end < 0:
            return None
        return self.blob[self._start(row) : end].tobytes().decode()

    def _start(self, row: int) -> int:
        before = int(self.ends[row - 1]) if row > 0 else 0
        return before if before >= 0 else -1 - before

    def __iter__(self) -> Iterator[str | None]:
        return (self[row] for row in range(len(self)))

    def text(self, row: int) -> str:
        """The text at `row`, which must not be None (ids never are)."""
        value = self[row]
        if value is None:
            raise ValueError(f"row {row} holds no text")
        return value

    def find(self, text: str) -> int:
        """Row of `text` in a *sorted* column without None; −1 if it is not there. O(log n), no copy."""
        row = bisect_left(_Sorted(self), text.encode())
        return row if row < len(self) and self[row] == text else -1


class _Sorted:
    """Bytes of each text, as bisect wants them: UTF-8 order is code point order."""

    def __init__(self, strings: Strings) -> None:
        self.strings = strings

    def __len__(self) -> int:
        return len(self.strings)

    def __getitem__(self, row: int) -> bytes:
        strings = self.strings
        return strings.blob[strings._start(row) : int(strings.ends[row])].tobytes()


def ranges(starts: Ints, counts: Ints) -> npt.NDArray[np.int64]:
    """Concatenated `start, start + 1, …` runs: positions of several slices at once.

    >>> ranges(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    counts = np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    offsets = np.repeat(np.asarray(starts, dtype=np.int64) - (ends - counts), counts)
    positions: npt.NDArray[np.int64] = np.arange(total, dtype=np.int64) + offsets
    return positions


def best_first(group: Ints, product: Ints, score: Floats | None = None, product_first: bool = False) -> Ints:
    """Stable order by group, then score falling, then product (or product, then score falling).

    Packed into one 64-bit key where it fits: twenty times as fast as a sort by three columns.
    """
    n_group, n_product = (int(column.max(initial=0)).bit_length() for column in (group, product))
    if n_group + n_product + 32 > 64:
        falling = np.zeros(len(group)) if score is None else -score
        return np.lexsort((falling, product, group) if product_first else (product, falling, group))
    key = group.astype(np.uint64)
    # the bits of a float32 ≥ 0 rise with its value
    bits = np.zeros(len(group), np.float32) if score is None else np.asarray(score, np.float32)
    falling_bits = np.uint64(0xFFFFFFFF) - bits.view(np.uint32)
    parts = [(falling_bits, 32), (product.astype(np.uint64), n_product)]
    for column, width in reversed(parts) if product_first else parts:
        key = (key << np.uint64(width)) | column
    return np.argsort(key, kind="stable")


def place_in_run(group: Ints) -> npt.NDArray[np.int64]:
    """0, 1, 2, … within each run of equal values of a sorted column."""
    start = np.ones(len(group), dtype=bool)
    start[1:] = group[1:] != group[:-1]
    starts = np.flatnonzero(start)
    lengths = np.diff(np.append(starts, len(group)))
    return np.arange(len(group), dtype=np.int64) - np.repeat(starts, lengths)


def first_of_each(group: Ints, key: Floats | Ints, tie: Ints, n: int) -> Bools:
    """Which rows are among the `n` lowest keys of their group, ties by the lower `tie`."""
    return _among(np.lexsort((tie, key, group)), group, n)


def best_of_each(group: Ints, score: Floats, product: Ints, n: int) -> Bools:
    """Which rows are among the `n` highest scores (≥ 0) of their group, ties by the lower product."""
    return _among(best_first(group, product, score), group, n)


def _among(order: Ints, group: Ints, n: int) -> Bools:
    among: Bools = np.zeros(len(order), dtype=bool)
    among[order] = place_in_run(group[order]) < n
    return among
