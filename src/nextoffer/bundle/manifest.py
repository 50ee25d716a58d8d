"""manifest.json: what a bundle is, what it was made from, and the seal of every file in it.

Two things protect it. Its own checksum (and that of every file, which it lists) finds bytes that rotted; a
signature, made when NEXTOFFER_SIGNING_KEY is set, finds people who changed something on purpose.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

import orjson

from nextoffer.bundle.durable import REMEDY
from nextoffer.errors import BundleCorruptError, BundleFormatError

FORMAT = 3
FILE_NAME = "manifest.json"
_JSON = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS


@dataclass(frozen=True, slots=True)
class FileSeal:
    """What one file must be."""

    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The caller gives what it knows; publishing fills in `bundle_id`, `content_hash` and `files`.

    Parameters
    ----------
    as_of : first moment that was not known; aware
    settings_hash : of the settings that change what is learned
    created_by : name → version of what made it (nextoffer, python, numpy, …)
    rows : table → counts of the data report
    quality : the backtest's figures and the gate's verdict
    self_test : slates that whoever opens the bundle must be able to reproduce
    seconds : stage → duration
    taught : `taught_at`, when what it ranks with was taught, and `ranker_reason`, why that is what it is
    """

    as_of: datetime
    seed: int
    settings_hash: str
    created_by: Mapping[str, str] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    self_test: Sequence[Any] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    taught: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    bundle_id: str = ""
    content_hash: str = ""
    files: Mapping[str, FileSeal] = field(default_factory=dict)


def sealed(manifest: Manifest, files: Mapping[str, FileSeal]) -> Manifest:
    """The manifest with its files, their content hash, and the id that follows from it."""
    digest = content_hash(manifest, files)
    bundle_id = f"{_utc(manifest.as_of):%Y-%m-%dT%H-%MZ}-{digest[:6]}"
    return replace(manifest, files=dict(files), content_hash=digest, bundle_id=bundle_id)


def content_hash(manifest: Manifest, files: Mapping[str, FileSeal]) -> str:
    """SHA-256 over what was learned and what it was learned from; not over timings, quality or versions."""
    content = {
        "format": manifest.format,
        "as_of": _moment(manifest.as_of),
        "seed": manifest.seed,
        "settings_hash": manifest.settings_hash,
        "files": {name: seal.sha256 for name, seal in files.items()},
    }
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def encode(manifest: Manifest, signing_key: str | None = None) -> bytes:
    """The bytes of manifest.json, signed if there is a key."""
    document: dict[str, Any] = {item.name: getattr(manifest, item.name) for item in fields(Manifest)}
    document |= {"as_of": _moment(manifest.as_of), "signature": "", "checksum": ""}
    if signing_key is not None:
        document["signature"] = _mac(orjson.dumps(document, option=_JSON), signing_key)
    document["checksum"] = hashlib.sha256(orjson.dumps(document, option=_JSON)).hexdigest()
    return orjson.dumps(document, option=_JSON)


def decode(raw: bytes, where: str, signing_key: str | None = None) -> Manifest:
    """The manifest in these bytes, once checksum, format, signature and content hash have been checked.

    Raises
    ------
    BundleCorruptError : a byte is not what it was, or a key is given and the signature is not its.
    BundleFormatError : another version of nextoffer wrote it.
    """
    document = _checked(raw, where)
    if document.get("format") != FORMAT:
        raise BundleFormatError(
            f"{where} has format {document.get('format')!r}, and this version of nextoffer reads {FORMAT}. "
            "Train again with: nextoffer train, or run the version that wrote it"
        )
    checksum, signature = document.pop("checksum"), document.pop("signature", "")
    if signing_key is not None:
        unsigned = _blank(_blank(raw, "checksum", checksum), "signature", signature)
        if not hmac.compare_digest(_mac(unsigned, signing_key), str(signature)):
            state = "has another key's signature, or was changed" if signature else "is not signed"
            raise BundleCorruptError(
                f"{where} {state}, and NEXTOFFER_SIGNING_KEY is set. Train again with: nextoffer train"
            )
    try:
        files = {name: FileSeal(**seal) for name, seal in document["files"].items()}
        as_of = datetime.fromisoformat(document["as_of"])
        manifest = Manifest(**{**document, "as_of": as_of, "files": files})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise BundleFormatError(f"{where} is not a manifest of format {FORMAT}: {error}") from None
    if sealed(manifest, files) != manifest:
        raise BundleCorruptError(f"{where} names a content hash or id that its files do not have")
    return manifest


def _checked(raw: bytes, where: str) -> dict[str, Any]:
    try:
        document = orjson.loads(raw)
        checksum = document["checksum"]
    except (KeyError, TypeError, ValueError):
        raise BundleCorruptError(f"{where} is damaged: it is no manifest any more. {REMEDY}") from None
    if hashlib.sha256(_blank(raw, "checksum", checksum)).hexdigest() != checksum:
        raise BundleCorruptError(f"{where} is damaged: its checksum does not fit its bytes. {REMEDY}")
    return dict(document)


def _blank(raw: bytes, key: str, value: Any) -> bytes:
    """The bytes as they were before that key was filled in; no re-encoding, so every byte counts."""
    return raw.replace(f'"{key}": "{value}"'.encode(), f'"{key}": ""'.encode())


def _mac(content: bytes, signing_key: str) -> str:
    return hmac.new(signing_key.encode(), content, hashlib.sha256).hexdigest()


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"as_of must be aware, not {moment!r}")
    return moment.astimezone(UTC)


def _moment(moment: datetime) -> str:
    return _utc(moment).isoformat().replace("+00:00", "Z")
