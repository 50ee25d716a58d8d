"""An export whose ledger disappears stops before the file is published; what was published before stays as it was."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.flow.test_export import World, world

from nextoffer.errors import LedgerError
from nextoffer.tracking import database

__all__ = ["world"]


@pytest.mark.parametrize("lost", ["assignments", "decisions", "codes"])
def test_no_file_is_published_whose_rows_are_not_in_the_ledger(world: World, lost: str) -> None:
    out = world.folder / "mail.out"

    rename(world, lost, "lost")
    with pytest.raises(LedgerError, match=lost):
        world.export("mail")
    assert not out.exists()
    rename(world, "lost", lost)

    report = world.export("mail")
    assert report.messages > 0
    published = out.read_bytes()
    assert {one.unit_id for one in world.decisions(report)} >= world.sent(report)

    rename(world, lost, "lost")
    with pytest.raises(LedgerError):
        world.export("mail", now=world.now + timedelta(days=1))
    assert out.read_bytes() == published
    assert not list(left_over(world.folder))


def rename(world: World, name: str, to: str) -> None:
    with database.writing(world.ledger.engine) as connection:
        connection.exec_driver_sql(f"ALTER TABLE {name} RENAME TO {to}")


def left_over(folder: Path) -> Any:
    return folder.glob("mail*.tmp")
