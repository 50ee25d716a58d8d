"""What the ledger acknowledged is there, once, whoever else writes and whatever dies."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest

from benchmarks import postgres
from nextoffer.config import Experiment
from nextoffer.errors import LedgerError
from nextoffer.tracking import columns, schema
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import Ledger, open_ledger
from nextoffer.tracking.reach import event_made, messages_of
from nextoffer.tracking.schema import SCHEMA_VERSION, Decision, Event, Order, to_json

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
LONDON = ZoneInfo("Europe/London")


def sent(name: str, unit: str = "ann", at: datetime = NOON, **fields: object) -> Decision:
    values: dict[str, object] = {
        "group": "treated",
        "bundle_id": "b1",
        "slate": [{"offer_id": "f1"}],
    } | fields
    return Decision(name, unit, at=at, **values)  # type: ignore[arg-type]


def bought(order_id: str, unit: str = "ann", at: datetime = NOON, **lines: int) -> Event:
    items = tuple({"product_id": product, "quantity": str(quantity)} for product, quantity in lines.items())
    return Event(
        f"e-{order_id}",
        "purchase-complete",
        at,
        unit,
        order=Order(order_id, unit, at, 100, "GBP", None, items),
    )


def test_a_unit_is_assigned_once_and_never_changed(ledger: Ledger) -> None:
    units = [f"u{number}" for number in range(300)]
    first = ledger.assign(Experiment(holdout_share=0.2), units, NOON)

    again = ledger.assign(Experiment(holdout_share=0.5), units[::-1], NOON + timedelta(days=1))

    assert first.tolist() == groups(Experiment(holdout_share=0.2), units).tolist()
    assert again.tolist() == first[::-1].tolist()
    table = ledger.assignments(Experiment())
    assert table.num_rows == 300
    assert set(table["assigned_at"].to_pylist()) == {NOON.replace(tzinfo=None)}


def test_a_unit_asked_for_twice_in_one_call_is_one_assignment(ledger: Ledger) -> None:
    held_out = ledger.assign(Experiment(), ["ann", "bob", "ann"], NOON)

    assert held_out[0] == held_out[2]
    assert ledger.assignments(Experiment())["unit_id"].to_pylist() == ["ann", "bob"]


def test_versions_are_assigned_apart(ledger: Ledger) -> None:
    ledger.assign(Experiment(version=1), ["ann"], NOON)
    ledger.assign(Experiment(version=2), ["ann", "bob"], NOON)

    assert [ledger.assignments(Experiment(version=version)).num_rows for version in (1, 2)] == [1, 2]


def test_a_decision_recorded_twice_is_there_once_as_it_was_first(ledger: Ledger) -> None:
    first = sent("d1", campaign="spring", run_on=date(2026, 3, 10), propensities={"f1": 0.5})

    assert ledger.record_decisions([first, sent("d2", "bob")]) == 2
    assert ledger.record_decisions([sent("d1", "eve"), first]) == 0

    assert ledger.decision("d1") == first
    assert ledger.decision("nothing") is None
    assert ledger.decisions_of_run("spring", date(2026, 3, 10)) == [first]
    assert ledger.decisions_of_run("spring", date(2026, 3, 11)) == []


def test_an_event_sent_twice_counts_once_even_within_a_batch(ledger: Ledger) -> None:
    seen = Event("e1", "detail-page-view", NOON, "ann", product_id="tea")

    assert ledger.record_events([seen, seen, bought("o1", tea=1)]) == (2, 1, ("e1",))
    assert ledger.record_events([bought("o1", tea=1), seen]) == (0, 2, ("e-o1", "e1"))

    assert ledger.events().num_rows == 2
    assert ledger.orders()["order_id"].to_pylist() == ["o1"]


def test_an_order_told_by_two_events_is_one_order(ledger: Ledger) -> None:
    first = bought("o1", tea=1)
    other = Event("e9", "purchase-complete", NOON, "ann", order=Order("o1", "ann", NOON, 999, "GBP"))

    assert ledger.record_events([first, other])[0] == 2
    assert ledger.orders()["revenue"].to_pylist() == [100]


def test_nothing_recorded_is_no_transaction(ledger: Ledger) -> None:
    assert ledger.record_events([]) == (0, 0, ())
    assert ledger.record_decisions([]) == 0
    assert ledger.assign(Experiment(), [], NOON).tolist() == []


def test_what_a_unit_bought_is_net_of_returns(ledger: Ledger) -> None:
    early = NOON - timedelta(days=9)
    ledger.record_events(
        [
            bought("o0", at=early, cup=1),
            bought("o1", tea=2, jam=1),
            bought("o2", tea=-1, jam=-1),
            bought("o3", "bob", pen=1),
        ]
    )

    assert ledger.orders_of("ann", NOON - timedelta(days=1)) == ("tea",)


def test_recent_interactions_come_newest_first(ledger: Ledger) -> None:
    ledger.record_events(
        [
            Event("e1", "detail-page-view", NOON - timedelta(hours=2), "ann", product_id="tea"),
            Event("e2", "add-to-cart", NOON - timedelta(hours=1), "ann", product_id="jam"),
            Event("e3", "promotion-clicked", NOON, "ann", "d1", product_id="cup"),
            Event("e4", "detail-page-view", NOON - timedelta(days=5), "ann", product_id="old"),
        ]
    )

    found = ledger.recent_interactions("ann", NOON - timedelta(days=1))

    assert [(product, kind) for product, kind, _ in found] == [
        ("jam", "add-to-cart"),
        ("tea", "detail-page-view"),
    ]


def test_contacts_count_messages_by_the_shops_own_days(ledger: Ledger) -> None:
    summer_midnight = datetime(2026, 7, 9, 23, 0, tzinfo=UTC)  # 10 July begins in London
    day = date(2026, 7, 10)
    ledger.record_decisions(
        [
            sent("d1", campaign="a", at=summer_midnight),
            sent("d2", campaign="a", at=summer_midnight - timedelta(seconds=1)),
            sent("d3", campaign="b", run_on=day, at=NOON),  # the run's date counts, not when it was made
            sent("d4", campaign="c", run_on=day - timedelta(days=6)),
            sent("d5", campaign="c", run_on=day - timedelta(days=7)),
            sent("d6", campaign="c", run_on=day + timedelta(days=1)),
            sent("d7", placement="home", at=summer_midnight),
            sent("d8", campaign="a", run_on=day, slate=[]),
            sent("d9", "bob", campaign="a", run_on=day, slate=[]),
        ]
    )

    today, week = ledger.contacts(["bob", "ann", "new", "ann"], summer_midnight, LONDON)
    assert today.tolist() == [0, 2, 0, 2]
    assert week.tolist() == [0, 4, 0, 4]

    today, week = ledger.contacts(["ann"], summer_midnight, LONDON, except_run=("b", day))
    assert (today.tolist(), week.tolist()) == ([1], [3])


def test_contacts_are_what_everybody_would_have_been_sent_whatever_their_group(ledger: Ledger) -> None:
    day = NOON.date()
    ghost = {"group": "holdout", "withheld_by": "mail:1"}
    run = {"campaign": "a", "run_on": day}
    ledger.record_decisions(
        [
            sent("t", "treated", **run),
            sent("h", "held out", group="holdout", **run),
            sent("p", "in part", **run),
            sent("p:mail", "in part", **run | ghost),
            sent("p:more", "in part", **run | ghost | {"withheld_by": "more:1"}),
            sent("w", "wholly", slate=[], **run),
            sent("w:mail", "wholly", **run | ghost),
            sent("s", "on the site", placement="home", group="holdout"),
            *(sent(f"r{days}", "twice", campaign="a", run_on=day - timedelta(days=days)) for days in (0, 1)),
            *(sent(f"c{name}", "of two", campaign=name, run_on=day) for name in "ab"),
            *(sent(f"n{number}", "without a run", campaign="a") for number in (1, 2)),
        ]
    )
    units = ["treated", "held out", "in part", "wholly", "on the site", "twice", "of two", "without a run"]

    today, week = ledger.contacts(units, NOON, UTC)
    assert today.tolist() == [1, 1, 1, 1, 0, 1, 2, 2]
    assert week.tolist() == [1, 1, 1, 1, 0, 2, 2, 2]
    assert messages_of(ledger, "a", units, day - timedelta(days=9)).tolist() == [1, 1, 1, 1, 0, 2, 1, 2]

    today, week = ledger.contacts(units, NOON, UTC, except_run=("a", day))
    assert today.tolist() == [0, 0, 0, 0, 0, 0, 1, 2]
    assert week.tolist() == [0, 0, 0, 0, 0, 1, 1, 2]
    assert messages_of(ledger, "a", units, day).tolist() == [0, 0, 0, 0, 0, 1, 0, 2]


@pytest.mark.parametrize("hidden", [None, "holdout", "ghost"])
def test_an_event_message_that_was_held_back_counts_like_one_that_was_sent(
    ledger: Ledger, hidden: str | None
) -> None:
    event = {"kind": "event", "reason": {"code": "birthday"}}
    run = {"campaign": "a", "run_on": NOON.date(), "slate": [event]}
    if hidden is None:
        ledger.record_decisions([sent("d", **run)])
    elif hidden == "holdout":
        ledger.record_decisions([sent("d", group="holdout", **run)])
    else:
        ledger.record_decisions(
            [
                sent("d", **run | {"slate": []}),
                sent("d:mail", group="holdout", withheld_by="mail:1", **run),
            ]
        )

    assert event_made(ledger, ["ann", "bob"], NOON, message=True).tolist() == [True, False]
    assert event_made(ledger, ["ann"], NOON, True, ("a", NOON.date())).tolist() == [False]


def test_tables_come_out_as_typed_columns_even_when_empty(ledger: Ledger) -> None:
    assert ledger.orders().schema.field("revenue").type == "int64"
    assert str(ledger.events().schema.field("at").type) == "timestamp[us]"
    assert ledger.decisions().num_rows == 0


def test_rows_come_in_the_order_of_their_bytes_whatever_the_databases_language(ledger: Ledger) -> None:
    names = ["B", "a", "C", "b", "Ä", "_", "é", "жук"]
    ledger.assign(Experiment(), names, NOON)
    ledger.record_events([bought(name, tea=1) for name in names])
    ledger.record_decisions([sent(name, name, campaign="c", run_on=date(2026, 3, 10)) for name in names])

    expected = sorted(names, key=str.encode)
    assert ledger.assignments(Experiment())["unit_id"].to_pylist() == expected
    assert ledger.orders()["order_id"].to_pylist() == expected
    assert [d.unit_id for d in ledger.decisions_of_run("c", date(2026, 3, 10))] == expected


def test_many_stretches_of_a_table_make_one_with_every_row_as_it_was_told(ledger: Ledger) -> None:
    odd = ['"', "\\", "\n", "\u2028", "ж", "😀", "", "a,b", "null", "x" * 3_000]
    made = [
        sent(
            f"d{number * 7919 % 12_000:05d}",
            f"u{odd[number % 10]}{number}",
            NOON + timedelta(seconds=number % 977),
            campaign=odd[number % 10] if number % 3 else None,
            slate=[{"text": odd[number % 10]}],
        )
        for number in range(12_000)
    ]
    assert ledger.record_decisions(made) == 12_000

    table = ledger.decisions()

    expected = sorted(made, key=lambda one: (one.at, one.decision_id))
    for name in ("decision_id", "unit_id", "campaign"):
        assert table[name].to_pylist() == [getattr(one, name) for one in expected]
    assert table["slate"].to_pylist() == [to_json(one.slate) for one in expected]
    assert table["at"].to_pylist() == [one.at.replace(tzinfo=None) for one in expected]
    until = NOON + timedelta(seconds=500)
    some = ledger.decisions(NOON, until, only=("unit_id",))
    assert some.column_names == ["unit_id"]
    assert some["unit_id"].to_pylist() == [one.unit_id for one in expected if one.at < until]


def test_a_reader_sees_nothing_that_was_written_after_it_began(ledger: Ledger) -> None:
    ledger.record_decisions([sent(f"d{number}", slate=["x" * 900]) for number in range(9_000)])

    batches = columns.stream(ledger.engine, schema.decisions, ("decision_id",))
    first = next(batches).num_rows
    ledger.record_decisions([sent(f"late{number}", slate=["x" * 900]) for number in range(3_000)])
    rest = sum(batch.num_rows for batch in batches)

    assert 0 < first < first + rest == 9_000


def test_texts_too_long_for_one_array_are_sorted_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "_LARGE", 0)
    monkeypatch.setattr(columns, "_ROWS", 3)
    table = pa.table(
        {"text": pa.chunked_array([["d", "a"], ["c", None, "b", "e"]]), "key": [4, 1, 3, 0, 2, 5]}
    )

    ordered = columns.in_order(table, ["key"])

    assert ordered["text"].to_pylist() == [None, "a", "b", "c", "d", "e"]
    assert ordered.schema == table.schema


def test_a_window_is_half_open(ledger: Ledger) -> None:
    ledger.record_events([bought(f"o{hour}", at=NOON + timedelta(hours=hour), tea=1) for hour in range(3)])

    inside = ledger.orders(NOON, NOON + timedelta(hours=2))

    assert inside["order_id"].to_pylist() == ["o0", "o1"]
    assert ledger.events(NOON + timedelta(hours=2)).num_rows == 1


def test_sqlite_runs_as_the_house_rules(sqlite_ledger: Ledger, tmp_path: Path) -> None:
    ledger = sqlite_ledger
    ledger.record_decisions([sent("d1")])
    log = tmp_path / "var" / "ledger.sqlite-wal"
    assert log.stat().st_size > 0

    ledger.checkpoint()

    assert log.stat().st_size == 0
    with ledger._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_threads_share_one_ledger(ledger: Ledger) -> None:
    def write(worker: int) -> int:
        return sum(
            ledger.record_events(
                [
                    Event(f"{worker % 2}-{batch}-{n}", "detail-page-view", NOON, "ann", product_id="p")
                    for n in range(5)
                ]
            )[0]
            for batch in range(10)
        )

    with ThreadPoolExecutor(4) as pool:
        accepted = sum(pool.map(write, range(4)))

    assert accepted == ledger.events().num_rows == 100


WRITER = """
import sys
from datetime import UTC, datetime
from nextoffer.config import Experiment
from nextoffer.tracking.ledger import open_ledger
from nextoffer.tracking.schema import Event
url, name, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
noon = datetime(2026, 3, 10, tzinfo=UTC)
ledger = open_ledger(url, checkpoints=False)
for batch in range(n):
    ledger.assign(Experiment(), [f"u{batch}"], noon)
    ledger.record_events([Event(f"{name}-{batch}-{k}", "detail-page-view", noon, "ann") for k in range(10)])
    print(batch, flush=True)
"""


def writer(url: str, name: str, n: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, name, str(n)], stdout=subprocess.PIPE, text=True
    )


def test_processes_may_open_a_new_ledger_at_once_and_all_write(url: str) -> None:
    workers = [writer(url, name, 20) for name in "ab"]

    assert [worker.wait(60) for worker in workers] == [0, 0]
    for worker in workers:
        worker.communicate()
    ledger = open_ledger(url)
    assert ledger.events().num_rows == 400
    assert ledger.assignments(Experiment()).num_rows == 20
    ledger.close()


def test_every_acknowledged_batch_survives_a_kill(url: str) -> None:
    worker = writer(url, "a", 100_000)
    assert worker.stdout is not None
    acknowledged = -1
    for line in worker.stdout:
        acknowledged = int(line)
        if acknowledged == 25:
            os.kill(worker.pid, signal.SIGKILL)
            break
    rest, _ = worker.communicate()
    acknowledged = max([acknowledged, *(int(line) for line in rest.split("\n")[:-1])])

    ledger = open_ledger(url)
    kept = ledger.events()["event_id"].to_pylist()
    ledger.close()

    assert {f"a-{batch}-{k}" for batch in range(acknowledged + 1) for k in range(10)} <= set(kept)
    assert len(kept) % 10 == 0  # a batch is there whole or not at all


def test_a_newer_ledger_is_refused(url: str) -> None:
    ledger = open_ledger(url)
    with ledger._engine.begin() as connection:
        connection.exec_driver_sql("UPDATE schema_version SET version = 99")
    ledger.close()

    with pytest.raises(
        LedgerError, match=f"has format 99; this nextoffer reads up to {SCHEMA_VERSION}. Upgrade nextoffer"
    ):
        open_ledger(url)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("order_id,customer_id\n" * 100)

    with pytest.raises(LedgerError, match=r"orders.csv: the file is not an SQLite database. Move it away"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_text().startswith("order_id")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(LedgerError, match=r"file/ledger.sqlite: .*change `store` in nextoffer.toml"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}")


def test_a_full_disk_loses_nothing_that_was_acknowledged_and_says_so(sqlite_ledger: Ledger) -> None:
    ledger = sqlite_ledger
    ledger.record_events([Event("e0", "detail-page-view", NOON, "ann")])
    big = [Event(f"e{n}", "detail-page-view", NOON, "ann", payload={"x": "y" * 9_000}) for n in range(1, 50)]
    with ledger._engine.connect() as connection:  # SQLite answers as on a full disk beyond so many pages
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(
        LedgerError, match=r"the disk is full; nothing of this batch was recorded. Free some space"
    ):
        ledger.record_events(big)
    assert ledger.events()["event_id"].to_pylist() == ["e0"]


def test_a_locked_ledger_says_who_to_look_for(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextoffer.tracking.database.BUSY_SECONDS", 0.05)
    ledger = open_ledger(sqlite_url)
    other = sqlite3.connect(tmp_path / "var" / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(LedgerError, match="another process has been writing"):
        ledger.record_decisions([sent("d1")])
    assert ledger.decisions().num_rows == 0  # reading goes on

    other.execute("ROLLBACK")
    other.close()
    assert ledger.record_decisions([sent("d1")]) == 1
    ledger.close()


def test_a_connection_that_died_while_idle_is_replaced(
    postgresql: postgres.Server, new_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nextoffer.tracking.database.IDLE_SECONDS", 0.0)
    ledger = open_ledger(new_postgresql)
    for write in range(3):
        assert ledger.record_decisions([sent(f"d{write}")]) == 1
        postgresql.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'new%'")
    ledger.close()


@pytest.mark.parametrize("url", ["nonsense", "mysterydb://host/name"])
def test_a_url_of_no_known_database_is_refused(url: str) -> None:
    with pytest.raises(LedgerError, match=r"store|driver"):
        open_ledger(url)


def test_a_password_never_reaches_a_message() -> None:
    with pytest.raises(LedgerError) as caught:
        open_ledger("postgresql+psycopg://shop:s3cret@127.0.0.1:1/ledger")

    assert "s3cret" not in str(caught.value)


def test_many_writers_on_an_old_sqlite_are_warned(
    sqlite_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = sqlite_ledger
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    assert ledger.concurrency_warning(1) is None
    assert "PostgreSQL" in str(ledger.concurrency_warning(2))
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 3))
    assert ledger.concurrency_warning(8) is None
