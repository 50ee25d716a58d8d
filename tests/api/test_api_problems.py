"""Whatever is wrong with a request: one problem with a stable type, the field, and nothing of our insides."""

from __future__ import annotations

from typing import Any

import pytest

from nextoffer.api.answers import ProblemModel

OFFERS = "/v1/customers/17850/offers"
TOO_MANY = [{"product_id": f"p{i}"} for i in range(10_000)]


def refused(answer: Any, status: int, slug: str, field: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    ProblemModel.model_validate(body)
    assert (body["type"], body["status"]) == (f"urn:nextoffer:problem:{slug}", status)
    assert body.get("field") == field
    assert "Traceback" not in answer.text
    assert len(answer.text) < 4_000
    return dict(body)


@pytest.mark.parametrize(
    ("query", "slug", "field"),
    [
        ("n=101", "invalid-value", "n"),
        ("n=0", "invalid-value", "n"),
        ("n=four", "invalid-value", "n"),
        ("n=3&n=4", "invalid-value", "n"),
        ("kinds=cross_sel", "invalid-value", "kinds[0]"),
        ("placement=" + "x" * 65, "invalid-value", "placement"),
        ("placement=%00", "invalid-value", "placement"),
        ("colour=red", "unknown-field", "colour"),
        ("cart=" + ",".join(f"p{i}" for i in range(101)), "limit-exceeded", "cart"),
        ("viewed=a%01b", "invalid-value", "viewed[0]"),
    ],
)
def test_a_bad_query_is_refused_by_its_field(world, query, slug, field):
    refused(world.get(f"{OFFERS}?{query}"), 422, slug, field)


@pytest.mark.parametrize(
    ("body", "slug", "field"),
    [
        ({"n": 101}, "invalid-value", "n"),
        ({"kinds": ["gifts"]}, "invalid-value", "kinds[0]"),
        ({"cart": TOO_MANY}, "limit-exceeded", "cart"),
        ({"viewed": ["a"] * 101}, "limit-exceeded", "viewed"),
        ({"cart": [{"quantity": 1}]}, "missing-field", "cart[0].product_id"),
        (
            {"cart": [{"product_id": "a"}, {"product_id": "b", "quantity": -1}]},
            "invalid-value",
            "cart[1].quantity",
        ),
        ({"cart": ["85123A"]}, "invalid-value", "cart[0]"),
        ({"customer_id": ""}, "invalid-value", "customer_id"),
        ({"customer_id": "x" * 257}, "invalid-value", "customer_id"),
        ({"customer_id": "a\u0000b"}, "invalid-value", "customer_id"),
        ({"filter": {"max_price": "cheap"}}, "invalid-value", "filter.max_price"),
        ({"filter": {"max_price": "1e99"}}, "invalid-value", "filter.max_price"),
        ({"filter": {"colour": "red"}}, "unknown-field", "filter.colour"),
        ({"custommer_id": "1"}, "unknown-field", "custommer_id"),
        ([], "invalid-value", None),
        ("17850", "invalid-value", None),
        (17850, "invalid-value", None),
    ],
)
def test_a_bad_body_is_refused_by_its_field(world, body, slug, field):
    refused(world.post("/v1/recommend", body), 422, slug, field)


def test_a_cart_of_ten_thousand_items_is_told_the_limit(world):
    problem = refused(world.post("/v1/recommend", {"cart": TOO_MANY}), 422, "limit-exceeded", "cart")

    assert "at most 100" in problem["detail"]


def test_every_fault_of_a_body_is_listed(world):
    answer = world.post("/v1/recommend", {"n": 0, "kinds": ["gifts"], "colour": "red"})

    assert [fault["field"] for fault in answer.json()["errors"]] == ["n", "kinds[0]", "colour"]


@pytest.mark.parametrize(
    ("raw", "slug"),
    [
        (b"", "invalid-json"),
        (b"{", "invalid-json"),
        (b'{"n": 1,}', "invalid-json"),
        (b"[" * 5_000, "invalid-json"),
        (b'{"customer_id": "\xff\xfe"}', "invalid-encoding"),
        (b'["\xff\xfe"]', "invalid-encoding"),
        ('{"customer_id": "жук"}'.encode("windows-1251"), "invalid-encoding"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/events"])
def test_bytes_that_are_no_json_are_refused(world, path, raw, slug):
    refused(world.ask("POST", path, content=raw), 400, slug)


@pytest.mark.parametrize("raw", ['{"customer_id": "\\ud800"}', '["\\ud800"]'])
@pytest.mark.parametrize("path", ["/v1/recommend", "/v1/events"])
def test_half_a_surrogate_pair_is_refused(world, path, raw):
    assert world.ask("POST", path, content=raw.encode()).status_code in (400, 422)


@pytest.mark.parametrize(
    "path",
    ["/v1/customers/%FF%FE/offers", f"{OFFERS}?cart=%FF", f"{OFFERS}?%FF=1", "/v1/products/%FF/related"],
)
def test_a_url_that_is_not_utf_8_is_refused(world, path):
    answer = world.get(path)

    assert answer.status_code == 400
    assert answer.json()["type"] == "urn:nextoffer:problem:invalid-encoding"


def test_a_body_of_more_than_a_megabyte_is_refused_announced_or_not(world):
    large = b" " * 1_000_001

    refused(world.ask("POST", "/v1/events", content=large), 413, "body-too-large")
    refused(
        world.ask("POST", "/v1/events", content=(large[i : i + 65536] for i in range(0, len(large), 65536))),
        413,
        "body-too-large",
    )


def test_paths_and_methods_that_are_not_there_are_problems_too(world):
    refused(world.get("/v1/nothing"), 404, "not-found")
    refused(world.get("/docs"), 404, "not-found")
    refused(world.get("/v1/customers//offers"), 422, "invalid-value", "customer_id")
    refused(world.get("/v1/products/unheard-of/related"), 404, "unknown-product", "product_id")
    refused(world.get("/v1/products/22423/related?type=red"), 422, "invalid-value", "type")
    refused(world.get(f"/v1/customers/{'x' * 300}/offers"), 422, "limit-exceeded", "customer_id")
    answer = world.ask("DELETE", "/v1/recommend")
    refused(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"


def test_a_ledger_that_cannot_be_written_answers_503_and_shows_no_offer(make_world):
    world = make_world()
    world.ledger.broken = True
    event = {"event_id": "e", "event_type": "view_item", "occurred_at": "2026-11-22T09:00:00Z"}

    slate = world.get(OFFERS)
    problem = refused(slate, 503, "ledger-unavailable")
    refused(
        world.post("/v1/events", [event | {"customer_id": "c", "product_id": "p"}]), 503, "ledger-unavailable"
    )

    assert slate.headers["retry-after"] == "2"
    assert "disk" not in problem["detail"]
    world.ledger.broken = False
    assert world.get(OFFERS).status_code == 200


def test_a_defect_of_ours_is_a_500_without_insides_and_the_next_request_is_served(make_world):
    class Broken:
        def status(self) -> Any:
            raise ZeroDivisionError("secret of bundle 3f9c1e")

    world = make_world()
    sound, world.service.bundle = world.service.bundle, Broken()
    answer = world.get(OFFERS)
    world.service.bundle = sound

    refused(answer, 500, "internal-error")
    assert "secret" not in answer.text
    assert "ZeroDivision" not in answer.text
    assert world.get(OFFERS).status_code == 200
