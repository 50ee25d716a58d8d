"""A new bundle is picked up without restart and without a failed request; a bad one never is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nextoffer.api.service import BundleService
from nextoffer.errors import BundleCorruptError, NoBundleError


def point_at(pointer: Path, bundle_id: str) -> None:
    temporary = pointer.with_name("CURRENT.tmp")
    temporary.write_text(bundle_id + "\n")
    os.replace(temporary, pointer)


@pytest.fixture
def pointer(tmp_path: Path) -> Path:
    path = tmp_path / "CURRENT"
    point_at(path, "b0")
    return path


@pytest.fixture
def opener(world: Any, pointer: Path) -> Callable[[], Any]:
    """Opens a fake bundle named as the pointer says; names that begin with `bad` cannot be opened."""
    kind = type(world.bundle)

    def open_it() -> Any:
        name = pointer.read_text().strip()
        if name.startswith("bad"):
            raise BundleCorruptError(f"{name}/arrays.npz is not as it was published")
        if name == "defect":
            raise ZeroDivisionError
        return kind(bundle_id=name)

    return open_it


def serving(service: BundleService) -> str:
    return str(service.current().status().bundle_id)


def test_a_new_bundle_is_put_in_service(opener, pointer):
    service = BundleService(opener, pointer)
    assert serving(service) == "b0"
    assert service.refresh() is False

    point_at(pointer, "b1")

    assert service.refresh() is True
    assert serving(service) == "b1"
    service.close()


@pytest.mark.parametrize("name", ["bad-checksum", "defect"])
def test_a_bundle_that_cannot_be_opened_is_reported_and_the_old_one_serves(opener, pointer, name):
    service = BundleService(opener, pointer)

    point_at(pointer, name)
    assert service.refresh() is False
    assert serving(service) == "b0"
    assert "could not be put in service" in service.warnings()[0]
    assert name not in service.warnings()[0]

    point_at(pointer, "b2")
    assert service.refresh() is True
    assert (serving(service), service.warnings()) == ("b2", ())
    service.close()


def test_a_pointer_that_vanishes_changes_nothing(opener, pointer):
    service = BundleService(opener, pointer)
    pointer.unlink()

    assert service.refresh() is False
    assert serving(service) == "b0"
    service.close()


def test_without_any_bundle_there_is_no_service(pointer):
    def none() -> Any:
        raise NoBundleError("no bundle is in service")

    with pytest.raises(NoBundleError):
        BundleService(none, pointer)


def test_requests_never_fail_or_mix_bundles_while_bundles_are_swapped(make_world, opener, pointer):
    service = BundleService(opener, pointer, poll_seconds=0.005)
    world = make_world(service=service, holdout_share=0.5)
    failures: list[str] = []
    seen: set[str] = set()
    done = threading.Event()

    def ask(number: int) -> None:
        i = 0
        while not done.is_set():
            i += 1
            answer = world.get(f"/v1/customers/c{number}-{i % 7}/offers")
            if answer.status_code != 200:
                failures.append(answer.text)
            seen.add(answer.json().get("bundle_id", "none"))

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for n in range(1, 16):
        point_at(pointer, f"bad-{n}" if n % 5 == 0 else f"b{n}")
        time.sleep(0.04)
    point_at(pointer, "b99")
    deadline = time.monotonic() + 60
    while "b99" not in seen and time.monotonic() < deadline:
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()

    assert failures == []
    assert "b99" in seen
    assert not [name for name in seen if name.startswith("bad")]


def test_ready_warns_of_a_refused_bundle_without_naming_insides(make_world, opener, pointer):
    service = BundleService(opener, pointer, poll_seconds=60)
    world = make_world(service=service)
    point_at(pointer, "bad-one")
    service.refresh()

    ready = world.get("/health/ready", None)

    assert ready.status_code == 200
    assert ready.json()["bundle_id"] == "b0"
    assert ready.json()["warnings"] == list(service.warnings())
    assert "arrays.npz" not in ready.text
