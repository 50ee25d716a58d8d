"""Codes through the real API and a real ledger: each fault one reason, and no code used twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from nextoffer.api.answers import CodeModel, ProblemModel
from nextoffer.api.document import openapi_document
from nextoffer.tracking.code_text import ALPHABET, fresh_codes
from nextoffer.tracking.codes import Grant
from nextoffer.tracking.ledger import Ledger, open_ledger

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)  # where the world's clock stands
DAY = timedelta(days=1)
TEN = {"type": "percent", "value": "10"}
TEA = {"product_id": "tea", "quantity": 3, "unit_price": "2.55"}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    yield ledger
    ledger.close()


@pytest.fixture
def till(make_world: Any, ledger: Ledger) -> Any:
    return make_world(ledger=ledger)


def issue(ledger: Ledger, offer: str = "f1", **terms: Any) -> str:
    usual: dict[str, Any] = {
        "incentive": TEN,
        "currency": "GBP",
        "valid_from": NOW - DAY,
        "valid_until": NOW + DAY,
        "product_id": "tea",
    }
    return ledger.codes.issue([Grant("ann", offer, **(usual | terms))])[0]


def body(customer_id: str = "ann", **order: Any) -> dict[str, Any]:
    return {"customer_id": customer_id, "order": {"order_id": "o1", "lines": [TEA]} | order}


def tell(till: Any, code: str, what: str, sent: Any, key: str = "server") -> dict[str, Any]:
    answer = till.post(f"/v1/codes/{code}:{what}", sent, key)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    CodeModel.model_validate(told)
    return told


def test_a_code_is_validated_redeemed_once_and_rolled_back(till: Any, ledger: Ledger) -> None:
    code = issue(ledger)
    yes = {
        "valid": True,
        "incentive": TEN,
        "reasons": [],
        "discount": "0.75",
        "currency": "GBP",
        "product_id": "tea",
    }
    no = yes | {"valid": False, "discount": "0.00"}

    assert tell(till, code.lower(), "validate", body()) == yes
    assert [tell(till, code, "redeem", body()) for _ in range(2)] == [yes, yes]
    assert tell(till, code, "redeem", body(order_id="o2")) == no | {"reasons": ["used-already"]}
    assert tell(till, code, "validate", body(order_id="o2")) == no | {"reasons": ["used-already"]}
    assert tell(till, code, "rollback", {"customer_id": "ann", "order": {"order_id": "o1"}}) == yes
    assert tell(till, code, "redeem", body()) == no | {"reasons": ["rolled-back"]}
    assert tell(till, code, "redeem", body(order_id="o2")) == yes
    assert ledger.events()["type"].to_pylist() == ["promotion-redeemed"]  # a use that was taken back is none


def mistyped(code: str) -> str:
    return code[:-1] + ALPHABET[(ALPHABET.index(code[-1]) + 1) % 32]


@pytest.mark.parametrize("what", ["validate", "redeem"])
@pytest.mark.parametrize(
    ("terms", "sent", "reason"),
    [
        ({}, body("bob"), "other-customer"),
        ({"valid_until": NOW}, body(), "expired"),
        ({"valid_from": NOW + timedelta(seconds=1)}, body(), "not-yet-valid"),
        ({"min_order": 766}, body(), "minimum-order"),
        ({}, body(currency="EUR"), "wrong-currency"),
        ({"product_id": "jam"}, body(), "product-missing"),
        ({"quota_key": "ten", "quota": 0}, body(), "quota-exhausted"),
        ({"quota_key": "ten", "per_customer": 0}, body(), "customer-limit"),
    ],
)
def test_a_code_that_does_not_hold_says_the_one_reason(
    till: Any, ledger: Ledger, what: str, terms: dict[str, Any], sent: dict[str, Any], reason: str
) -> None:
    told = tell(till, issue(ledger, **terms), what, sent)

    assert (told["valid"], told["reasons"], told["discount"]) == (False, [reason], "0.00")
    assert ledger.events().num_rows == 0


@pytest.mark.parametrize("what", ["validate", "redeem", "rollback"])
def test_a_text_that_is_no_code_of_ours_says_whether_it_was_mistyped(
    till: Any, ledger: Ledger, what: str
) -> None:
    code = issue(ledger)

    for text, reason in (
        (mistyped(code), "wrong-checksum"),
        (code[:-1] + "U", "wrong-checksum"),
        (fresh_codes(1)[0], "unknown-code"),
        ("SPRING", "unknown-code"),
        ("a%20b%3Ac", "unknown-code"),
        ("' OR 1=1 --", "unknown-code"),
    ):
        told = tell(till, text, what, body())
        assert (told["valid"], told["incentive"], told["reasons"]) == (False, None, [reason])


def test_only_a_redeemed_code_is_rolled_back(till: Any, ledger: Ledger) -> None:
    assert tell(till, issue(ledger), "rollback", body())["reasons"] == ["not-redeemed"]


@pytest.mark.parametrize(
    ("sent", "slug", "field"),
    [
        ({"order": {"order_id": "o1", "total": 1}}, "missing-field", "customer_id"),
        ({"customer_id": "ann"}, "missing-field", "order"),
        ({"customer_id": "ann", "order": "o1"}, "invalid-value", "order"),
        (body() | {"colour": "red"}, "unknown-field", "colour"),
        (body("x" * 257), "invalid-value", "customer_id"),
        (body(lines=[]), "invalid-value", "order.lines"),
        (body(lines=[TEA | {"unit_price": "2,55"}]), "invalid-value", "order.lines[0].unit_price"),
        (body(lines=[TEA | {"quantity": 0}]), "invalid-value", "order.lines[0].quantity"),
        (body(total="-1"), "invalid-value", "order.total"),
        (body(order_id=None), "invalid-value", "order.order_id"),
        (body(order_id={"a": 1}), "invalid-value", "order.order_id"),
        ([], "invalid-value", None),
    ],
)
def test_a_malformed_request_is_a_problem_that_names_the_field(
    till: Any, ledger: Ledger, sent: Any, slug: str, field: str | None
) -> None:
    answer = till.post(f"/v1/codes/{issue(ledger)}:redeem", sent)

    assert answer.status_code == 422, answer.text
    ProblemModel.model_validate(answer.json())
    assert answer.json()["type"] == f"urn:nextoffer:problem:{slug}"
    assert answer.json().get("field") == field
    assert ledger.events().num_rows == 0


def test_a_cart_need_not_have_an_order_id_yet(till: Any, ledger: Ledger) -> None:
    assert tell(till, issue(ledger), "validate", body(order_id=None))["valid"]


@pytest.mark.parametrize("what", ["validate", "redeem", "rollback"])
def test_a_public_key_learns_nothing_about_codes(till: Any, ledger: Ledger, what: str) -> None:
    code = issue(ledger)

    assert till.post(f"/v1/codes/{code}:{what}", body(), "client").status_code == 403
    assert till.post(f"/v1/codes/{code}:{what}", body(), None).status_code == 401
    assert till.get(f"/v1/codes/{code}:{what}").status_code == 405


def test_paths_that_are_no_route_of_a_code_are_not_found(till: Any) -> None:
    assert till.post("/v1/codes/ABC", body()).status_code == 404
    assert till.post("/v1/codes/ABC:steal", body()).status_code == 404
    assert till.post(f"/v1/codes/{'A' * 300}:validate", body()).status_code == 422


def test_tills_that_ask_at_once_use_each_code_once(till: Any, ledger: Ledger) -> None:
    codes = [issue(ledger, f"f{n}", quota_key="ten", quota=6) for n in range(8)]
    valid: list[bool] = []

    def ask(number: int) -> None:
        for n, code in enumerate(codes[number:] + codes[:number]):
            valid.append(tell(till, code, "redeem", body(order_id=f"o{number}-{n}"))["valid"])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(valid), sum(valid), ledger.events().num_rows) == (48, 6, 6)


def test_a_ledger_that_cannot_be_written_is_a_503_and_the_code_stays_good(
    till: Any, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = issue(ledger)
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE redemptions RENAME TO elsewhere")
    assert till.post(f"/v1/codes/{code}:redeem", body()).status_code == 503
    with ledger.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO redemptions")

    assert tell(till, code, "redeem", body())["valid"]


def test_the_documented_example_is_understood(till: Any, ledger: Ledger) -> None:
    operation = openapi_document()["paths"]["/v1/codes/{code}:redeem"]["post"]
    sent = operation["requestBody"]["content"]["application/json"]["example"]
    expected = operation["responses"]["200"]["content"]["application/json"]["example"]
    code = ledger.codes.issue(
        [
            Grant(
                sent["customer_id"],
                "f1",
                TEN,
                "GBP",
                NOW - DAY,
                NOW + DAY,
                product_id=sent["order"]["lines"][0]["product_id"],
            )
        ]
    )[0]

    assert tell(till, code, "redeem", sent) == expected
