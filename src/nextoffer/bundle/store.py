"""The models folder: bundles are staged, published durably, opened only if every byte is as published.

models/
  CURRENT              one line, the id in service
  <bundle_id>/         manifest.json and the parts, never changed once it has this name
  .staging-…/          a job at work, or one that was killed; the next job removes it
  .lock .guard         the nightly job's lock, and the one around each change of names
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nextoffer.bundle import durable
from nextoffer.bundle.lock import guard, is_held, locked
from nextoffer.bundle.manifest import FILE_NAME, FORMAT, FileSeal, Manifest, encode, sealed
from nextoffer.bundle.opening import (
    CURRENT,
    BundleEntry,
    OpenedBundle,
    bundle_ids,
    current_id,
    list_bundles,
    open_folder,
    present,
    seal_of,
)
from nextoffer.bundle.parts import read_part, write_part
from nextoffer.errors import BundleError, NoBundleError

__all__ = [
    "FORMAT",
    "BundleEntry",
    "FileSeal",
    "Manifest",
    "OpenedBundle",
    "Staging",
    "current_id",
    "list_bundles",
    "open_folder",
    "prune",
    "publish",
    "remove_stale",
    "rollback",
    "stage",
]

P = TypeVar("P")

_STAGING = ".staging-"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Staging:
    """A bundle in the making: parts are written as they come, then published all at once or not at all."""

    models_dir: Path
    root: Path

    @property
    def folder(self) -> Path:
        """Where the parts lie until they are published."""
        return self.root / "bundle"

    def write(self, name: str, part: Any, mapped: bool = False) -> list[str]:
        """Write one part; gives the names of its files."""
        with _reported(self.models_dir, name):
            return write_part(self.folder, name, part, mapped)

    def read(self, name: str, cls: type[P], mapped: bool = False) -> P:
        """Read back a part written before, e.g. to score customers with it."""
        return read_part(self.folder, name, cls, mapped)

    def publish(self, manifest: Manifest, signing_key: str | None = None) -> str:
        """Put what was written in service; when this returns the id, a power cut cannot undo it.

        Raises
        ------
        BundleError : the disk is full or cannot be written; CURRENT is as it was.
        """
        with _reported(self.models_dir, "the bundle"):
            manifest = sealed(manifest, _seals(self.folder))
            with durable.create(self.folder / FILE_NAME) as file:
                file.write(encode(manifest, signing_key))
            durable.sync(self.folder / FILE_NAME)
            durable.sync(self.folder)
            with guard(self.models_dir):
                _settle(self, manifest, signing_key)
                durable.sync(self.models_dir)
                durable.replace_line(self.models_dir / CURRENT, manifest.bundle_id)
        return manifest.bundle_id


@contextmanager
def stage(models_dir: Path) -> Iterator[Staging]:
    """A staging folder, gone at the end whatever happens; what killed jobs left is removed first.

    Raises
    ------
    BundleError : the disk is full, or the models folder cannot be written.
    """
    remove_stale(models_dir)
    with ExitStack() as held:
        with _reported(models_dir, "a staging folder"), guard(models_dir):
            root = _new_folder(models_dir)
            held.callback(shutil.rmtree, root, ignore_errors=True)
            held.enter_context(locked(root / "lock"))
            (root / "bundle").mkdir()
        try:
            yield Staging(models_dir, root)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise _unwritable(models_dir, "the bundle", error) from error


def publish(
    models_dir: Path,
    parts: Mapping[str, tuple[Any, bool]],
    manifest: Manifest,
    signing_key: str | None = None,
) -> str:
    """Stage and publish parts that are all in memory: name → (part, mapped). Gives the bundle's id."""
    with stage(models_dir) as staging:
        for name, (part, mapped) in parts.items():
            staging.write(name, part, mapped)
        return staging.publish(manifest, signing_key)


def rollback(models_dir: Path, bundle_id: str, signing_key: str | None = None) -> str:
    """Put a bundle that is there back in service, once every byte of it has been checked."""
    open_folder(models_dir, bundle_id, signing_key=signing_key)
    with _reported(models_dir, CURRENT), guard(models_dir):
        if not (models_dir / bundle_id).is_dir():
            raise NoBundleError(f"bundle {bundle_id} was pruned just now. {present(models_dir)}")
        durable.replace_line(models_dir / CURRENT, bundle_id)
    return bundle_id


def prune(models_dir: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` bundles, never the one in service; gives the ids removed."""
    if keep < 1:
        raise BundleError(f"prune must keep at least 1 bundle, not {keep}")
    doomed: list[str] = []
    if models_dir.is_dir():
        with _reported(models_dir, CURRENT), guard(models_dir):
            serving = current_id(models_dir)
            doomed = [bundle_id for bundle_id in bundle_ids(models_dir)[keep:] if bundle_id != serving]
            for bundle_id in doomed:  # renamed first, so that no bundle is ever seen half deleted
                os.rename(models_dir / bundle_id, models_dir / f"{_STAGING}{bundle_id}")
            durable.sync(models_dir)
    remove_stale(models_dir)
    return doomed


def remove_stale(models_dir: Path) -> None:
    """Remove what killed jobs left; a staging folder whose job lives is left alone."""
    if not models_dir.is_dir():
        return
    with guard(models_dir):
        for root in sorted(models_dir.glob(f"{_STAGING}*")):
            if not is_held(root / "lock"):
                shutil.rmtree(root, ignore_errors=True)
        (models_dir / f"{CURRENT}.tmp").unlink(missing_ok=True)


def _new_folder(models_dir: Path) -> Path:
    names = (models_dir / f"{_STAGING}{os.getpid()}-{number}" for number in itertools.count())
    root = next(name for name in names if not name.exists())
    root.mkdir()
    return root


def _settle(staging: Staging, manifest: Manifest, signing_key: str | None) -> None:
    """Give the staged folder its name. The same content is there already: keep that, unless damaged."""
    target = staging.models_dir / manifest.bundle_id
    if target.exists():
        try:
            there = open_folder(staging.models_dir, manifest.bundle_id, signing_key=signing_key)
        except BundleError:
            os.rename(target, staging.root / "damaged")
        else:
            if there.manifest.content_hash != manifest.content_hash:
                raise BundleError(
                    f"bundle {manifest.bundle_id} is there with other content (one chance in 16 million). "
                    "Prune it, or set another seed in nextoffer.toml, and train again"
                )
            _seals(target)  # it may have come from a copy that never reached the disk
            durable.sync(target)
            return
    os.rename(staging.folder, target)


def _seals(folder: Path) -> dict[str, FileSeal]:
    """Hash of every file, and every file on the disk."""
    paths = sorted(folder.iterdir())
    with ThreadPoolExecutor() as pool:  # hashing and fsync release the interpreter lock
        seals = list(pool.map(seal_of, paths))
        list(pool.map(durable.sync, paths))
    return {path.name: seal for path, seal in zip(paths, seals, strict=True)}


@contextmanager
def _reported(models_dir: Path, what: str) -> Iterator[None]:
    """A file system that refuses becomes one clear error; what is in service stays."""
    try:
        yield
    except OSError as error:
        raise _unwritable(models_dir, what, error) from error


def _unwritable(models_dir: Path, what: str, error: OSError) -> BundleError:
    try:
        serving = current_id(models_dir)
    except BundleError:
        serving = None
    stays = f"bundle {serving} stays in service" if serving else "no bundle was in service yet"
    if error.errno not in _FULL:
        return BundleError(f"{what} cannot be written to {models_dir}: {error}; {stays}")
    free = shutil.disk_usage(models_dir).free / 1e6
    return BundleError(
        f"the disk is full: {what} cannot be written to {models_dir} ({free:.1f} MB free); {stays}. "
        "Make room, e.g. with: nextoffer bundles prune --keep 1, and train again"
    )
