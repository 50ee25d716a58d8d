"""Parts go to files and come back the same, with the same bytes every time, and nothing is pickled."""

import hashlib
import tempfile
import tracemalloc
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nextoffer.bundle.parts import read_part, write_part
from nextoffer.domain.arrays import Strings
from nextoffer.errors import BundleCorruptError, BundleFormatError


@dataclass(frozen=True, slots=True, eq=False)
class Everything:
    array: np.ndarray[Any, Any]
    other: np.ndarray[Any, Any] | None
    ids: Strings
    text: str
    maybe: str | None
    count: int
    share: float
    flag: bool
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    values: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Renamed:
    figures: np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Plain:
    value: str


DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.floating_dtypes(sizes=(16, 32, 64), endianness="="),
    hnp.complex_number_dtypes(sizes=(64, 128), endianness="="),
    hnp.datetime64_dtypes(endianness="="),
    hnp.byte_string_dtypes(endianness="=", min_len=1),
    hnp.unicode_string_dtypes(endianness="=", min_len=1),
)
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=6))
)
TEXTS = st.text(max_size=8)
PARTS = st.builds(
    Everything,
    array=ARRAYS,
    other=st.none() | ARRAYS,
    ids=st.lists(st.none() | TEXTS, max_size=8).map(Strings.of),
    text=TEXTS,
    maybe=st.none() | TEXTS,
    count=st.integers(),
    share=st.floats(),
    flag=st.booleans(),
    names=st.lists(TEXTS, max_size=3).map(tuple),
)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.ndarray):
        return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())
    if isinstance(left, Strings):
        return list(left) == list(right) and left.ends.tolist() == right.ends.tolist()
    return type(left) is type(right) and repr(left) == repr(right)  # repr: NaN is NaN


@settings(max_examples=60, deadline=None)
@given(part=PARTS, mapped=st.booleans())
def test_a_part_comes_back_as_it_was_written(part: Everything, mapped: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = write_part(Path(folder), "part", part, mapped)
        got = read_part(Path(folder), "part", Everything, mapped)

        assert sorted(path.name for path in Path(folder).iterdir()) == files
        for field in fields(Everything):
            assert same(getattr(part, field.name), getattr(got, field.name)), field.name


@settings(max_examples=20, deadline=None)
@given(part=PARTS, mapped=st.booleans())
def test_the_same_content_gives_the_same_bytes(part: Everything, mapped: bool) -> None:
    def digests() -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            files = write_part(Path(folder), "part", part, mapped)
            return [hashlib.sha256((Path(folder) / name).read_bytes()).hexdigest() for name in files]

    assert digests() == digests()


@pytest.mark.parametrize("mapped", [False, True])
def test_memory_layout_and_byte_order_never_reach_the_file(tmp_path: Path, mapped: bool) -> None:
    values = np.arange(12, dtype=np.float64).reshape(3, 4)
    wide = np.zeros((3, 8))
    wide[:, ::2] = values
    written = []
    for number, array in enumerate((values, np.asfortranarray(values), wide[:, ::2], values.astype(">f8"))):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_part(folder, "part", Numbers(array), mapped)
        written.append([path.read_bytes() for path in sorted(folder.iterdir())])

    assert written == [written[0]] * 4


def test_any_program_with_numpy_can_read_the_files(tmp_path: Path) -> None:
    values = np.arange(5000, dtype=np.int32)
    write_part(tmp_path, "small", Numbers(values))
    write_part(tmp_path, "large", Numbers(values), mapped=True)

    with np.load(tmp_path / "small.npz", allow_pickle=False) as small:
        np.testing.assert_array_equal(small["values"], values)
    np.testing.assert_array_equal(np.load(tmp_path / "large.values.npy", allow_pickle=False), values)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("n", [0, 3, 100_000])
def test_arrays_that_were_read_cannot_be_changed(tmp_path: Path, n: int, mapped: bool) -> None:
    write_part(tmp_path, "part", Numbers(np.arange(n)), mapped)

    values = read_part(tmp_path, "part", Numbers, mapped).values

    with pytest.raises(ValueError, match="read-only"):
        values[:] = 1
    assert type(values) is np.ndarray


def test_reading_a_mapped_part_takes_no_memory(tmp_path: Path) -> None:
    write_part(tmp_path, "part", Numbers(np.zeros(4_000_000)), mapped=True)

    tracemalloc.start()
    part = read_part(tmp_path, "part", Numbers, mapped=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 1_000_000 < part.values.nbytes


@pytest.mark.parametrize("mapped", [False, True])
def test_a_truncated_file_is_named_and_gives_no_traceback(tmp_path: Path, mapped: bool) -> None:
    files = write_part(tmp_path, "part", Numbers(np.arange(10_000)), mapped)
    for name in files:
        whole = (tmp_path / name).read_bytes()
        for length in (0, 1, 40, 100, len(whole) // 2, len(whole) - 1):
            if length < len(whole):
                (tmp_path / name).write_bytes(whole[:length])
                with pytest.raises(BundleCorruptError, match=f"{tmp_path.name}/{name} cannot be read"):
                    read_part(tmp_path, "part", Numbers, mapped)
        (tmp_path / name).write_bytes(whole)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_missing_file_is_named(tmp_path: Path, mapped: bool) -> None:
    for name in write_part(tmp_path, "part", Numbers(np.arange(10)), mapped):
        kept = (tmp_path / name).read_bytes()
        (tmp_path / name).unlink()
        with pytest.raises(BundleCorruptError, match=name):
            read_part(tmp_path, "part", Numbers, mapped)
        (tmp_path / name).write_bytes(kept)


@pytest.mark.parametrize("mapped", [False, True])
def test_a_part_of_another_version_says_which_fields_differ(tmp_path: Path, mapped: bool) -> None:
    write_part(tmp_path, "part", Numbers(np.arange(3)), mapped)

    with pytest.raises(BundleFormatError, match="figures, values"):
        read_part(tmp_path, "part", Renamed, mapped)


@pytest.mark.parametrize(
    ("part", "fault"),
    [
        (Numbers(np.array([object()])), "part.values holds Python objects"),
        (Plain(value=None), "part.value is None"),  # type: ignore[arg-type]
        (Plain(value={}), "part.value holds a dict"),  # type: ignore[arg-type]
        (Plain(value=(1, [])), "part.value holds a list"),  # type: ignore[arg-type]
        ({"values": 1}, "must be a dataclass"),
    ],
)
def test_what_cannot_be_kept_without_pickle_is_refused_by_name(
    tmp_path: Path, part: object, fault: str
) -> None:
    with pytest.raises(TypeError, match=fault):
        write_part(tmp_path, "part", part)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["manifest", "", "../up", "a.b", "Big"])
def test_a_name_that_could_hide_another_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        write_part(tmp_path, name, Numbers(np.arange(3)))


def test_numpy_scalars_become_plain_numbers(tmp_path: Path) -> None:
    write_part(tmp_path, "part", Plain(np.int64(0)))  # type: ignore[arg-type]

    assert read_part(tmp_path, "part", Plain).value == 0
