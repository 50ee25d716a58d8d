"""The models folder: bundles are staged, published durably, opened only if every byte is as published.

models/
  CURRENT              one line, the id in service
  <bundle_id>/         manifest.json and the parts, never changed once it has this name
  .staging-…/          a job at work, or one that was killed; the next job removes it
  .lock .guard         the nightly job's lock, and the one around each change of names
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from nextoffer.bundle import durable
from nextoffer.bundle.lock import guard, is_held, locked
from nextoffer.bundle.manifest import FILE_NAME, FORMAT, FileSeal, Manifest, decode, encode, sealed
from nextoffer.bundle.parts import read_part, write_part
from nextoffer.errors import BundleCorruptError, BundleError, NoBundleError

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

_CURRENT = "CURRENT"
_STAGING = ".staging-"
_ID = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z-[0-9a-f]{6}")
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class OpenedBundle:
    """A bundle whose bytes were checked; parts are read when asked for."""

    folder: Path
    manifest: Manifest

    @property
    def bundle_id(self) -> str:
        """Name of the folder: as_of and six hex of the content hash."""
        return self.manifest.bundle_id

    def read(self, name: str, cls: type[P], mapped: bool = False) -> P:
        """One part; `mapped` as it was written."""
        return read_part(self.folder, name, cls, mapped)


@dataclass(frozen=True, slots=True)
class BundleEntry:
    """One line of `nextoffer bundles`: `manifest` is None and `fault` says why if it cannot be read."""

    bundle_id: str
    in_service: bool
    manifest: Manifest | None
    fault: str | None = None


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
                durable.replace_line(self.models_dir / _CURRENT, manifest.bundle_id)
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


def current_id(models_dir: Path) -> str | None:
    """The id in service; None if nothing was ever published.

    Raises
    ------
    BundleCorruptError : CURRENT holds something that is no id.
    """
    path = models_dir / _CURRENT
    try:
        line = path.read_bytes().decode("ascii", "replace").removesuffix("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    if not _ID.fullmatch(line):
        raise BundleCorruptError(
            f"{path} is damaged: it says {line[:60]!r}, which is no bundle id. {durable.REMEDY}"
        )
    return line


def open_folder(
    models_dir: Path, bundle_id: str | None = None, verify: bool = True, signing_key: str | None = None
) -> OpenedBundle:
    """Open a bundle, by default the one in service, and check every byte of it.

    Raises
    ------
    NoBundleError : there is none, or not this one; lists those that are there.
    BundleFormatError : another version of nextoffer wrote it.
    BundleCorruptError : a file is missing, added or changed, or the signature is wrong; names the file.
    """
    wanted = current_id(models_dir) if bundle_id is None else bundle_id
    if wanted is None:
        raise NoBundleError(f"no bundle is in service in {models_dir}; make one with: nextoffer train")
    folder = models_dir / wanted
    if not _ID.fullmatch(wanted) or not folder.is_dir():
        named = f"{models_dir / _CURRENT} names" if bundle_id is None else "you named"
        raise NoBundleError(f"{named} bundle {wanted}, which is not there. {_present(models_dir)}")
    where = f"{wanted}/{FILE_NAME}"
    try:
        raw = (folder / FILE_NAME).read_bytes()
        there = {path.name for path in folder.iterdir()} - {FILE_NAME}
    except OSError as error:
        raise BundleCorruptError(f"{where} cannot be read: {error.strerror}. {durable.REMEDY}") from None
    manifest = decode(raw, where, signing_key)
    if manifest.bundle_id != wanted:
        raise BundleCorruptError(f"{where} belongs to bundle {manifest.bundle_id}. {durable.REMEDY}")
    if verify and (faults := _faults(folder, there, manifest)):
        raise BundleCorruptError(
            f"{'; '.join(f'{wanted}/{fault}' for fault in faults[:5])}. {durable.REMEDY}"
        )
    return OpenedBundle(folder, manifest)


def list_bundles(models_dir: Path) -> list[BundleEntry]:
    """Every bundle there, newest `as_of` first; only manifests are checked, not the files."""
    try:
        serving = current_id(models_dir)
    except BundleCorruptError:
        serving = None
    entries = []
    for bundle_id in _ids(models_dir):
        manifest, fault = None, None
        try:
            manifest = open_folder(models_dir, bundle_id, verify=False).manifest
        except BundleError as error:
            fault = str(error)
        entries.append(BundleEntry(bundle_id, bundle_id == serving, manifest, fault))
    return entries


def rollback(models_dir: Path, bundle_id: str, signing_key: str | None = None) -> str:
    """Put a bundle that is there back in service, once every byte of it has been checked."""
    open_folder(models_dir, bundle_id, signing_key=signing_key)
    with _reported(models_dir, _CURRENT), guard(models_dir):
        if not (models_dir / bundle_id).is_dir():
            raise NoBundleError(f"bundle {bundle_id} was pruned just now. {_present(models_dir)}")
        durable.replace_line(models_dir / _CURRENT, bundle_id)
    return bundle_id


def prune(models_dir: Path, keep: int) -> list[str]:
    """Remove all but the newest `keep` bundles, never the one in service; gives the ids removed."""
    if keep < 1:
        raise BundleError(f"prune must keep at least 1 bundle, not {keep}")
    doomed: list[str] = []
    if models_dir.is_dir():
        with _reported(models_dir, _CURRENT), guard(models_dir):
            serving = current_id(models_dir)
            doomed = [bundle_id for bundle_id in _ids(models_dir)[keep:] if bundle_id != serving]
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
        (models_dir / f"{_CURRENT}.tmp").unlink(missing_ok=True)


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
        seals = list(pool.map(_seal, paths))
        list(pool.map(durable.sync, paths))
    return {path.name: seal for path, seal in zip(paths, seals, strict=True)}


def _seal(path: Path) -> FileSeal:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileSeal(digest, file.tell())


def _faults(folder: Path, there: set[str], manifest: Manifest) -> list[str]:
    """What is wrong with the files (`there`), one text per file that begins with its name."""
    listed = set(manifest.files)
    faults = [f"{name} is missing" for name in listed - there]
    faults += [f"{name} does not belong there; remove it" for name in there - listed]

    def changed(name: str) -> str | None:
        expected = manifest.files[name]
        try:
            if (size := (folder / name).stat().st_size) != expected.bytes:
                return f"{name} has {size} bytes, {expected.bytes} were published"
            if _seal(folder / name).sha256 != expected.sha256:
                return f"{name} is damaged: its bytes are not those that were published"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None

    with ThreadPoolExecutor() as pool:
        faults += filter(None, pool.map(changed, sorted(listed & there)))
    return sorted(faults)


def _ids(models_dir: Path) -> list[str]:
    """Newest as_of first; the same as_of by hash."""
    if not models_dir.is_dir():
        return []
    return sorted((path.name for path in models_dir.iterdir() if _ID.fullmatch(path.name)), reverse=True)


def _present(models_dir: Path) -> str:
    ids = _ids(models_dir)
    if not ids:
        return f"{models_dir} holds none; make one with: nextoffer train"
    return f"Present: {', '.join(ids)}. Put one in service with: nextoffer bundles rollback ID"


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
