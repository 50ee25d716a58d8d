"""Every test of the ledger runs on SQLite and on a real PostgreSQL; without one it is skipped, and says so."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from benchmarks import postgres
from nextoffer.tracking.ledger import Ledger, open_ledger

_NUMBER = count()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[postgres.Server]:
    """One server for the session; its database `ready` holds an empty ledger."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as server:
        open_ledger(server.create("ready")).close()
        yield server


@pytest.fixture
def new_postgresql(postgresql: postgres.Server) -> Iterator[str]:
    """The URL of a database without any table."""
    name = f"new{next(_NUMBER)}"
    yield postgresql.create(name)
    postgresql.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'var' / 'ledger.sqlite'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty ledger of its own on each database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    server: postgres.Server = request.getfixturevalue("postgresql")
    name = f"test{next(_NUMBER)}"
    yield server.create(name, "ready")
    server.drop(name)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    ledger = open_ledger(url)
    yield ledger
    ledger.close()


@pytest.fixture
def sqlite_ledger(sqlite_url: str) -> Iterator[Ledger]:
    ledger = open_ledger(sqlite_url)
    yield ledger
    ledger.close()
