"""A part of a bundle: any flat frozen dataclass of arrays and texts, to files and back.

A small part is one `<name>.npz`. A customer-sized ("mapped") part is one `<name>.<field>.npy` per array, so
that every process which opens it shares one copy, and `<name>.json` for the rest. Nothing here knows what
the fields mean, nothing is pickled, and the same content gives the same bytes on every machine.
"""

from __future__ import annotations

import io
import json
import re
import struct
import tokenize
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, BinaryIO, TypeVar, cast, get_args, get_type_hints

import numpy as np
import numpy.typing as npt

from nextoffer.bundle import durable
from nextoffer.domain.arrays import Strings
from nextoffer.errors import BundleCorruptError, BundleFormatError

P = TypeVar("P")
Array = npt.NDArray[Any]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_RESERVED = "manifest"
_FIELDS = "fields.json"
_SMALL_FILE_BYTES = 4096  # below a page, reading is cheaper than mapping; an empty array cannot be mapped
_DAMAGE = (
    OSError,
    EOFError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
    NotImplementedError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
)


def write_part(folder: Path, name: str, part: Any, mapped: bool = False) -> list[str]:
    """Write a part into a folder; gives the names of its files.

    Parameters
    ----------
    part : a dataclass whose fields are numpy arrays (any dtype but object), Strings, str, int, float, bool,
        tuples of those four, or None where the annotation allows it
    mapped : True for what is customer-sized: one file per array, to be memory-mapped

    Raises
    ------
    TypeError, ValueError : the part or its name is not of that shape (a defect of ours).
    OSError : the file system refuses; `errno` says why.
    """
    if not _NAME.fullmatch(name) or name == _RESERVED:
        raise ValueError(f"a part's name is lower case letters, digits and _, and not {_RESERVED}: {name!r}")
    layout, arrays = _taken_apart(name, part)
    text = json.dumps(layout, sort_keys=True, indent=1).encode()
    if not mapped:
        _write(folder / f"{name}.npz", _zipped(text, arrays))
        return [f"{name}.npz"]
    for member, array in arrays.items():
        with durable.create(folder / f"{name}.{member}.npy") as file:
            _write_array(file, array)
    _write(folder / f"{name}.json", text)
    return sorted([f"{name}.json", *(f"{name}.{member}.npy" for member in arrays)])


def read_part(folder: Path, name: str, cls: type[P], mapped: bool = False) -> P:
    """Read a part back as `cls`. Every array is read-only; those of a mapped part are views of their files.

    Raises
    ------
    BundleCorruptError : a file is missing, cut short or not what it should be; names it.
    BundleFormatError : the part was written with other fields than `cls` has.
    """
    path = folder / (f"{name}.json" if mapped else f"{name}.npz")
    with _named(path):
        if mapped:
            layout = _layout(path, path.read_bytes(), cls)
            arrays = {member: _mapped(folder / f"{name}.{member}.npy") for member in _members(layout)}
        else:
            with zipfile.ZipFile(path) as archive:
                layout = _layout(path, archive.read(_FIELDS), cls)
                arrays = {member: _frozen(archive.read(f"{member}.npy")) for member in _members(layout)}
        values = {field: _value(field, entry, arrays) for field, entry in layout.items()}
    return cls(**values)


def _taken_apart(name: str, part: Any) -> tuple[dict[str, Any], dict[str, Array]]:
    """What stands in JSON (the kind of every field, and the plain values), and the arrays by member name."""
    if not is_dataclass(part) or isinstance(part, type):
        raise TypeError(f"part {name} must be a dataclass, not {type(part).__name__}")
    layout: dict[str, Any] = {}
    arrays: dict[str, Array] = {}
    for field in fields(part):
        value = getattr(part, field.name)
        if isinstance(value, np.ndarray):
            layout[field.name] = {"kind": "array"}
            arrays[field.name] = value
        elif isinstance(value, Strings):
            layout[field.name] = {"kind": "strings"}
            arrays |= {f"{field.name}.blob": value.blob, f"{field.name}.ends": value.ends}
        elif isinstance(value, tuple):
            plain = [_plain(name, field.name, item) for item in value]
            layout[field.name] = {"kind": "tuple", "value": plain}
        else:
            layout[field.name] = {"kind": "plain", "value": _plain_or_none(name, part, field.name)}
    for member, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"{name}.{member} holds Python objects; a bundle holds fixed dtypes and Strings")
    return layout, arrays


def _plain_or_none(name: str, part: Any, field: str) -> str | int | float | bool | None:
    value = getattr(part, field)
    if value is not None:
        return _plain(name, field, value)
    if NoneType not in get_args(get_type_hints(type(part))[field]):
        raise TypeError(f"{name}.{field} is None, but its annotation does not allow it")
    return None


def _plain(part: str, field: str, value: Any) -> str | int | float | bool:
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, str | int | float):
        raise TypeError(f"{part}.{field} holds a {type(value).__name__}; see write_part for what it may hold")
    return value


def _members(layout: dict[str, Any]) -> Iterator[str]:
    for field, entry in layout.items():
        if entry["kind"] == "array":
            yield field
        elif entry["kind"] == "strings":
            yield f"{field}.blob"
            yield f"{field}.ends"


def _value(field: str, entry: dict[str, Any], arrays: dict[str, Array]) -> Any:
    if entry["kind"] == "array":
        return arrays[field]
    if entry["kind"] == "strings":
        return Strings(arrays[f"{field}.blob"], arrays[f"{field}.ends"])
    return tuple(entry["value"]) if entry["kind"] == "tuple" else entry["value"]


def _layout(path: Path, text: bytes, cls: type[Any]) -> dict[str, Any]:
    """What `_taken_apart` wrote, if it is about the fields that `cls` has."""
    layout: dict[str, Any] = json.loads(text)
    if odd := {field.name for field in fields(cls)} ^ set(layout):
        raise BundleFormatError(
            f"{path.parent.name}/{path.name} was written by another version of nextoffer: it and "
            f"{cls.__name__} differ in {', '.join(sorted(odd))}. Train again with: nextoffer train"
        )
    return layout


def _write(path: Path, content: bytes) -> None:
    with durable.create(path) as file:
        file.write(content)


def _write_array(file: BinaryIO, array: Array) -> None:
    """Little-endian, C order. On a full disk numpy's own way into a file raises an error without errno."""
    array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
    sink = cast(BinaryIO, SimpleNamespace(write=file.write))
    np.lib.format.write_array(sink, array, allow_pickle=False)


def _zipped(text: bytes, arrays: dict[str, Array]) -> bytes:
    """An .npz with fixed order and times, stored: deflate's bytes differ between builds of zlib."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, _FIELDS, text)
        for member in sorted(arrays):
            raw = io.BytesIO()
            _write_array(raw, arrays[member])
            _add(archive, f"{member}.npy", raw.getvalue())
    return packed.getvalue()


def _add(archive: zipfile.ZipFile, member: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(member, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, 0o644 << 16
    archive.writestr(entry, content)


def _frozen(raw: bytes) -> Array:
    array: Array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    array.flags.writeable = False
    return array


def _mapped(path: Path) -> Array:
    with _named(path):
        if path.stat().st_size <= _SMALL_FILE_BYTES:
            return _frozen(path.read_bytes())
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
        return array.view(np.ndarray)  # np.memmap makes every small slice slower


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Any way in which reading can fail on damaged bytes becomes one error that names the file."""
    try:
        yield
    except _DAMAGE as error:
        raise BundleCorruptError(
            f"{path.parent.name}/{path.name} cannot be read: {str(error) or type(error).__name__}. "
            f"{durable.REMEDY}"
        ) from None
