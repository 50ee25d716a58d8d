"""What survives a power cut: the few system calls a published bundle rests on, in one place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

REMEDY = (
    "Put another bundle in service with: nextoffer bundles rollback ID, or train again with: nextoffer train"
)


def create(path: Path) -> BinaryIO:
    """A new file to write to; one that is there already is a defect, not something to overwrite."""
    return path.open("xb")


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's names, reach the disk before going on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_line(path: Path, line: str) -> None:
    """Make `line` the whole content of a file: readers see the old line or the new one, never a part."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    sync(path.parent)
