"""/openapi.json: every route, every example, every problem type: true."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from nextoffer.api import answers, wire
from nextoffer.api.document import openapi_document
from nextoffer.api.problems import PROBLEMS

DOCUMENT = openapi_document()
OPERATIONS = [
    (path, method, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def test_it_is_served_without_a_key(world):
    answer = world.get("/openapi.json", None)

    assert answer.status_code == 200
    assert answer.json() == DOCUMENT


def test_every_route_is_described_and_nothing_else(world):
    served = {
        (route.path.replace(":path", ""), method)
        for route in world.client.app.routes
        for method in route.methods - {"HEAD"}
        if route.path != "/openapi.json"
    }

    assert served == {(path, method.upper()) for path, method, _ in OPERATIONS}


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_every_example_of_an_answer_is_one(path: str, method: str, operation: dict[str, Any]):
    content = operation["responses"]["200"]["content"]["application/json"]
    name = content["schema"]["$ref"].rsplit("/", 1)[1]

    getattr(answers, name).model_validate(content["example"])
    assert operation["summary"]


def test_every_example_of_a_request_is_accepted(world):
    recommend = DOCUMENT["paths"]["/v1/recommend"]["post"]["requestBody"]["content"]["application/json"]
    events = DOCUMENT["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]

    wire.RecommendBody.model_validate(recommend["example"])
    TypeAdapter(list[answers.EventModel]).validate_python(events["example"])
    assert world.post("/v1/recommend", recommend["example"], "client").status_code == 200
    assert world.post("/v1/events", events["example"]).json()["accepted"] == len(events["example"])


def test_every_reference_leads_somewhere():
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    known = {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]}
    assert set(references(DOCUMENT)) <= known


def test_every_field_of_a_slate_request_is_explained():
    for path, method, operation in OPERATIONS:
        for parameter in operation.get("parameters", []):
            if parameter["name"] not in ("n", "locale", "type"):
                assert parameter["description"], (path, method, parameter["name"])


def test_every_problem_type_is_listed_and_its_status_documented():
    listed = DOCUMENT["components"]["schemas"]["ProblemModel"]["properties"]["type"]["description"]
    documented = {status for _, _, operation in OPERATIONS for status in operation["responses"]}

    for slug, (status, _) in PROBLEMS.items():
        assert f"urn:nextoffer:problem:{slug}`" in listed
        assert str(status) in documented | {"405", "500"}
