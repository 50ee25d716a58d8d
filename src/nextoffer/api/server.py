"""Serving: one process or several on one socket, never without keys on an address others can reach."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from functools import partial

import structlog
import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from nextoffer.api.security import check_keys
from nextoffer.config import Secrets
from nextoffer.errors import ConfigError

BACKLOG = 2048


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
