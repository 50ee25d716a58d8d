"""One nightly job at a time. The locks are the kernel's, so a killed job leaves none behind."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from nextoffer.errors import BundleError, BusyError


@contextmanager
def nightly_lock(models_dir: Path) -> Iterator[None]:
    """Hold the models folder for one nightly job; released at the end, or when the process dies.

    Raises
    ------
    BusyError : another job holds it; names its process and since when.
    BundleError : the models folder cannot be made or written.
    """
    with locked(models_dir / ".lock", wait=False) as descriptor:
        with suppress(OSError):  # only tells others who we are; a full disk must not stop the job here
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield


@contextmanager
def guard(models_dir: Path) -> Iterator[None]:
    """Wait for, then hold, the right to change which folders there are and what CURRENT says (moments)."""
    with locked(models_dir / ".guard"):
        yield


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock file at `path`; a missing file is held by nobody."""
    if not path.exists():
        return False
    try:
        with locked(path, wait=False):
            return False
    except BusyError:
        return True


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[int]:
    """Hold a lock file. The file stays: deleting it would let two jobs lock two different files."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BundleError(
            f"{path} cannot be opened for writing ({error.strerror}). "
            "Make room there, let the nightly job write there, or set models_dir in nextoffer.toml."
        ) from None
    try:
        _take(descriptor, path, wait)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, wait: bool) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise BusyError(_holder(path)) from None
    except OSError as error:
        raise BundleError(
            f"{path} cannot be locked ({error.strerror}). "
            "Set models_dir in nextoffer.toml to a file system that has flock."
        ) from None


def _holder(path: Path) -> str:
    pid = path.read_bytes().decode("ascii", "replace").strip() or "unknown"
    since = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return (
        f"another nightly job (pid {pid}, since {since:%Y-%m-%d %H:%M:%S} UTC) is running in {path.parent}. "
        "Wait for it, or stop it, and run again; nothing was changed."
    )
