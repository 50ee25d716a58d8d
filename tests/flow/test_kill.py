"""The nightly job killed at any moment, run twice at once, run twice in a row: nothing is lost, nothing differs."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from nextoffer.bundle.bundle import open_bundle
from nextoffer.bundle.lock import nightly_lock
from nextoffer.bundle.opening import CURRENT
from nextoffer.bundle.store import list_bundles
from nextoffer.config import parse_settings
from nextoffer.pipeline.selftest import verify_self_test
from nextoffer.pipeline.workspace import workspace
from nextoffer.simulation.shop import Shop

Start = Callable[..., "subprocess.Popen[str]"]
SIZE = {"customers": 80, "products": 40, "weeks": 20}
SHORT = SIZE | {"weeks": 7}  # too short to teach a ranker: a job of moments


@dataclass(frozen=True)
class Place:
    """A tiny shop in a folder of its own, and the day after its history."""

    folder: Path
    end: date

    @property
    def models(self) -> Path:
        return self.folder / "models"


@pytest.fixture
def place(tmp_path: Path, make_shop: Callable[..., Shop]) -> Place:
    return Place(tmp_path, make_shop(tmp_path, **SHORT).end.date())


def assert_serves(models: Path) -> str | None:
    """What CURRENT names opens, verifies and reproduces its slates; every finished folder does too."""
    if not (models / CURRENT).exists():
        return None
    for entry in list_bundles(models):
        assert entry.fault is None
    return open_bundle(models, self_test=verify_self_test).bundle_id


def train(start: Start, place: Place, as_of: date) -> str:
    done = start(place.folder, "train", "--as-of", str(as_of))
    out, err = done.communicate(timeout=120)
    assert done.returncode == 0, err
    assert "Traceback" not in err
    return out.strip()


def kill_at(start: Start, place: Place, as_of: date, seconds: float, after_publish: bool) -> int:
    """Start a night's job and SIGKILL it so long after its start, or after its stage `publish` began."""
    job = start(place.folder, "train", "--as-of", str(as_of))
    assert job.stderr is not None
    if after_publish:
        for line in job.stderr:
            if line.strip() == "publish":
                break
    try:
        return job.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        job.send_signal(signal.SIGKILL)
        return job.wait(timeout=30)
    finally:
        job.communicate()


def killed_nights(start: Start, place: Place, kills: int, seed: int) -> None:
    """Half of the kills anywhere in the job, half while it publishes; every night learns one day more."""
    generator = random.Random(seed)
    first = place.end - timedelta(days=2 * kills)
    # killed before anything was ever published: there is nothing to serve, and nothing in the way
    assert kill_at(start, place, first, 0.5, after_publish=False) == -signal.SIGKILL
    assert assert_serves(place.models) is None
    begun = time.monotonic()
    serving: str | None = train(start, place, first)
    lasts = time.monotonic() - begun
    n_killed = 0
    for night in range(1, kills + 1):
        publishing = night % 2 == 0
        seconds = generator.uniform(0.0, 0.12 if publishing else 0.9 * lasts)
        code = kill_at(start, place, first + timedelta(days=night), seconds, publishing)
        n_killed += code == -signal.SIGKILL
        found = assert_serves(place.models)
        assert found is not None and serving is not None
        assert found >= serving  # last night's, or tonight's if it was already in service
        serving = found
    assert n_killed >= kills // 2
    last = train(start, place, place.end)
    assert assert_serves(place.models) == last
    assert not list(place.models.glob(".staging-*"))  # what the killed jobs left is swept away
    assert not list((place.models / ".work").glob("job-*"))


def test_a_killed_job_leaves_a_serving_folder_and_the_next_one_works(place: Place, start: Start) -> None:
    killed_nights(start, place, kills=3, seed=5)


@pytest.mark.slow
def test_a_job_killed_at_twenty_random_moments_always_leaves_a_serving_folder(
    place: Place, start: Start
) -> None:
    killed_nights(start, place, kills=20, seed=11)


def test_the_same_input_settings_and_seed_give_the_same_bundle_whatever_the_threads(
    tmp_path: Path, make_shop: Callable[..., Shop], start: Start
) -> None:
    ids = {}
    for threads in (1, 2):
        folder = tmp_path / f"threads-{threads}"
        folder.mkdir()
        end = make_shop(folder, f"[engine]\nthreads = {threads}", **SIZE).end.date()
        job = start(
            folder,
            "train",
            "--as-of",
            str(end),
            OMP_NUM_THREADS=str(threads),
            OPENBLAS_NUM_THREADS=str(threads),
        )
        ids[threads] = job.communicate(timeout=120)[0].strip()
        manifest = open_bundle(folder / "models").manifest
        assert manifest is not None

    assert ids[1] == ids[2] != ""


def test_a_dry_run_publishes_nothing(place: Place, start: Start) -> None:
    job = start(place.folder, "train", "--as-of", str(place.end), "--dry-run")
    out, err = job.communicate(timeout=120)

    assert (job.returncode, out) == (0, "")
    assert "nothing was published" in err
    assert not (place.models / CURRENT).exists()
    assert list_bundles(place.models) == []


def test_of_two_nightly_jobs_at_once_the_second_stops_with_one_clear_line(place: Place, start: Start) -> None:
    place.models.mkdir()
    with nightly_lock(place.models):
        job = start(place.folder, "train", "--as-of", str(place.end))
        out, err = job.communicate(timeout=60)

    assert (job.returncode, out) == (2, "")
    (line,) = [line for line in err.splitlines() if line.startswith("nextoffer: ")]
    assert "another nightly job" in line.lower()
    assert "Traceback" not in err


def test_what_a_killed_job_left_is_swept_but_never_a_living_job_s(tmp_path: Path) -> None:
    settings = parse_settings(
        {"currency": "EUR", "history": {"orders": {"path": "-"}}}, "nextoffer.toml", tmp_path
    )
    left = settings.work_dir / "job-left"
    left.mkdir(parents=True)
    (left / "orders.parquet").write_bytes(b"somebody's orders")
    with workspace(settings) as living:
        (living / "orders.parquet").write_bytes(b"in use")
        with workspace(settings) as other:
            assert sorted(settings.work_dir.glob("job-*")) == sorted([living, other])
        assert (living / "orders.parquet").read_bytes() == b"in use"
    assert not list(settings.work_dir.glob("job-*"))
