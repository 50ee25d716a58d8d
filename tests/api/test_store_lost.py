"""A store that disappears while the API serves: 503 and when to come again; the same again is recorded once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import postgres
from nextoffer.api.answers import ProblemModel
from nextoffer.tracking import database
from nextoffer.tracking.ledger import Ledger, open_ledger

AT = "2026-11-22T09:00:00Z"
LINES = [{"product_id": "22423", "quantity": 2, "unit_price": "2.55"}]
BATCH: list[dict[str, Any]] = [
    {
        "event_id": f"e{n}",
        "event_type": "view_item",
        "occurred_at": AT,
        "visitor_id": "v1",
        "product_id": "22423",
    }
    for n in range(50)
] + [
    {
        "event_id": "bought",
        "event_type": "purchase",
        "occurred_at": AT,
        "customer_id": "17850",
        "visitor_id": "v1",
        "order": {"order_id": "o1", "lines": LINES},
    }
]


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server(durable=True) as server:
        yield server


def must_be_told_to_come_again(answer: Any) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "2"
    problem = ProblemModel.model_validate(answer.json())
    assert problem.type == "urn:nextoffer:problem:ledger-unavailable"
    assert "same request again" in problem.detail
    assert "psycopg" not in answer.text and "sqlite" not in answer.text


def must_be_recorded_once(world: Any, ledger: Ledger) -> None:
    assert world.post("/v1/events", BATCH).json() == {"accepted": 51, "duplicates": 0, "rejected": []}
    assert world.post("/v1/events", BATCH).json() == {"accepted": 0, "duplicates": 51, "rejected": []}
    assert ledger.events().num_rows == 51
    assert ledger.orders()["order_id"].to_pylist() == ["o1"]
    assert ledger.identities().select(["visitor_id", "customer_id"]).to_pylist() == [
        {"visitor_id": "v1", "customer_id": "17850"}
    ]


def test_a_server_that_is_stopped_is_a_503_on_every_route_and_serves_again_when_it_is_back(
    make_world: Any, server: postgres.Server
) -> None:
    ledger = open_ledger(server.create("shop"))
    world = make_world(ledger=ledger, holdout_share=0.5)
    assert world.get("/v1/customers/17850/offers").status_code == 200

    server.stop()
    must_be_told_to_come_again(world.post("/v1/events", BATCH))
    must_be_told_to_come_again(world.get("/v1/customers/17850/offers"))
    must_be_told_to_come_again(world.get("/health/ready"))
    code = {"customer_id": "17850", "order": {"order_id": "o1", "total": "5"}}
    must_be_told_to_come_again(world.post("/v1/codes/01234-56789-ABCDF:redeem", code))
    server.start()

    must_be_recorded_once(world, ledger)
    assert world.get("/v1/customers/17850/offers").status_code == 200
    assert world.get("/health/ready").status_code == 200


def test_a_sqlite_that_another_holds_is_a_503_and_nothing_is_half_written(
    make_world: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    world = make_world(ledger=ledger)
    other = sqlite3.connect(tmp_path / "ledger.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    must_be_told_to_come_again(world.post("/v1/events", BATCH))
    must_be_told_to_come_again(world.get("/v1/customers/17850/offers"))
    other.execute("ROLLBACK")
    other.close()

    assert ledger.events().num_rows == ledger.decisions().num_rows == 0
    must_be_recorded_once(world, ledger)
