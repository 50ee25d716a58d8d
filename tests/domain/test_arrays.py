"""Text columns from Arrow: the same texts, whatever shape Arrow holds them in."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.domain.arrays import Strings

TEXTS = ["alpha", None, "", "Ёж", "漢字", None]
SHAPES = {
    "string": pa.array(TEXTS, pa.string()),
    "large_string": pa.array(TEXTS, pa.large_string()),
    "string_view": pa.array(TEXTS, pa.string_view()),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    "chunks": pa.chunked_array([TEXTS[:2], [], TEXTS[2:]], pa.string()),
    "slice": pa.array(["before", *TEXTS, "after"])[1:-1],
    "chunks of dictionaries": pa.chunked_array(
        [pa.array(TEXTS[:3]).dictionary_encode(), pa.array(TEXTS[3:]).dictionary_encode()]
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_arrow_shape_gives_the_same_texts(shape: str) -> None:
    got = Strings.from_arrow(SHAPES[shape])

    assert list(got) == TEXTS
    assert got.ends.dtype == "int64"
    assert got.blob.dtype == "uint8"


@pytest.mark.parametrize(
    "empty",
    [pa.array([], pa.string()), pa.chunked_array([], pa.string()), pa.array([], pa.large_string())],
)
def test_an_empty_column_gives_no_texts(empty: pa.Array) -> None:
    assert list(Strings.from_arrow(empty)) == []


def test_a_column_of_nulls_gives_none_for_each() -> None:
    assert list(Strings.from_arrow(pa.nulls(3, pa.string()))) == [None, None, None]


def test_bytes_hidden_under_a_null_are_left_out() -> None:
    valid = pa.py_buffer(bytes([0b101]))
    offsets = pa.array([0, 1, 3, 4], pa.int32()).buffers()[1]
    hidden = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"aXXb"), valid)

    got = Strings.from_arrow(hidden)

    assert list(got) == ["a", None, "b"]
    assert got.blob.tobytes() == b"ab"


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text())))
def test_from_arrow_packs_as_of_does(texts: list[str | None]) -> None:
    packed, expected = Strings.from_arrow(pa.array(texts, pa.string())), Strings.of(texts)

    assert packed.ends.tolist() == expected.ends.tolist()
    assert packed.blob.tobytes() == expected.blob.tobytes()


def test_an_id_is_found_in_a_sorted_column_and_a_stranger_is_not() -> None:
    ids = sorted(["b", "a", "é", "z"], key=str.encode)
    column = Strings.from_arrow(pa.array(ids))

    assert [column.find(text) for text in ids] == [0, 1, 2, 3]
    assert column.find("aa") == -1
