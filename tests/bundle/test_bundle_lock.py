"""One nightly job at a time; a job that was killed never stands in the way."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nextoffer.bundle.lock import guard, is_held, nightly_lock
from nextoffer.errors import BundleError, BusyError

HOLD = """
import sys, time
from pathlib import Path
from nextoffer.bundle.lock import nightly_lock
with nightly_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_of_two_jobs_says_who_holds_the_folder_and_since_when(tmp_path: Path) -> None:
    with nightly_lock(tmp_path), pytest.raises(BusyError) as caught, nightly_lock(tmp_path):
        pass

    told = re.search(
        r"another nightly job \(pid (\d+), since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", str(caught.value)
    )
    assert told is not None and int(told[1]) == os.getpid()
    with nightly_lock(tmp_path):
        pass  # free again


def test_a_killed_job_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(BusyError, match=f"pid {holder.pid},"), nightly_lock(tmp_path):
        pass

    holder.send_signal(signal.SIGKILL)
    holder.communicate()

    with nightly_lock(tmp_path):
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()}\n"


def test_two_models_folders_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with nightly_lock(tmp_path / "a"), nightly_lock(tmp_path / "b"), guard(tmp_path / "a"):
        assert is_held(tmp_path / "a" / ".lock")
    assert not is_held(tmp_path / "a" / ".lock")
    assert not is_held(tmp_path / "c" / ".lock")


def test_an_error_inside_the_job_is_its_own_and_frees_the_folder(tmp_path: Path) -> None:
    with pytest.raises(BlockingIOError), nightly_lock(tmp_path):
        raise BlockingIOError
    assert not is_held(tmp_path / ".lock")


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(BundleError, match=r"file/\.lock cannot be opened.*models_dir"):
        with nightly_lock(tmp_path / "file"):
            pass
