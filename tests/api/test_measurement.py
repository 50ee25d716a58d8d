"""GET /v1/measurement: what the command prints, once for many askers; for servers only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.conftest import (
    AS_CLIENT,
    AS_SERVER,
    NOW,
    SECRETS,
    FakeLedger,
    FakeService,
    TestClient,
    shop_settings,
)

from nextoffer.api.app import create_app
from nextoffer.api.measuring import Asked
from nextoffer.errors import MeasurementError


class Measurer:
    """Answers with what it was asked, and counts."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.now = NOW

    def __call__(self, asked: Asked) -> dict[str, Any]:
        self.asked.append(asked)
        if asked.segment == "lost":
            raise MeasurementError("experiment 'always-on' version 1 has no customer yet: serve offers first")
        return {"currency": "GBP", "n": len(self.asked)}


@pytest.fixture
def measurer() -> Measurer:
    return Measurer()


@pytest.fixture
def client(measurer: Measurer) -> Iterator[Any]:
    ledger: Any = FakeLedger()
    app = create_app(FakeService(), ledger, shop_settings(), SECRETS, lambda: measurer.now, measure=measurer)
    with TestClient(app) as client:
        yield client


def test_days_are_the_shops_and_what_is_alone_measured_is_passed_on(client: Any, measurer: Measurer) -> None:
    path = "/v1/measurement?from=2026-06-01&until=2026-07-01&segment=loyal&kind=win_back&category=Food > Tea"
    answer = client.get(path, headers=AS_SERVER)

    assert (answer.status_code, answer.json()) == (200, {"currency": "GBP", "n": 1})
    (asked,) = measurer.asked
    assert asked.start == datetime(2026, 5, 31, 23, tzinfo=UTC)  # midnight of British summer
    assert asked.end == datetime(2026, 6, 30, 23, tzinfo=UTC)
    assert (asked.segment, asked.kind, asked.category) == ("loyal", "win_back", "Food > Tea")


def test_an_answer_is_kept_for_a_quarter_of_an_hour(client: Any, measurer: Measurer) -> None:
    first = client.get("/v1/measurement", headers=AS_SERVER).json()
    assert client.get("/v1/measurement", headers=AS_SERVER).json() == first
    assert client.get("/v1/measurement?kind=event", headers=AS_SERVER).json() != first
    measurer.now = NOW + timedelta(minutes=16)

    assert client.get("/v1/measurement", headers=AS_SERVER).json()["n"] == 3
    assert measurer.asked[0].start is None
    assert measurer.asked[0].end == datetime(2026, 11, 22, tzinfo=UTC)


def test_a_browser_never_sees_profit(client: Any, measurer: Measurer) -> None:
    assert client.get("/v1/measurement", headers=AS_CLIENT).status_code == 403
    assert client.get("/v1/measurement").status_code == 401
    assert not measurer.asked


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("from=yesterday", "from"),
        ("segment=rich", "segment"),
        ("kind=upsell", "kind"),
        ("category=", "category"),
    ],
)
def test_what_cannot_be_asked_is_named(client: Any, query: str, field: str) -> None:
    answer = client.get(f"/v1/measurement?{query}", headers=AS_SERVER)

    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_nothing_to_measure_is_a_problem_of_its_own(client: Any) -> None:
    answer = client.get("/v1/measurement?segment=lost", headers=AS_SERVER)

    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:nextoffer:problem:nothing-to-measure"
    assert "has no customer yet" in answer.json()["detail"]
