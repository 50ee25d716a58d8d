"""Serving: one process or several on one socket, never without keys on an address others can reach."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from nextoffer.api.app import create_app, utc_now
from nextoffer.api.measuring import measurer
from nextoffer.api.opened import shop_opener
from nextoffer.api.security import check_keys
from nextoffer.api.service import BundleService
from nextoffer.bundle.bundle import Bundle
from nextoffer.bundle.opening import CURRENT
from nextoffer.config import Secrets, Settings
from nextoffer.errors import ConfigError, LedgerError
from nextoffer.tracking.assigning import refuse_changed_terms
from nextoffer.tracking.ledger import open_ledger

BACKLOG: Final = 2048
CHECKPOINT_SECONDS: Final = 30.0

log = structlog.get_logger("nextoffer.api")


def serve(
    settings: Settings,
    secrets: Secrets,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    insecure: bool = False,
    self_test: Callable[[Bundle], None] | None = None,
) -> None:
    """What `nextoffer serve` does: open the bundle and the ledger, and answer until interrupted.

    Parameters
    ----------
    self_test : raises if an opened bundle does not give the slates it was published with; a module's function

    Raises
    ------
    ConfigError : no keys, or `insecure` beyond loopback, or the address cannot be bound; or an experiment is
        configured otherwise than it was begun.
    NoBundleError, BundleCorruptError : there is nothing to serve.
    LedgerError : the ledger cannot be opened.
    """
    check_keys(secrets, host, insecure)
    make_app = partial(shop_app, settings, secrets, insecure, workers, self_test)
    if workers == 1:
        run_server(make_app, secrets, host, port, insecure=insecure)
        return
    # Say here what is wrong, rather than once in every worker; then keep the ledger's log short for them all.
    BundleService(
        shop_opener(settings, secrets.signing_key, self_test), settings.models_dir / CURRENT
    ).close()
    ledger = open_ledger(settings.store, checkpoints=False)
    refuse_changed_terms(ledger.engine, settings)
    with _every(CHECKPOINT_SECONDS, ledger.checkpoint):
        run_server(make_app, secrets, host, port, workers, insecure)
    ledger.close()


def shop_app(
    settings: Settings,
    secrets: Secrets,
    insecure: bool = False,
    n_workers: int = 1,
    self_test: Callable[[Bundle], None] | None = None,
) -> FastAPI:
    """The application of one shop in one process. Of several processes none checkpoints the ledger's log."""
    opener = shop_opener(settings, secrets.signing_key, self_test)
    service = BundleService(opener, settings.models_dir / CURRENT)
    ledger = open_ledger(settings.store, checkpoints=n_workers == 1)
    refuse_changed_terms(ledger.engine, settings)
    measure = measurer(settings, ledger)
    return create_app(service, ledger, settings, secrets, utc_now, insecure, n_workers, measure)


def run_server(
    make_app: Callable[[], FastAPI],
    secrets: Secrets,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int = 1,
    insecure: bool = False,
) -> None:
    """Serve until interrupted; every worker makes its own application.

    Parameters
    ----------
    make_app : with several workers it is sent to fresh processes: a module's function, or a
        `functools.partial` of one whose arguments can be pickled

    Raises
    ------
    ConfigError : no keys, or `insecure` beyond loopback, or the address cannot be bound.
    """
    check_keys(secrets, host, insecure)
    with listening(host, port) as listener:
        if workers == 1:
            uvicorn.Server(_config(_logging_app(make_app))).run(sockets=[listener])
        else:
            Multiprocess(_config(partial(_logging_app, make_app), workers), sockets=[listener]).run()


def _logging_app(make_app: Callable[[], FastAPI]) -> FastAPI:
    """The application of this process, whose log is one line per event on stderr."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper("iso", utc=True),
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return make_app()


def _config(app: FastAPI | Callable[[], FastAPI], workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=workers > 1,
        workers=workers,
        access_log=False,  # paths name customers
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=20,
    )


@contextmanager
def _every(seconds: float, upkeep: Callable[[], None]) -> Iterator[None]:
    """Run `upkeep` now and then beside the block."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(seconds):
            try:
                upkeep()
            except LedgerError as error:
                log.warning("ledger-checkpoint", error=str(error))

    thread = threading.Thread(target=run, name="nextoffer-upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens on the address; port 0 takes a free one.

    Raises
    ------
    ConfigError : the address is taken, or not this machine's.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG
        )
    except OSError as error:
        fault = f"{host}:{port} cannot be listened on: {error.strerror or error}; choose another --port"
        raise ConfigError("the command line", [fault]) from None
