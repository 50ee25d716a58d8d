"""Reading the models folder: nothing is opened unless every byte of it is as it was published."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nextoffer.bundle.durable import REMEDY
from nextoffer.bundle.manifest import FILE_NAME, FileSeal, Manifest, decode
from nextoffer.bundle.parts import read_part
from nextoffer.errors import BundleCorruptError, BundleError, NoBundleError

P = TypeVar("P")

CURRENT = "CURRENT"
_ID = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}Z-[0-9a-f]{6}")


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


def current_id(models_dir: Path) -> str | None:
    """The id in service; None if nothing was ever published.

    Raises
    ------
    BundleCorruptError : CURRENT holds something that is no id.
    """
    path = models_dir / CURRENT
    try:
        line = path.read_bytes().decode("ascii", "replace").removesuffix("\n")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    if not _ID.fullmatch(line):
        raise BundleCorruptError(f"{path} is damaged: it says {line[:60]!r}, which is no bundle id. {REMEDY}")
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
        raise NoBundleError(
            f"no bundle is in service: there is no {models_dir / CURRENT}. {present(models_dir)}"
        )
    folder = models_dir / wanted
    if not _ID.fullmatch(wanted) or not folder.is_dir():
        named = f"{models_dir / CURRENT} names" if bundle_id is None else "you named"
        raise NoBundleError(f"{named} bundle {wanted}, which is not there. {present(models_dir)}")
    where = f"{wanted}/{FILE_NAME}"
    try:
        raw = (folder / FILE_NAME).read_bytes()
        there = {path.name for path in folder.iterdir()} - {FILE_NAME}
    except OSError as error:
        raise BundleCorruptError(f"{where} cannot be read: {error.strerror}. {REMEDY}") from None
    manifest = decode(raw, where, signing_key)
    if manifest.bundle_id != wanted:
        raise BundleCorruptError(f"{where} belongs to bundle {manifest.bundle_id}. {REMEDY}")
    if verify and (faults := _faults(folder, there, manifest)):
        raise BundleCorruptError(f"{'; '.join(f'{wanted}/{fault}' for fault in faults[:5])}. {REMEDY}")
    return OpenedBundle(folder, manifest)


def list_bundles(models_dir: Path) -> list[BundleEntry]:
    """Every bundle there, newest `as_of` first; only manifests are checked, not the files."""
    try:
        serving = current_id(models_dir)
    except BundleCorruptError:
        serving = None
    entries = []
    for bundle_id in bundle_ids(models_dir):
        manifest, fault = None, None
        try:
            manifest = open_folder(models_dir, bundle_id, verify=False).manifest
        except BundleError as error:
            fault = str(error)
        entries.append(BundleEntry(bundle_id, bundle_id == serving, manifest, fault))
    return entries


def seal_of(path: Path) -> FileSeal:
    """What this file is now."""
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
            if seal_of(folder / name).sha256 != expected.sha256:
                return f"{name} is damaged: its bytes are not those that were published"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
        return None

    with ThreadPoolExecutor() as pool:
        faults += filter(None, pool.map(changed, sorted(listed & there)))
    return sorted(faults)


def bundle_ids(models_dir: Path) -> list[str]:
    """Ids of the bundles there, newest as_of first; of the same as_of, by hash."""
    if not models_dir.is_dir():
        return []
    return sorted((path.name for path in models_dir.iterdir() if _ID.fullmatch(path.name)), reverse=True)


def present(models_dir: Path) -> str:
    """What to say to someone who asked for a bundle that is not there."""
    ids = bundle_ids(models_dir)
    if not ids:
        return f"{models_dir} holds none; make one with: nextoffer train"
    return f"Present: {', '.join(ids)}. Put one in service with: nextoffer bundles rollback ID"
