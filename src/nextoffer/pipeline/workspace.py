"""What the steps of a job share: a scratch folder that is gone afterwards, stages that are timed, dates."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from pathlib import Path
from tempfile import mkdtemp
from time import perf_counter

from nextoffer.bundle.lock import is_held, locked
from nextoffer.config import Settings
from nextoffer.errors import BundleError

Progress = Callable[[str], None]
_FULL = (errno.ENOSPC, errno.EDQUOT)


def quiet(_: str) -> None:
    """No progress."""


@dataclass(slots=True)
class Stopwatch:
    """Seconds of each stage, told to whoever waits as they begin."""

    progress: Progress = quiet
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time one stage; the same name again adds up."""
        self.progress(name)
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + perf_counter() - start, 3)


@contextmanager
def workspace(settings: Settings) -> Iterator[Path]:
    """A folder for tables and spilled data beside the bundles; removed at the end, whatever happens.

    A killed process cannot remove its own, so whoever comes next does: the living hold the lock in theirs.

    Raises
    ------
    BundleError : the disk is full, or the folder cannot be made
    """
    with ExitStack() as held, _room(settings.work_dir):
        with locked(settings.work_dir / ".guard"):
            for left in settings.work_dir.glob("job-*"):
                if not is_held(left / ".lock"):
                    shutil.rmtree(left, ignore_errors=True)
            folder = Path(mkdtemp(prefix="job-", dir=settings.work_dir))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            held.enter_context(locked(folder / ".lock"))
        yield folder


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say in one message that the disk is full, whoever noticed it."""
    import duckdb

    try:
        yield
    except (OSError, duckdb.Error) as error:
        if getattr(error, "errno", None) not in _FULL and os.strerror(errno.ENOSPC) not in str(error):
            raise
        free = shutil.disk_usage(folder.parent).free / 1e6
        raise BundleError(
            f"the disk is full: {folder} has {free:.1f} MB free, too little to work in; what served before still "
            "serves. Make room, e.g. with: nextoffer bundles prune --keep 1, or set models_dir in nextoffer.toml"
        ) from None


def as_of_moment(settings: Settings, day: date | datetime | None, now: datetime) -> datetime:
    """The first moment that is not known: a date is midnight in the shop's zone, the default the last midnight."""
    if isinstance(day, datetime):
        return day if day.tzinfo is not None else day.replace(tzinfo=settings.zone)
    day = day or now.astimezone(settings.zone).date()
    return datetime.combine(day, time(), tzinfo=settings.zone)


def stale_warning(settings: Settings, last_order_at: datetime, as_of: datetime) -> str | None:
    """What to say when the newest order is more than a week before as_of."""
    if as_of - last_order_at <= timedelta(days=7):
        return None
    right = (last_order_at.astimezone(settings.zone) + timedelta(days=1)).date()
    return (
        f"the newest order is of {last_order_at.astimezone(settings.zone):%Y-%m-%d}, "
        f"{(as_of - last_order_at).days} days before {as_of:%Y-%m-%d}: to learn from all of it as if it were "
        f"the day after, run: nextoffer train --as-of {right}"
    )


def settings_hash(settings: Settings) -> str:
    """Hash of the settings that change what is learned; not of where files lie or what a slate looks like."""
    learned = {
        "currency",
        "timezone",
        "seed",
        "horizon_days",
        "max_reject_share",
        "exclude_products",
        "margin",
    }
    return hashlib.sha256(settings.model_dump_json(include=learned).encode()).hexdigest()
