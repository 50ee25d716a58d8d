"""A bundle is put in service whole, and opened only if every byte is as it was published."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from nextoffer.bundle import store
from nextoffer.bundle.manifest import FileSeal, decode, encode, sealed
from nextoffer.bundle.store import (
    Manifest,
    current_id,
    list_bundles,
    open_folder,
    prune,
    publish,
    rollback,
    stage,
)
from nextoffer.domain.arrays import Strings
from nextoffer.errors import BundleCorruptError, BundleError, BundleFormatError, NoBundleError


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    weights: np.ndarray[Any, Any]
    ids: Strings


def knowledge(seed: int = 0) -> Knowledge:
    generator = np.random.default_rng(seed)
    return Knowledge(generator.normal(size=3000), Strings.of(["ann", None, "Ёж"]))


def manifest(night: int = 22) -> Manifest:
    return Manifest(
        as_of=datetime(2026, 11, night, 2, 10, tzinfo=UTC),
        seed=7,
        settings_hash="5e77",
        created_by={"numpy": np.__version__},
        rows={"orders": {"read": 10, "accepted": 9}},
        quality={"recall@10": np.float64(0.25), "gate": None},
        self_test=[{"customer_id": "ann", "products": ["p1"]}],
        seconds={"train": 1.5},
    )


def published(models_dir: Path, night: int = 22, seed: int = 0, key: str | None = None) -> str:
    part = knowledge(seed)
    return publish(models_dir, {"small": (part, False), "large": (part, True)}, manifest(night), key)


def test_what_is_published_is_in_service_with_all_that_is_known_of_it(tmp_path: Path) -> None:
    bundle_id = published(tmp_path / "deep" / "models")

    opened = open_folder(tmp_path / "deep" / "models")

    assert opened.bundle_id == bundle_id == current_id(tmp_path / "deep" / "models")
    assert (tmp_path / "deep/models/CURRENT").read_text() == f"{bundle_id}\n"
    assert bundle_id.startswith("2026-11-22T02-10Z-")
    known = opened.manifest
    assert known == replace(
        manifest(), bundle_id=bundle_id, content_hash=known.content_hash, files=known.files
    )
    for mapped, name in ((False, "small"), (True, "large")):
        part = opened.read(name, Knowledge, mapped)
        np.testing.assert_array_equal(part.weights, knowledge().weights)
        assert list(part.ids) == ["ann", None, "Ёж"]


def test_the_manifest_seals_every_file_as_sha256sum_sees_it(tmp_path: Path) -> None:
    folder = tmp_path / published(tmp_path)

    document = orjson.loads((folder / "manifest.json").read_bytes())

    expected = {
        path.name: {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "bytes": path.stat().st_size}
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    assert document["files"] == expected
    assert len(expected) == 5
    assert document["format"] == 3
    assert document["content_hash"].startswith(document["bundle_id"][-6:])


def test_the_same_content_has_the_same_id_and_the_folder_is_reused(tmp_path: Path) -> None:
    first = published(tmp_path)
    inode = (tmp_path / first / "small.npz").stat().st_ino

    part = knowledge()
    slower = replace(manifest(), seconds={"train": 99.0}, quality={}, created_by={"numpy": "9"})
    again = publish(tmp_path, {"large": (part, True), "small": (part, False)}, slower)

    assert again == first
    assert (tmp_path / first / "small.npz").stat().st_ino == inode
    assert [entry.bundle_id for entry in list_bundles(tmp_path)] == [first]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 8},
        {"settings_hash": "0"},
        {"as_of": datetime(2026, 11, 22, 2, 10, 1, tzinfo=UTC)},
        {"format": 4},
    ],
)
def test_whatever_bears_on_the_content_changes_its_hash(change: dict[str, Any]) -> None:
    files = {"a.npz": FileSeal("ab", 2)}

    before, after = sealed(manifest(), files), sealed(replace(manifest(), **change), files)

    assert before.content_hash != after.content_hash
    assert before.content_hash != sealed(manifest(), {"b.npz": FileSeal("ab", 2)}).content_hash
    assert before.content_hash != sealed(manifest(), {"a.npz": FileSeal("cd", 2)}).content_hash


def test_as_of_is_one_moment_whatever_zone_it_is_told_in() -> None:
    there = manifest().as_of.astimezone(timezone(timedelta(hours=5)))

    assert sealed(replace(manifest(), as_of=there), {}).bundle_id == sealed(manifest(), {}).bundle_id
    with pytest.raises(ValueError, match="aware"):
        sealed(replace(manifest(), as_of=datetime(2026, 11, 22)), {})  # noqa: DTZ001 — that is the fault


def test_a_damaged_folder_of_the_same_content_is_replaced_by_tonights(tmp_path: Path) -> None:
    bundle_id = published(tmp_path)
    flip(tmp_path / bundle_id / "small.npz", 500)

    assert published(tmp_path) == bundle_id
    assert open_folder(tmp_path).bundle_id == bundle_id


def flip(path: Path, at: int, bit: int = 0) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)


def test_one_flipped_bit_in_any_file_is_refused_by_name(tmp_path: Path) -> None:
    bundle_id = published(tmp_path)
    generator = np.random.default_rng(3)
    files = sorted(path.name for path in (tmp_path / bundle_id).iterdir())
    assert len(files) == 6
    for name in files:
        path = tmp_path / bundle_id / name
        size = path.stat().st_size
        for at in {0, size - 1, *generator.integers(size, size=8).tolist()}:
            bit = int(generator.integers(8))
            flip(path, at, bit)
            with pytest.raises(BundleCorruptError, match=f"{bundle_id}/{name}"):
                open_folder(tmp_path)
            flip(path, at, bit)
    assert open_folder(tmp_path).bundle_id == bundle_id


@pytest.mark.parametrize("key", [None, "key"])
def test_every_single_bit_of_the_manifest_counts(key: str | None) -> None:
    files = {"a.npz": FileSeal("ab", 2)}
    raw = encode(sealed(manifest(), files), key)
    assert decode(raw, "m", key).files == files

    for at in range(len(raw)):
        for bit in range(8):
            changed = raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :]
            with pytest.raises(BundleCorruptError, match="m is damaged"):
                decode(changed, "m", None)


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"{}", b'{"checksum": 3}', b"\xff", b'"x"'])
def test_a_manifest_that_is_none_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleCorruptError, match=r"x/manifest\.json is damaged"):
        decode(raw, "x/manifest.json")


def test_files_missing_added_cut_short_or_empty_are_named(tmp_path: Path) -> None:
    bundle_id = published(tmp_path)
    folder = tmp_path / bundle_id
    path = folder / "large.weights.npy"
    whole = path.read_bytes()

    path.unlink()
    with pytest.raises(BundleCorruptError, match=f"{bundle_id}/large.weights.npy is missing"):
        open_folder(tmp_path)
    for length in (0, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(BundleCorruptError, match=f"large.weights.npy has {length} bytes"):
            open_folder(tmp_path)
    path.write_bytes(whole)
    (folder / "extra.npy").write_bytes(b"")
    with pytest.raises(BundleCorruptError, match=f"{bundle_id}/extra.npy does not belong there"):
        open_folder(tmp_path)
    (folder / "extra.npy").unlink()
    (folder / "manifest.json").unlink()
    with pytest.raises(BundleCorruptError, match=f"{bundle_id}/manifest.json cannot be read"):
        open_folder(tmp_path)


def test_a_part_read_unverified_from_a_damaged_file_gives_one_error_not_a_traceback(tmp_path: Path) -> None:
    folder = tmp_path / published(tmp_path)
    opened = open_folder(tmp_path, verify=False)
    generator = np.random.default_rng(5)
    refused = 0
    for name, mapped in (("small.npz", False), ("large.weights.npy", True), ("large.json", True)):
        for at in generator.integers(min(400, (folder / name).stat().st_size), size=60).tolist():
            flip(folder / name, at, 4)
            try:
                opened.read(name.split(".")[0], Knowledge, mapped)
            except (BundleCorruptError, BundleFormatError):
                refused += 1
            flip(folder / name, at, 4)
    assert refused > 60


def test_a_bundle_under_another_name_is_refused(tmp_path: Path) -> None:
    bundle_id = published(tmp_path)
    other = f"{bundle_id[:-6]}000000"
    (tmp_path / bundle_id).rename(tmp_path / other)

    with pytest.raises(BundleCorruptError, match=f"{other}/manifest.json belongs to bundle {bundle_id}"):
        open_folder(tmp_path, other)


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"../../etc\n", b"\xff\xfe\n", b"a\nb\n"])
def test_garbage_in_current_is_refused_and_the_next_night_mends_it(tmp_path: Path, content: bytes) -> None:
    bundle_id = published(tmp_path)
    (tmp_path / "CURRENT").write_bytes(content)

    with pytest.raises(BundleCorruptError, match="CURRENT is damaged"):
        open_folder(tmp_path)
    assert [entry.in_service for entry in list_bundles(tmp_path)] == [False]
    with pytest.raises(BundleCorruptError, match="CURRENT"):  # which one to keep is not known
        prune(tmp_path, 1)

    assert published(tmp_path) == bundle_id == current_id(tmp_path)


def test_every_bit_of_current_counts(tmp_path: Path) -> None:
    published(tmp_path)
    for at in range((tmp_path / "CURRENT").stat().st_size - 1):
        for bit in range(8):
            flip(tmp_path / "CURRENT", at, bit)
            with pytest.raises(BundleError, match="CURRENT"):
                open_folder(tmp_path)
            flip(tmp_path / "CURRENT", at, bit)


def test_current_naming_a_bundle_that_is_gone_lists_those_present(tmp_path: Path) -> None:
    first = published(tmp_path)
    (tmp_path / "CURRENT").write_text("2026-01-01T00-00Z-abcdef\n")

    with pytest.raises(NoBundleError, match=rf"2026-01-01T00-00Z-abcdef.*not there.*Present: {first}"):
        open_folder(tmp_path)


@pytest.mark.parametrize("there", [False, True])
def test_before_the_first_training_the_user_is_told_to_train(tmp_path: Path, there: bool) -> None:
    models_dir = tmp_path if there else tmp_path / "models"

    assert current_id(models_dir) is None
    assert list_bundles(models_dir) == []
    assert prune(models_dir, 1) == []
    with pytest.raises(NoBundleError, match="nextoffer train"):
        open_folder(models_dir)
    with pytest.raises(NoBundleError, match="nextoffer train"):
        rollback(models_dir, "2026-01-01T00-00Z-abcdef")


@pytest.mark.parametrize("name", ["../outside", "nonsense", "/etc", "", "a\0b"])
def test_a_name_that_is_no_id_never_becomes_a_path(tmp_path: Path, name: str) -> None:
    published(tmp_path)

    with pytest.raises(NoBundleError, match="not there"):
        open_folder(tmp_path, name)


def test_a_newer_format_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = knowledge()
    publish(tmp_path, {"small": (part, False)}, replace(manifest(), format=4))

    with pytest.raises(BundleFormatError, match=r"format 4.*reads 3.*nextoffer train"):
        open_folder(tmp_path)


def test_rollback_puts_an_older_bundle_in_service_once_it_was_verified(tmp_path: Path) -> None:
    old, new = published(tmp_path, night=21), published(tmp_path, night=22)
    assert [(entry.bundle_id, entry.in_service) for entry in list_bundles(tmp_path)] == [
        (new, True),
        (old, False),
    ]

    assert rollback(tmp_path, old) == current_id(tmp_path) == old

    flip(tmp_path / new / "large.weights.npy", 5000)
    with pytest.raises(BundleCorruptError, match=f"{new}/large.weights.npy"):
        rollback(tmp_path, new)
    assert current_id(tmp_path) == old


def test_prune_keeps_the_newest_and_always_the_one_in_service(tmp_path: Path) -> None:
    ids = [published(tmp_path, night=night) for night in (18, 19, 20, 21, 22)]
    rollback(tmp_path, ids[1])
    (tmp_path / ".staging-1-0" / "bundle").mkdir(parents=True)

    assert prune(tmp_path, 2) == [ids[2], ids[0]]

    assert [entry.bundle_id for entry in list_bundles(tmp_path)] == [ids[4], ids[3], ids[1]]
    assert open_folder(tmp_path).bundle_id == ids[1]
    assert not list(tmp_path.glob(".staging-*"))
    with pytest.raises(BundleError, match="at least 1"):
        prune(tmp_path, 0)


def test_what_is_open_stays_readable_when_its_bundle_is_pruned(tmp_path: Path) -> None:
    old = published(tmp_path, night=21)
    part = open_folder(tmp_path, old).read("large", Knowledge, True)
    published(tmp_path, night=22)

    assert prune(tmp_path, 1) == [old]

    np.testing.assert_array_equal(part.weights, knowledge().weights)


def test_a_damaged_manifest_is_listed_with_its_fault(tmp_path: Path) -> None:
    bundle_id = published(tmp_path)
    flip(tmp_path / bundle_id / "manifest.json", 30)

    (entry,) = list_bundles(tmp_path)

    assert entry.manifest is None
    assert entry.fault is not None and f"{bundle_id}/manifest.json is damaged" in entry.fault


def test_a_staging_folder_that_is_not_published_leaves_nothing(tmp_path: Path) -> None:
    in_service = published(tmp_path)
    with stage(tmp_path) as staging:
        staging.write("small", knowledge(1))
        np.testing.assert_array_equal(staging.read("small", Knowledge).weights, knowledge(1).weights)
        with stage(tmp_path) as other:  # a second one never takes the first for a dead one
            assert staging.folder.is_dir() and other.folder.is_dir()

    assert current_id(tmp_path) == in_service
    assert not list(tmp_path.glob(".staging-*"))


def test_a_part_is_never_written_twice(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="File exists"), stage(tmp_path) as staging:
        staging.write("small", knowledge())
        staging.write("small", knowledge())


def test_other_content_under_the_same_six_hex_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle_id = published(tmp_path)
    real = store.sealed
    monkeypatch.setattr(store, "sealed", lambda *given: replace(real(*given), bundle_id=bundle_id))

    with pytest.raises(BundleError, match="other content"):
        published(tmp_path, seed=1)
    monkeypatch.undo()
    assert open_folder(tmp_path).bundle_id == bundle_id


def test_a_signature_is_demanded_once_a_key_is_set(tmp_path: Path) -> None:
    plain = published(tmp_path, night=20)
    signed = published(tmp_path, night=21, key="key")

    assert open_folder(tmp_path, signed, signing_key="key").bundle_id == signed
    assert open_folder(tmp_path, signed).bundle_id == signed
    with pytest.raises(BundleCorruptError, match=r"manifest.json is not signed"):
        open_folder(tmp_path, plain, signing_key="key")
    with pytest.raises(BundleCorruptError, match="another key's signature"):
        open_folder(tmp_path, signed, signing_key="other")
    assert published(tmp_path, night=20, key="key") == plain  # the same content, now signed
    assert open_folder(tmp_path, plain, signing_key="key").bundle_id == plain


def test_whoever_mends_the_checksum_still_lacks_the_signature(tmp_path: Path) -> None:
    bundle_id = published(tmp_path, key="key")
    opened = open_folder(tmp_path)
    forged = encode(replace(opened.manifest, quality={"recall@10": 0.99}))
    signature = orjson.loads((tmp_path / bundle_id / "manifest.json").read_bytes())["signature"]
    document = orjson.loads(forged) | {"signature": signature, "checksum": ""}
    option = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2
    document["checksum"] = hashlib.sha256(orjson.dumps(document, option=option)).hexdigest()
    (tmp_path / bundle_id / "manifest.json").write_bytes(orjson.dumps(document, option=option))

    assert open_folder(tmp_path).manifest.quality == {"recall@10": 0.99}
    with pytest.raises(BundleCorruptError, match="was changed"):
        open_folder(tmp_path, signing_key="key")
