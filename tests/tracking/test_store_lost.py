"""A store that disappears mid-write: one clear error, nothing half written, and the same again is recorded once."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import postgres
from nextoffer.config import Experiment
from nextoffer.errors import LedgerError
from nextoffer.tracking import columns, database, schema
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.schema import Decision, Event, Order

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def events(n: int = 200) -> list[Event]:
    """So many events; each tenth brings an order, each also links a visitor."""
    return [
        Event(
            f"e{k}",
            "purchase-complete" if k % 10 == 0 else "detail-page-view",
            NOON,
            f"ann{k}",
            order=Order(f"o{k}", f"ann{k}", NOON, 100, "GBP") if k % 10 == 0 else None,
            payload={"visitor_id": f"v{k}"},
        )
        for k in range(n)
    ]


def counted(ledger: Ledger) -> tuple[int, int, int]:
    return ledger.events().num_rows, ledger.orders().num_rows, ledger.identities().num_rows


@pytest.fixture(scope="module")
def own_server() -> Iterator[postgres.Server]:
    """A server of these tests alone, to be stopped as by a crash: what it acknowledged must be there afterwards."""
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server(durable=True) as server:
        yield server


def test_a_server_that_is_gone_is_one_sentence_and_once_back_the_same_batch_counts_once(
    own_server: postgres.Server,
) -> None:
    ledger = open_ledger(own_server.create("gone"))
    ledger.record_events(events(10))

    own_server.stop()
    for attempt in (
        lambda: ledger.record_events(events()),
        lambda: ledger.assign(Experiment(), ["ann"], NOON),
        lambda: ledger.record_decisions([Decision("d1", "ann", "treated", NOON, None, [])]),
        ledger.decisions,
        lambda: ledger.decision("d1"),
    ):
        with pytest.raises(LedgerError, match="Check that the database of `store`") as caught:
            attempt()
        assert "\n" not in str(caught.value)
    own_server.start()

    assert ledger.record_events(events())[:2] == (190, 10)  # without being opened anew
    assert ledger.record_events(events())[:2] == (0, 200)
    assert counted(ledger) == (200, 20, 200)
    ledger.close()


def test_a_server_that_dies_within_a_transaction_leaves_nothing_of_it(
    own_server: postgres.Server,
) -> None:
    url = own_server.create("dying")
    ledger, other = open_ledger(url), open_ledger(url)
    told: list[BaseException] = []

    def write() -> None:
        try:
            ledger.record_events(events())
        except LedgerError as error:
            told.append(error)

    with database.writing(other.engine) as connection:
        # the writer has written its events and waits here for its orders
        connection.exec_driver_sql("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")
        writer = threading.Thread(target=write)
        writer.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        deadline = time.monotonic() + 20
        while not connection.exec_driver_sql(waiting).scalar() and time.monotonic() < deadline:
            time.sleep(0.01)
        own_server.run(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
        )  # as when the server is killed
        writer.join(20)

    assert len(told) == 1
    assert counted(ledger) == (0, 0, 0)
    assert ledger.record_events(events())[:2] == (200, 0)
    assert counted(ledger) == (200, 20, 200)
    ledger.close()
    other.close()


def test_a_table_that_is_gone_undoes_the_whole_batch(ledger: Ledger) -> None:
    with database.writing(ledger.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE identities RENAME TO lost")

    with pytest.raises(LedgerError, match="identities"):
        ledger.record_events(events())
    assert ledger.events().num_rows == ledger.orders().num_rows == 0

    with database.writing(ledger.engine) as connection:
        connection.exec_driver_sql("ALTER TABLE lost RENAME TO identities")
    assert ledger.record_events(events())[:2] == (200, 0)


def test_a_reader_in_mid_table_is_told_that_the_server_died(own_server: postgres.Server) -> None:
    ledger = open_ledger(own_server.create("reading"))
    for part in range(20):
        ledger.record_decisions(
            [Decision(f"{part}-{k}", "ann", "treated", NOON, None, [{"text": "x" * 900}]) for k in range(500)]
        )
    batches = columns.stream(ledger.engine, schema.decisions, ("slate",))
    assert next(batches).num_rows > 0

    own_server.stop()

    with pytest.raises(LedgerError, match="Check that the database"):
        list(batches)
    own_server.start()
    assert ledger.decisions(only=("decision_id",)).num_rows == 10_000
    ledger.close()


def test_a_sqlite_file_locked_for_too_long_is_recorded_after_it_was_freed(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    ledger = open_ledger(sqlite_url)
    other = sqlite3.connect(tmp_path / "var" / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerError, match="nothing of this batch was recorded"):
        ledger.record_events(events())

    other.execute("ROLLBACK")
    other.close()
    assert ledger.record_events(events())[:2] == (200, 0)
    ledger.close()


def test_a_sqlite_disk_that_fills_up_undoes_the_whole_batch(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    with ledger.engine.connect() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {int(pages or 0) + 5}")

    with pytest.raises(LedgerError, match="the disk is full; nothing of this batch was recorded"):
        ledger.record_events(events())
    assert counted(ledger) == (0, 0, 0)

    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    assert ledger.record_events(events())[:2] == (200, 0)


def test_a_sqlite_that_may_not_be_written_says_so(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = 1")  # as of a file on a disk mounted read-only

    with pytest.raises(LedgerError, match="the file cannot be written"):
        ledger.record_events(events())

    with ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = 0")
    assert ledger.record_events(events())[:2] == (200, 0)
