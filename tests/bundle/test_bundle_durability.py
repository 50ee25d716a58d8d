"""Killed, full or powered off at any moment: the models folder serves last night's bundle or tonight's."""

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from nextoffer.bundle import durable, store
from nextoffer.bundle.store import Manifest, open_folder, prune, publish, stage
from nextoffer.errors import BundleError

# Imports once, then forks one job for each line it is told: the job publishes a small and a mapped part
# for each night, and kills itself before its k-th step towards the disk if k is not 0.
JOBS = textwrap.dedent(
    """
    import os, signal, sys
    from dataclasses import dataclass
    from datetime import UTC, datetime, timedelta
    from pathlib import Path

    import numpy as np

    from nextoffer.bundle.lock import nightly_lock
    from nextoffer.bundle.store import Manifest, publish

    models_dir = Path(sys.argv[1])
    steps = 0

    @dataclass(frozen=True, slots=True)
    class Part:
        values: np.ndarray

    def counted(call, last_step):
        def step(*args, **named):
            global steps
            steps += 1
            if steps == last_step:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **named)
        return step

    def job(first, nights, last_step):
        print(os.getpid(), flush=True)
        if last_step:
            for name in ("fsync", "rename", "replace"):
                setattr(os, name, counted(getattr(os, name), last_step))
        for night in range(first, first + nights):
            manifest = Manifest(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=night), 0, "settings")
            part = Part(np.full(50_000, float(night)))
            with nightly_lock(models_dir):
                bundle_id = publish(models_dir, {"small": (part, False), "large": (part, True)}, manifest)
            print(bundle_id, flush=True)

    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            job(*map(int, line.split()))
            os._exit(0)
        print("exit", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    """
)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    values: np.ndarray[Any, Any]


class Jobs:
    """Jobs on one models folder, one after the other."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        assert server.stdin is not None and server.stdout is not None
        self.told, self.said = server.stdin, server.stdout

    def start(self, first: int, nights: int, last_step: int = 0) -> int:
        """Process id of a job at work."""
        print(first, nights, last_step, file=self.told, flush=True)
        return int(self.said.readline())

    def line(self) -> str:
        """The next id that the job prints."""
        return self.said.readline().strip()

    def end(self) -> tuple[list[str], int]:
        """What it still printed, and its exit code."""
        printed = []
        while not (line := self.line()).startswith("exit"):
            printed.append(line)
        return printed, int(line.split()[1])


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def jobs(models_dir: Path) -> Iterator[Jobs]:
    command = [sys.executable, "-W", "ignore", "-c", JOBS, str(models_dir)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield Jobs(server)


def assert_serves(models_dir: Path, known: set[str]) -> str:
    """What is in service is whole, its parts agree, and nothing but bundles and staging is there."""
    opened = open_folder(models_dir)
    small, large = opened.read("small", Part), opened.read("large", Part, True)
    assert (small.values == small.values[0]).all()
    np.testing.assert_array_equal(small.values, large.values)
    for path in models_dir.iterdir():
        if path.name not in {"CURRENT", "CURRENT.tmp", ".lock", ".guard"} | known:
            if path.name.startswith(".staging-"):
                continue
            assert open_folder(models_dir, path.name).bundle_id == path.name
    return opened.bundle_id


def test_a_job_killed_at_twenty_random_moments_always_leaves_a_bundle_that_verifies(
    models_dir: Path, jobs: Jobs
) -> None:
    generator = random.Random(11)
    verified = set[str]()
    for run in range(20):
        pid = jobs.start(1000 * run, 1000)
        printed = [jobs.line()]  # at work: the first one is published
        time.sleep(generator.uniform(0.0, 0.1))
        os.kill(pid, signal.SIGKILL)
        rest, code = jobs.end()
        assert code == -signal.SIGKILL

        # what was printed is in service, or the one after it, which could not be printed any more
        assert assert_serves(models_dir, verified) >= [*printed, *rest][-1]

        verified |= {path.name for path in models_dir.iterdir() if not path.name.startswith(".staging-")}
        assert len(list(models_dir.glob(".staging-*"))) <= 1

    with stage(models_dir) as staging:  # the next job removes what the killed ones left
        assert list(models_dir.glob(".staging-*")) == [staging.root]


def test_a_job_killed_before_each_single_step_towards_the_disk_leaves_a_bundle_that_verifies(
    models_dir: Path, jobs: Jobs
) -> None:
    jobs.start(0, 1)
    (last_night,), _ = jobs.end()
    # 4 files, their folder, rename, models/, CURRENT.tmp, replace, models/
    for step in range(1, 11):
        jobs.start(step, 1, last_step=step)
        assert jobs.end() == ([], -signal.SIGKILL)
        serving = assert_serves(models_dir, set())
        assert (serving == last_night) == (step < 10), f"killed before step {step}"
    jobs.start(12, 1, last_step=11)  # there is no eleventh step
    assert jobs.end() == ([assert_serves(models_dir, set())], 0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every fsync and change of names, in order, with the path as it was called then."""
    seen: list[tuple[str, str]] = []

    def watch(name: str, path_of: Callable[..., str]) -> None:
        real = getattr(os, name)

        def call(*args: Any, **named: Any) -> Any:
            seen.append((name, path_of(*args)))
            return real(*args, **named)

        monkeypatch.setattr(os, name, call)

    watch("fsync", lambda descriptor: os.readlink(f"/proc/self/fd/{descriptor}"))
    watch("rename", lambda source, target: f"{source} -> {target}")
    watch("replace", lambda source, target: f"{source} -> {target}")
    return seen


def tonight(night: int = 22) -> Manifest:
    return Manifest(datetime(2026, 11, night, tzinfo=UTC), 0, "settings")


PARTS: dict[str, tuple[Any, bool]] = {
    "small": (Part(np.arange(10)), False),
    "large": (Part(np.arange(9000)), True),
}


def test_publishing_follows_the_durable_order(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    bundle_id = publish(tmp_path, PARTS, tonight())

    steps = [(name, path.replace(str(tmp_path), "models")) for name, path in calls]
    staging = steps[4][1]
    assert staging.startswith("models/.staging-")
    files = {f"{staging}/{name}" for name in ("small.npz", "large.values.npy", "large.json", "manifest.json")}
    assert {step for step in steps[:4]} == {("fsync", path) for path in files}
    assert steps[4:] == [
        ("fsync", staging),
        ("rename", f"{staging} -> models/{bundle_id}"),
        ("fsync", "models"),
        ("fsync", "models/CURRENT.tmp"),
        ("replace", "models/CURRENT.tmp -> models/CURRENT"),
        ("fsync", "models"),
    ]


def test_a_reused_folder_is_made_durable_all_the_same(tmp_path: Path, calls: list[tuple[str, str]]) -> None:
    bundle_id = publish(tmp_path, PARTS, tonight())
    calls.clear()

    publish(tmp_path, PARTS, tonight())

    steps = [(name, path.replace(str(tmp_path), "models")) for name, path in calls]
    folder = f"models/{bundle_id}"
    synced = [path for name, path in steps if name == "fsync" and path.startswith(folder)]
    assert len(synced) == 5 and synced[-1] == folder
    assert steps[-4:] == [
        ("fsync", "models"),
        ("fsync", "models/CURRENT.tmp"),
        ("replace", "models/CURRENT.tmp -> models/CURRENT"),
        ("fsync", "models"),
    ]
    assert not any(name == "rename" for name, _ in steps)


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_file(path: Path) -> BinaryIO:
    """A file on a device that is always full: the kernel's own error, at the write."""
    return open("/dev/full", "wb", buffering=0)


@pytest.mark.parametrize(
    ("module", "name", "refuses"),
    [(durable, "create", full_file), (durable, "sync", full), (durable, "replace_line", full)],
)
def test_a_full_disk_leaves_last_night_in_service_and_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, refuses: Any
) -> None:
    last_night = publish(tmp_path, PARTS, tonight(21))
    monkeypatch.setattr(module, name, refuses)

    with pytest.raises(BundleError) as caught:
        publish(tmp_path, PARTS, tonight(22))

    monkeypatch.undo()
    message = str(caught.value)
    for said in ("disk is full", str(tmp_path), "MB free", f"{last_night} stays in service", "prune"):
        assert said in message
    assert not list(tmp_path.glob(".staging-*"))
    assert open_folder(tmp_path).bundle_id == last_night


@pytest.mark.parametrize("mapped", [False, True])
def test_the_error_names_the_part_that_did_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mapped: bool
) -> None:
    monkeypatch.setattr(durable, "create", full_file)

    with pytest.raises(BundleError, match=r"disk is full: large cannot be written.*no bundle was in service"):
        publish(tmp_path, {"large": (Part(np.arange(100_000)), mapped)}, tonight())


def test_a_disk_filled_by_the_job_itself_gives_the_same_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="disk is full"), stage(tmp_path):
        full()
    assert not list(tmp_path.glob(".staging-*"))


def test_other_errors_of_the_job_pass_through_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), stage(tmp_path) as staging:
        (staging.folder / "nowhere" / "file").read_bytes()
    assert not list(tmp_path.glob(".staging-*"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize("mapped", [False, True])
def test_on_a_disk_that_is_really_full_the_old_bundle_serves_and_pruning_helps(
    small_disk: Path, mapped: bool
) -> None:
    models_dir = small_disk / "models"
    parts: dict[str, tuple[Any, bool]] = {"large": (Part(np.zeros(50_000)), mapped)}
    first, second = (publish(models_dir, parts, tonight(night)) for night in (20, 21))

    with pytest.raises(BundleError, match=rf"disk is full.*{second} stays in service"):
        publish(models_dir, parts, tonight(22))

    assert open_folder(models_dir).bundle_id == second
    assert not list(models_dir.glob(".staging-*"))
    assert prune(models_dir, 1) == [first]
    assert publish(models_dir, parts, tonight(22)) == store.current_id(models_dir)


def test_a_models_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file, not a folder")

    with pytest.raises(BundleError, match="models"):
        publish(tmp_path / "models", PARTS, tonight())
