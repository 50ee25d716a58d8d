"""/openapi.json: what each route takes, answers and refuses, with examples for a reader with five minutes."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from nextoffer import __version__
from nextoffer.api import answers, wire
from nextoffer.api.answers import Json
from nextoffer.api.measuring import MeasurementQuery
from nextoffer.api.problems import MEDIA_TYPE, PROBLEMS

REQUESTS: Final[tuple[type[BaseModel], ...]] = (
    wire.RecommendBody,
    answers.EventModel,
    answers.CodeRequestModel,
)
ANSWERS: Final[tuple[type[BaseModel], ...]] = (
    answers.SlateModel,
    answers.RelatedModel,
    answers.EventsModel,
    answers.CodeModel,
    answers.SegmentsModel,
    answers.BundlesModel,
    answers.MeasurementModel,
    answers.LiveModel,
    answers.ReadyModel,
    answers.ProblemModel,
)
DESCRIPTION: Final = """Which offer to make to whom, next.

**In five minutes**

1. Ask for a slate: `GET /v1/customers/17850/offers?placement=home` with your key in `X-API-Key`.
2. Show `offers` in the order given: `title`, `image_url`, `url`, `final_price`, `reason.text`.
   An empty list is an answer too: some customers get no offers, so that it can be measured what offers earn.
3. Report what happened to `POST /v1/events`, with the `attribution_token` of the slate.

**Keys.** A *server* key may do everything. A *client* key may stand in your pages; routes tagged *browser*
take it, and it sees neither probabilities nor profits nor groups. With a client key a `customer_id` needs
`X-Customer-Token`: your server signs it after login, for at most one hour:
`payload = base64url({"sub": "17850", "exp": 1795341600})`, token = `payload + "." +
base64url(HMAC-SHA256(NEXTOFFER_SIGNING_KEY, payload))`, without padding.

**Errors** are `application/problem+json`: `type` is stable, `field` names the part at fault.
"""
TOKEN: Final[Json] = {
    "name": "X-Customer-Token",
    "in": "header",
    "required": False,
    "description": "needed for a customer_id with a client key",
    "schema": {"type": "string"},
}


@cache
def openapi_document() -> Json:
    """The OpenAPI 3.1 description of every route."""
    pairs = [(model, "validation") for model in REQUESTS] + [(model, "serialization") for model in ANSWERS]
    _, schemas = models_json_schema(
        pairs,  # type: ignore[arg-type]  # the two modes are literals
        ref_template="#/components/schemas/{model}",
    )
    return {
        "openapi": "3.1.0",
        "info": {"title": "nextoffer", "version": __version__, "description": DESCRIPTION},
        "tags": [
            {"name": "browser", "description": "takes a client key or a server key"},
            {"name": "server", "description": "takes a server key"},
            {"name": "health", "description": "needs no key"},
        ],
        "paths": _paths(),
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            },
        },
    }


def _paths() -> Json:
    return {
        "/v1/customers/{customer_id}/offers": {"get": _offers()},
        "/v1/recommend": {"post": _recommend()},
        "/v1/products/{product_id}/related": {"get": _related()},
        "/v1/events": {"post": _events()},
        "/v1/codes/{code}:validate": {
            "post": _code(
                "Ask whether a code holds for an order",
                "Nothing is written. Show `discount` in the cart, and redeem when the order is placed.",
            )
        },
        "/v1/codes/{code}:redeem": {
            "post": _code(
                "Use a code for an order",
                "What is answered is on disk. Sent again for the same `order_id` it changes nothing and answers the "
                "same. It also records the `promotion-redeemed` event: do not send one.",
            )
        },
        "/v1/codes/{code}:rollback": {
            "post": _code(
                "Take back the use of a code",
                "For an order that was cancelled; only its `order_id` is needed. Another order may use the code "
                "then, the cancelled one may not.",
            )
        },
        "/v1/segments": {
            "get": _operation(
                "server",
                "Sizes and RFM ranges of the segments",
                "As `nextoffer segments` prints them.",
                (answers.SegmentsModel, answers.SEGMENTS_EXAMPLE),
                [401, 403, 503],
            )
        },
        "/v1/bundles": {
            "get": _operation(
                "server",
                "Which bundles there are, and which one serves",
                "Ids, ages and quality.",
                (answers.BundlesModel, answers.BUNDLES_EXAMPLE),
                [401, 403, 503],
            )
        },
        "/v1/measurement": {"get": _measurement()},
        "/health/live": {
            "get": _operation("health", "The process runs", "", (answers.LiveModel, {"status": "live"}), [])
        },
        "/health/ready": {
            "get": _operation(
                "health",
                "A bundle serves and the ledger can be reached",
                "Names the bundle and its age, and what an operator should look at.",
                (answers.ReadyModel, answers.READY_EXAMPLE),
                [503],
            )
        },
    }


def _offers() -> Json:
    customer = _path("customer_id", "the shop's own customer id; an unknown one gets the fallback slate")
    return _operation(
        "browser",
        "The offers of one customer",
        "Answers 200 for an unknown customer too, with `fallback` set. Every call is recorded.",
        (answers.SlateModel, answers.SLATE_EXAMPLE),
        [400, 401, 403, 422, 503],
        parameters=[customer, *_query(wire.OffersQuery), TOKEN],
    )


def _recommend() -> Json:
    return _operation(
        "browser",
        "Offers for a known, new or anonymous customer",
        "Like the route above, with the cart, what was viewed, and a filter. "
        "Without any id the slate is recorded but cannot be measured (`unassigned`).",
        (answers.SlateModel, answers.SLATE_EXAMPLE | {"customer_id": None, "fallback": "context"}),
        [400, 401, 403, 413, 422, 503],
        parameters=[TOKEN],
        body=({"$ref": "#/components/schemas/RecommendBody"}, answers.RECOMMEND_EXAMPLE),
    )


def _related() -> Json:
    return _operation(
        "browser",
        "Products to show beside a product",
        "Bought together with it (`cross_sell`), a better variant (`up_sell`), or like it (`similar`).",
        (answers.RelatedModel, answers.RELATED_EXAMPLE),
        [400, 401, 404, 422, 503],
        parameters=[_path("product_id", "the shop's own product id"), *_query(wire.RelatedQuery)],
    )


def _measurement() -> Json:
    return _operation(
        "server",
        "What the offers earned",
        "What `nextoffer measure --json` prints: treated minus held out, with intervals, what may merely be "
        "attributed, and the KPI tables. It reads the whole history, which takes as long as the command; the answer "
        "is kept for a quarter of an hour.",
        (answers.MeasurementModel, answers.MEASUREMENT_EXAMPLE),
        [401, 403, 409, 422, 503],
        parameters=_query(MeasurementQuery),
    )


def _code(summary: str, description: str) -> Json:
    return _operation(
        "server",
        summary,
        f"{description} A code that does not hold is answered with 200, `valid` false and the reasons.",
        (answers.CodeModel, answers.CODE_EXAMPLE),
        [400, 401, 403, 413, 422, 503],
        parameters=[_path("code", "as the customer typed it: case, blanks and hyphens do not matter")],
        body=({"$ref": "#/components/schemas/CodeRequestModel"}, answers.CODE_REQUEST_EXAMPLE),
    )


def _events() -> Json:
    schema = {
        "type": "array",
        "maxItems": wire.MAX_EVENTS,
        "items": {"$ref": "#/components/schemas/EventModel"},
    }
    return _operation(
        "browser",
        "Report what happened",
        f"At most {wire.MAX_EVENTS} events in one transaction, each counted once however often it is sent; late and "
        "unordered ones too, but none from the future. An event with both ids links the visitor to the customer. A "
        "`refund`, or a purchase of negative quantities, is a return. Purchases and redemptions need a server key. "
        "What is bought is not offered again.",
        (answers.EventsModel, answers.EVENTS_ANSWER_EXAMPLE),
        [400, 401, 413, 422, 503],
        parameters=[TOKEN],
        body=(schema, answers.EVENTS_EXAMPLE),
    )


def _operation(
    tag: str,
    summary: str,
    description: str,
    answer: tuple[type[BaseModel], Json],
    refusals: list[int],
    parameters: list[Json] | None = None,
    body: tuple[Json, Any] | None = None,
) -> Json:
    model, example = answer
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    operation: Json = {
        "tags": [tag],
        "summary": summary,
        "description": description,
        "operationId": summary.lower().replace(",", "").replace(" ", "-"),
        "responses": {
            "200": {
                "description": (model.__doc__ or "").strip().splitlines()[0],
                "content": {"application/json": {"schema": schema, "example": example}},
            },
            **{str(status): _refusal(status) for status in refusals},
        },
        "security": [] if tag == "health" else [{"bearer": []}, {"apiKey": []}],
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        content = {"application/json": {"schema": body[0], "example": body[1]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _refusal(status: int) -> Json:
    slugs = [slug for slug, (code, _) in PROBLEMS.items() if code == status]
    return {
        "description": "; ".join(f"`{slug}`: {PROBLEMS[slug][1]}" for slug in slugs),
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}}},
    }


def _path(name: str, description: str) -> Json:
    schema = {"type": "string", "maxLength": wire.MAX_ID}
    return {"name": name, "in": "path", "required": True, "description": description, "schema": schema}


def _query(model: type[BaseModel]) -> list[Json]:
    """The fields of a query model as parameters; every one is optional."""
    properties = model.model_json_schema()["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": str(schema.pop("description", "")),
            "schema": schema,
        }
        for name, schema in properties.items()
    ]
