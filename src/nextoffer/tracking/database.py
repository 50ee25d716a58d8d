"""The ledger's database: opened safely, written in short exclusive transactions, its errors explained."""

from __future__ import annotations

import fcntl
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    create_engine,
    event,
    func,
    insert,
    inspect,
    make_url,
    select,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, DisconnectionError, NoSuchModuleError, SQLAlchemyError

from nextoffer.errors import LedgerError
from nextoffer.tracking import migrations
from nextoffer.tracking.schema import SCHEMA_VERSION, metadata, schema_version

BUSY_SECONDS = 30
IDLE_SECONDS = 1.0
_LOCK = 0x6E6578746F  # any number that is ours
# Before this version SQLite can lose a write when one process checkpoints while another resets the log.
_SAFE_WAL = (3, 51, 3)


def connect(url: str, *, checkpoints: bool) -> Engine:
    """An engine on a ledger whose folder and tables exist; creates them if they do not.

    Raises
    ------
    LedgerError : the URL is no database, it cannot be reached or written, or a newer version wrote it.
    """
    target = _parsed(url)
    with explained(target):
        engine = _engine(target, checkpoints)
        try:
            with _alone(target):
                _prepare(engine)
        except BaseException:
            engine.dispose()
            raise
    return engine


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One exclusive transaction: committed, and on disk, when the block ends."""
    with (
        explained(engine.url),
        engine.connect().execution_options(nextoffer_write=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the ledger; blocks nobody."""
    with explained(engine.url), engine.connect() as connection:
        yield connection


class Statements:
    """The driver's own cursor for texts of SQL that must be quick; parameters are written `:name` on every database.

    SQLAlchemy's machinery costs several times what the statement costs; here it would count.
    """

    def __init__(self, cursor: Any, engine: Engine) -> None:
        self._cursor, self._error = cursor, engine.dialect.loaded_dbapi.Error
        self.locks_rows = engine.dialect.name == "postgresql"

    def one(self, text: str, values: Mapping[str, Any] | None = None) -> tuple[Any, ...] | None:
        """Run a statement; the first row it gives, or None."""
        try:
            self._cursor.execute(_percent(text) if self.locks_rows else text, values or {})
            rows = (
                self._cursor.fetchall() if self._cursor.description else []
            )  # all: it must have run to its end
            return rows[0] if rows else None
        except self._error as error:
            raise DBAPIError(None, None, error) from error


@lru_cache(maxsize=64)
def _percent(text: str) -> str:
    return re.sub(r":(\w+)", r"%(\1)s", text)


@contextmanager
def glancing(engine: Engine) -> Iterator[Statements]:
    """Statements outside any transaction: each sees the newest commit, and PostgreSQL is asked only once."""
    refused, on_server = engine.dialect.loaded_dbapi.Error, engine.dialect.name == "postgresql"
    with explained(engine.url):
        try:
            pooled = engine.raw_connection()
        except refused as error:
            raise DBAPIError(None, None, error) from error
        driver: Any = pooled.driver_connection
        try:
            if on_server:
                driver.autocommit = True
            yield Statements(driver.cursor(), engine)
        except (DBAPIError, refused) as error:
            pooled.invalidate()
            raise error if isinstance(error, DBAPIError) else DBAPIError(None, None, error) from error
        finally:
            if on_server and not driver.closed:
                driver.autocommit = False
            pooled.close()


@contextmanager
def snapshot(engine: Engine) -> Iterator[Statements]:
    """Statements that all see the ledger as it was at the first of them; blocks nobody."""
    with explained(engine.url), engine.connect() as plain:
        # SQLite's read transactions are that already
        level = {"isolation_level": "REPEATABLE READ"} if engine.dialect.name == "postgresql" else {}
        with plain.execution_options(**level) as connection, connection.begin():
            yield Statements(connection.connection.cursor(), engine)


@contextmanager
def changing(engine: Engine) -> Iterator[Statements]:
    """Statements in one exclusive transaction, like `writing`."""
    with writing(engine) as connection:
        yield Statements(connection.connection.cursor(), engine)


@contextmanager
def explained(target: URL) -> Iterator[None]:
    """Turn a database's errors into one sentence that says what to do; nothing personal is in it."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise LedgerError(f"the ledger {_shown(target)}: {_advice(cause)}") from error
    except OSError as error:
        raise LedgerError(
            f"the ledger {_shown(target)}: {error.strerror or error}. "
            "Give the folder to the user nextoffer runs as, or change `store` in nextoffer.toml."
        ) from error


def checkpoint(engine: Engine) -> None:
    """Move what the write-ahead log holds into the SQLite file and empty the log; elsewhere nothing."""
    if engine.dialect.name != "sqlite":
        return
    with explained(engine.url):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        finally:
            raw.close()


def concurrency_warning(engine: Engine, n_writers: int) -> str | None:
    """What to tell an operator whose several workers write to an SQLite with the known log race."""
    if engine.dialect.name != "sqlite" or n_writers < 2 or sqlite3.sqlite_version_info >= _SAFE_WAL:
        return None
    return (
        f"{n_writers} processes write to SQLite {sqlite3.sqlite_version}, which has a rare race in its "
        "write-ahead log (mended in 3.51.3). Use one worker, a newer SQLite, or PostgreSQL as `store`."
    )


def _parsed(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise LedgerError(
            'store is not a database URL. Write store = "sqlite:///var/nextoffer.sqlite" '
            'or "postgresql+psycopg://user@host/name" in nextoffer.toml.'
        ) from None


def _engine(target: URL, checkpoints: bool) -> Engine:
    try:
        if target.get_backend_name() != "sqlite":
            return _kept_alive(create_engine(target, hide_parameters=True, isolation_level="READ COMMITTED"))
        path = _file_of(target)
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(target, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS})
    except (NoSuchModuleError, ImportError) as error:
        raise LedgerError(
            f"the ledger {_shown(target)}: its driver is not installed ({error}). "
            "Install it with: pip install 'nextoffer[postgresql]'."
        ) from None

    @event.listens_for(engine, "connect")
    def _set_up(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say, not where sqlite3 guesses
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous = FULL")
        if not checkpoints:
            cursor.execute("PRAGMA wal_autocheckpoint = 0")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred transaction that turns into a writer fails at once if another wrote meanwhile.
        write = connection.get_execution_options().get("nextoffer_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _kept_alive(engine: Engine) -> Engine:
    """Ask a connection that was idle whether it still lives, and open another one if not.

    `pool_pre_ping` asks every time, which would double the round trips of a lookup.
    """

    @event.listens_for(engine, "checkin")
    def _note(_connection: object, record: Any) -> None:
        record.info["idle_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _ask(connection: Any, record: Any, _proxy: object) -> None:
        now = time.monotonic()
        if now - record.info.get("idle_since", now) < IDLE_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error  # the pool tries again with a new connection

    return engine


@contextmanager
def _alone(target: URL) -> Iterator[None]:
    """Two processes that open a new SQLite ledger at once take turns: changing the log mode cannot wait."""
    path = _file_of(target) if target.get_backend_name() == "sqlite" else None
    if path is None:
        yield
        return
    with open(path.with_name(path.name + ".lock"), "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _prepare(engine: Engine) -> None:
    """Make the tables of a new ledger, or bring an older one to today's format; usually there is nothing to do."""
    if engine.dialect.name == "sqlite":
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL").close()
        finally:
            raw.close()
    with reading(engine) as connection:
        version = _version(connection)
    if version is None or version < SCHEMA_VERSION:
        with writing(engine) as connection:
            if engine.dialect.name == "postgresql":  # what the lock file is to SQLite
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            version = _migrated(connection, _version(connection))
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {_shown(engine.url)} has format {version}; this nextoffer reads up to "
            f"{SCHEMA_VERSION}. Upgrade nextoffer, or name another `store` in nextoffer.toml."
        )


def _migrated(connection: Connection, version: int | None) -> int:
    """The format after making or upgrading the tables; another process may have done it while we waited."""
    if version is not None and version >= SCHEMA_VERSION:
        return version
    if version is None:
        metadata.create_all(connection)
        migrations.stamp(connection, SCHEMA_VERSION)
        connection.execute(insert(schema_version).values(version=SCHEMA_VERSION))
    else:
        migrations.upgrade(connection, version)
        connection.execute(update(schema_version).values(version=SCHEMA_VERSION))
    return SCHEMA_VERSION


def _version(connection: Connection) -> int | None:
    """The format of the ledger's tables; None if there are none yet."""
    if not inspect(connection).has_table(schema_version.name):
        return None
    return connection.execute(select(func.max(schema_version.c.version))).scalar()


def _file_of(target: URL) -> Path | None:
    name = target.database
    return Path(name) if name and name != ":memory:" and not name.startswith("file:") else None


def _shown(target: URL) -> str:
    return target.render_as_string(hide_password=True)


def _advice(cause: str) -> str:
    """What the database said, and what to do about it."""
    low = cause.lower()
    for sign, advice in (
        (
            "disk is full",
            "the disk is full; nothing of this batch was recorded. Free some space and repeat it.",
        ),
        (
            "no space left",
            "the disk is full; nothing of this batch was recorded. Free some space and repeat it.",
        ),
        (
            "locked",
            f"another process has been writing for {BUSY_SECONDS} s; nothing of this batch was recorded. "
            "Repeat it, and find out what holds the file open.",
        ),
        (
            "not a database",
            "the file is not an SQLite database. Move it away, or name another `store` in nextoffer.toml.",
        ),
        (
            "malformed",
            "the file is damaged. Restore it from a backup; do not delete it, it holds the holdout.",
        ),
        (
            "unable to open",
            "the file cannot be opened. Give its folder to the user nextoffer runs as, "
            "or change `store` in nextoffer.toml.",
        ),
        (
            "readonly",
            "the file cannot be written. Give it and its folder to the user nextoffer runs as, "
            "or change `store` in nextoffer.toml.",
        ),
    ):
        if sign in low:
            return advice
    return f"{cause}. Check that the database of `store` in nextoffer.toml is running and can be written."
