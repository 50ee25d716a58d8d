"""A PostgreSQL server of our own, for tests and benchmarks: started from Debian's package, gone afterwards."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

USERS = ("postgres", "nobody")  # PostgreSQL refuses to run as root


@dataclass(frozen=True)
class Server:
    """One running server, reached through a socket in a folder of its own."""

    folder: Path
    port: int
    options: str

    def url(self, database: str) -> str:
        """The `store` of a ledger in that database."""
        return f"postgresql+psycopg://ledger@/{database}?host={self.folder}&port={self.port}"

    def create(self, database: str, template: str = "template1") -> str:
        """Make a database, a copy of another if wanted, and return its URL."""
        self.run(f'CREATE DATABASE "{database}" TEMPLATE "{template}"')
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is still connected to it."""
        self.run(f'DROP DATABASE "{database}" WITH (FORCE)')

    def start(self) -> None:
        """Start it, or start it again."""
        log = str(self.folder / "log")
        _run("pg_ctl", "-D", str(self.folder / "data"), "-o", self.options, "-l", log, "-w", "start")

    def stop(self) -> None:
        """End it at once, as a crash would; it recovers what was committed when it starts again."""
        _run("pg_ctl", "-D", str(self.folder / "data"), "-m", "immediate", "-w", "stop")

    def run(self, statement: str) -> None:
        """Run one statement in the database `postgres`."""
        where = {"host": str(self.folder), "port": self.port, "user": "ledger", "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute(statement)  # type: ignore[arg-type]


def missing() -> str | None:
    """Why no server can be started here; None if one can."""
    if not all(_binary(name) for name in ("initdb", "pg_ctl")):
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.getuid() == 0 and not (shutil.which("setpriv") and _user()):
        return "PostgreSQL refuses to run as root, and there is no other user to run it as"
    return None


@contextmanager
def server(durable: bool = False, settings: Sequence[str] = ()) -> Iterator[Server]:
    """Start a server on a free port, and remove it with its data in the end.

    Parameters
    ----------
    durable : whether commits wait for the disk; tests need not, benchmarks must
    settings : more of them, as in `max_connections=200`
    """
    folder = Path(tempfile.mkdtemp(prefix="nextoffer-pg-", dir="/tmp"))  # a socket's path must be short
    data = folder / "data"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    chosen = [f"unix_socket_directories={folder}", f"port={port}", "listen_addresses=", *settings]
    if not durable:
        chosen += ["fsync=off", "synchronous_commit=off", "full_page_writes=off"]
    if os.getuid() == 0:
        shutil.chown(folder, _user())
    options = " ".join(f"-c {setting}" for setting in chosen)
    try:
        # names sort as the language has it, not byte by byte, as on most servers
        locale = ("--locale-provider=icu", "--icu-locale=en", "--locale=C.UTF-8", "--encoding=UTF8")
        _run("initdb", "-D", str(data), "-U", "ledger", "--auth=trust", "--no-sync", *locale)
        one = Server(folder, port, options)
        one.start()
        try:
            yield one
        finally:
            one.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(program: str, *arguments: str) -> None:
    path = _binary(program)
    assert path is not None
    drop = ["setpriv", f"--reuid={_user()}", f"--regid={_group()}", "--clear-groups"]
    command = [*(drop if os.getuid() == 0 else []), path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode:
        raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _binary(name: str) -> str | None:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or (str(installed[0]) if installed else None)


def _user() -> str | None:
    import pwd

    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((user for user in USERS if user in known), None)


def _group() -> int:
    import pwd

    return pwd.getpwnam(str(_user())).pw_gid
