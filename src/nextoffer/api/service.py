"""What the routes ask: an opened, immutable bundle, and the service that swaps it for tonight's.

A request reads the reference to the opened bundle once and keeps it to the end, so that a swap is never seen
half done. A bundle that cannot be opened is reported and never put in service.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import structlog

from nextoffer.domain.menu import Menu
from nextoffer.domain.offers import Slate, SlateRequest

POLL_SECONDS: Final = 1.0
RELATED_KINDS: Final = ("cross_sell", "up_sell", "similar")

log = structlog.get_logger("nextoffer.api")


@dataclass(frozen=True, slots=True)
class RelatedProduct:
    """A product that goes with, is a step up from, or is like another. The price is a decimal string."""

    product_id: str
    title: str
    url: str | None
    image_url: str | None
    list_price: str


@dataclass(frozen=True, slots=True)
class Status:
    """Which bundle it is, from when, and how much it knows."""

    bundle_id: str
    as_of: datetime
    customers: int
    products: int


class Opened(Protocol):
    """One opened bundle: pure answers, the same at every call."""

    def recommend(self, request: SlateRequest, now: datetime) -> Slate:
        """The ranked offers of one customer; `now` affects only how long they are valid."""

    def menu(self, now: datetime) -> Menu | None:
        """The incentives offers may carry today."""

    def related(self, product_id: str, kind: str, n: int, language: str) -> list[RelatedProduct] | None:
        """Products that go with one product (RELATED_KINDS); None if the product is not known."""

    def segments(self) -> list[dict[str, Any]]:
        """Sizes and RFM ranges of the segments."""

    def bundles(self) -> list[dict[str, Any]]:
        """The bundles of the models folder: id, as_of, whether it serves, quality."""

    def status(self) -> Status:
        """Which bundle this is."""


class Service(Protocol):
    """The bundle in service, which may be another one at the next request."""

    def current(self) -> Opened:
        """What serves now; a request asks once and keeps it to the end."""

    def warnings(self) -> tuple[str, ...]:
        """What an operator should look at."""

    def start(self) -> None:
        """Begin to watch for new bundles."""

    def close(self) -> None:
        """Stop watching."""


class BundleService:
    """Holds the bundle in service, and puts a new one in its place without a failed request.

    Parameters
    ----------
    opener : opens, verifies and self-tests the bundle that `pointer` names now
    pointer : models/CURRENT
    """

    def __init__(
        self, opener: Callable[[], Opened], pointer: Path, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._opener, self._pointer, self._poll_seconds = opener, pointer, poll_seconds
        self._seen = _state_of(pointer)  # read first: a swap while opening is then seen as a change
        self._opened = opener()
        self._warning: str | None = None
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        # Opening runs in a thread of its own, so that no fault of a bundle can end the watching.
        self._background = ThreadPoolExecutor(1, "nextoffer-open")

    def current(self) -> Opened:
        """What serves now."""
        return self._opened

    def warnings(self) -> tuple[str, ...]:
        """That a newer bundle was refused, if one was."""
        return (self._warning,) if self._warning else ()

    def start(self) -> None:
        """Begin to watch the pointer."""
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="nextoffer-watch", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """Stop watching; requests under way end with the bundle they began with."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        self._background.shutdown()

    def refresh(self) -> bool:
        """Put the bundle the pointer names in service if it changed; True if another one serves now."""
        state = _state_of(self._pointer)
        if state is None or state == self._seen:
            return False
        self._seen = state
        before = self._opened.status().bundle_id
        attempt = self._background.submit(self._opener)
        error = attempt.exception()
        if error is not None:
            self._warning = "A newer bundle could not be put in service; the one before serves. See the log."
            log.error("bundle-refused", serving=before, error=f"{type(error).__name__}: {error}")
            return False
        self._opened = attempt.result()  # one assignment: requests see the old one or the new one
        self._warning = None
        after = self._opened.status().bundle_id
        log.info("bundle-in-service", bundle_id=after, before=before)
        return after != before

    def _watch(self) -> None:
        while not self._stop.wait(self._poll_seconds):
            self.refresh()


def _state_of(pointer: Path) -> tuple[int, int, bytes] | None:
    """What identifies the pointer's present state; None while it cannot be read."""
    try:
        stat = pointer.stat()
        return stat.st_mtime_ns, stat.st_ino, pointer.read_bytes()
    except OSError:
        return None
