"""How an older ledger becomes today's: Alembic's steps, run inside the transaction that opened the ledger.

A new ledger is not made by steps but from `schema.metadata`; a test holds both to the same tables. To change a
table: edit `schema.py`, raise SCHEMA_VERSION, add `versions/vN_what.py` with the revision `000N`.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect

FOLDER = Path(__file__).parent
VERSION_TABLE = "alembic_version"


def revision_of(version: int) -> str:
    """Alembic's name of a format of the ledger.

    >>> revision_of(2)
    '0002'
    """
    return f"{version:04d}"


def stamp(connection: Connection, version: int) -> None:
    """Note the format of the tables for Alembic; without importing it, which takes a second."""
    connection.exec_driver_sql(
        f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} "
        f"(version_num VARCHAR(32) NOT NULL, CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
    )
    connection.exec_driver_sql(f"DELETE FROM {VERSION_TABLE}")
    connection.exec_driver_sql(f"INSERT INTO {VERSION_TABLE} VALUES ('{revision_of(version)}')")


def upgrade(connection: Connection, version: int) -> None:
    """Bring the tables of format `version` to today's, all steps or none, in the caller's transaction."""
    from alembic import command
    from alembic.config import Config

    if not inspect(connection).has_table(VERSION_TABLE):
        stamp(connection, version)  # written before there were migrations
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")
