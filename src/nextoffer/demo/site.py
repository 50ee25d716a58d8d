"""The API of the demo's shop, really served: uvicorn on a free loopback port, spoken to over HTTP."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.client import HTTPConnection
from secrets import token_urlsafe
from time import monotonic, sleep
from typing import Any

import structlog
import uvicorn

from nextoffer.api.app import create_app
from nextoffer.api.measuring import measurer
from nextoffer.api.opened import shop_opener
from nextoffer.api.server import listening
from nextoffer.api.service import BundleService
from nextoffer.bundle.opening import CURRENT
from nextoffer.config import Secrets, Settings
from nextoffer.errors import ConfigError
from nextoffer.pipeline.selftest import verify_self_test
from nextoffer.tracking.ledger import open_ledger

SECONDS_TO_START = 20.0


class Site:
    """A shop's API at an address, with the server's key."""

    def __init__(self, port: int, key: str) -> None:
        self.port, self._key = port, key

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to one request."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS_TO_START)
        headers = {"X-API-Key": self._key, "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@contextmanager
def served(settings: Settings, now: datetime) -> Iterator[Site]:
    """Serve the shop's bundle for as long as the block lasts; it is `now` there all the time."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    key = token_urlsafe(24)
    service = BundleService(shop_opener(settings, self_test=verify_self_test), settings.models_dir / CURRENT)
    ledger = open_ledger(settings.store)
    secrets, measure = Secrets(server_keys=(key,)), measurer(settings, ledger)
    app = create_app(service, ledger, settings, secrets, lambda: now, measure=measure)
    with listening("127.0.0.1", 0) as listener:
        server = uvicorn.Server(uvicorn.Config(app, access_log=False, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            _wait(server)
            yield Site(listener.getsockname()[1], key)
        finally:
            server.should_exit = True
            thread.join(SECONDS_TO_START)


def _wait(server: uvicorn.Server) -> None:
    deadline = monotonic() + SECONDS_TO_START
    while not server.started:
        if monotonic() > deadline:
            raise ConfigError("the demo", ["the API did not start on the loopback address"])
        sleep(0.01)
