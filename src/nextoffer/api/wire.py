"""What travels: request models that are checked, response models that are promised, and the way to bytes.

Answers are built as plain dicts for speed; the response models here document them in /openapi.json, and a
test holds every answer against them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from nextoffer.api.problems import RefusedError
from nextoffer.api.service import RelatedProduct
from nextoffer.config import Kind
from nextoffer.domain.money import to_minor
from nextoffer.domain.offers import Slate, SlateRequest, dropped_json

MAX_BODY_BYTES: Final = 1_000_000
MAX_N: Final = 100
MAX_ITEMS: Final = 100
MAX_EVENTS: Final = 1_000
MAX_ID: Final = 256
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _plain(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("control characters are not allowed")
    return text


Id = Annotated[str, Field(min_length=1, max_length=MAX_ID), AfterValidator(_plain)]
N = Annotated[int, Field(ge=1, le=MAX_N)]
Items = Annotated[list[Id], Field(max_length=MAX_ITEMS)]


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CartLine(_Request):
    """One product in the cart."""

    product_id: Id
    quantity: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] = 1


class Filter(_Request):
    """Only offers whose product fits; absent parts filter nothing."""

    category: Id | None = Field(
        default=None, description="a category path or the start of one, as in `Home > Kitchen`"
    )
    brand: Id | None = None
    max_price: Annotated[Decimal, Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None, description="highest list price, in the shop's currency"
    )


class Context(_Request):
    """What both ways of asking for a slate share."""

    placement: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,63}$")] = Field(
        default="default",
        description="where it will be shown, as in `home`, `cart`, `product`; kept for measurement",
    )
    n: N | None = Field(
        default=None, description="how many offers at most; default: `[offers] n` of the shop"
    )
    kinds: Annotated[list[Kind], Field(max_length=8)] | None = Field(
        default=None, description="only these kinds"
    )
    viewed: Items = Field(
        default=[], description="product ids viewed in this visit, newest first; unknown are ignored"
    )
    explain: bool = Field(
        default=False, description="add `dropped`: what was not offered, and why (server key)"
    )
    locale: Annotated[str, Field(max_length=35)] | None = Field(
        default=None, description="language of the reasons, `en` or `ru`; wins over Accept-Language"
    )


class OffersQuery(Context):
    """The query of GET /v1/customers/{customer_id}/offers."""

    cart: Items = Field(
        default=[], description="product ids in the cart, newest first; unknown ones are ignored"
    )


class RecommendBody(Context):
    """The body of POST /v1/recommend: give `customer_id`, or `visitor_id`, or neither."""

    customer_id: Id | None = Field(default=None, description="with a client key this needs X-Customer-Token")
    visitor_id: Id | None = Field(
        default=None, description="your own anonymous id, so that effects can be measured"
    )
    cart: Annotated[list[CartLine], Field(max_length=MAX_ITEMS)] = Field(
        default=[], description="newest first"
    )
    filter: Filter = Filter()


class CodeBody(_Request):
    """The body of POST /v1/codes/…: who wants to use the code, and for which order (`tracking.discounts`)."""

    customer_id: Id
    order: dict[str, Any]


class RelatedQuery(_Request):
    """The query of GET /v1/products/{product_id}/related."""

    type: Literal["cross_sell", "up_sell", "similar"] = Field(
        default="cross_sell", description="bought together with it, one step better, or like it"
    )
    n: N = 4
    locale: Annotated[str, Field(max_length=35)] | None = None


def language_of(locale: str | None, accept_language: str | None) -> str:
    """`ru` or `en`: the locale if it is one of them, else the first of Accept-Language that is.

    Empty if neither is asked for: then the customer's own language decides, else English.

    >>> language_of(None, "de;q=0.9, ru-RU;q=0.8, en;q=0.1"), language_of("en_GB", "ru"), language_of(None, "de")
    ('ru', 'en', '')
    """
    wishes = [locale] if locale else []
    if accept_language:
        weighted = [_weighted(part) for part in accept_language[:200].split(",")]
        wishes += [tag for weight, tag in sorted(weighted, key=lambda wish: -wish[0]) if weight > 0]
    languages = (re.split(r"[-_]", wish.strip().lower())[0] for wish in wishes)
    return next((language for language in languages if language in ("en", "ru")), "")


def slate_request(
    asked: OffersQuery | RecommendBody,
    customer_id: str | None,
    language: str,
    currency: str,
) -> SlateRequest:
    """What the offers are asked for, from what the caller sent."""
    body = asked if isinstance(asked, RecommendBody) else None
    chosen = body.filter if body else Filter()
    cart = [line.product_id for line in body.cart] if body else getattr(asked, "cart", [])
    return SlateRequest(
        customer_id=customer_id,
        n=asked.n,
        kinds=tuple(asked.kinds) if asked.kinds else None,
        cart=tuple(cart),
        viewed=tuple(asked.viewed),
        category=chosen.category,
        brand=chosen.brand,
        max_price=None if chosen.max_price is None else to_minor(chosen.max_price, currency),
        language=language,
        explain=asked.explain,
        placement=asked.placement,
    )


async def whole_body(request: Request) -> bytes:
    """The whole body, refused as soon as it is known to be too large."""
    too_large = RefusedError("body-too-large", f"A body may have {MAX_BODY_BYTES:,} bytes at most.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise too_large
    return bytes(body)


def query_of(model: type[BaseModel], pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """A query string as the input of its model; a list is `cart=a&cart=b` or `cart=a,b`.

    Raises
    ------
    RefusedError : the bytes are not UTF-8, or a parameter that takes one value is given twice.
    """
    fields: dict[str, Any] = {}
    for name, value in pairs:
        refuse_mangled(name, name)
        refuse_mangled(value, name)
        if name in ("cart", "viewed", "kinds") and name in model.model_fields:
            fields.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in fields:
            raise RefusedError("invalid-value", f"{name} is given twice.", name)
        else:
            fields[name] = value
    return fields


def checked_id(text: str, field: str) -> str:
    """An id out of a path.

    Raises
    ------
    RefusedError : empty, too long, or it holds control characters.
    """
    if not text:
        raise RefusedError("invalid-value", f"{field} is empty.", field)
    if len(text) > MAX_ID:
        raise RefusedError("limit-exceeded", f"{field} may have {MAX_ID} characters at most.", field)
    if _CONTROL.search(text):
        raise RefusedError("invalid-value", f"{field}: control characters are not allowed.", field)
    return text


def refuse_mangled(text: str, field: str) -> None:
    """Refuse text of a URL that was not valid UTF-8 (the server puts U+FFFD in place of such bytes)."""
    if "\ufffd" in text:
        raise RefusedError("invalid-encoding", "The URL is not valid UTF-8.", field)


SERVER_ONLY_FIELDS: Final = frozenset({"p_buy", "expected_profit", "terms", "rule", "incentive_name"})


def slate_body(
    slate: Slate,
    offers: list[dict[str, Any]],
    token: str,
    placement: str,
    experiment: Mapping[str, str] | None,
    explain: bool,
) -> dict[str, Any]:
    """The slate as the caller may see it; without `experiment` it is a client's, which sees no insides."""
    body: dict[str, Any] = {
        "attribution_token": token,
        "customer_id": slate.customer_id,
        "placement": placement,
        "bundle_id": slate.bundle_id,
        "currency": slate.currency,
    }
    if experiment is not None:
        body["experiment"] = experiment
    else:
        offers = [
            {name: value for name, value in offer.items() if name not in SERVER_ONLY_FIELDS}
            for offer in offers
        ]
    body["fallback"] = slate.fallback
    body["offers"] = offers
    if explain and experiment is not None:
        body["dropped"] = [dropped_json(drop, slate.currency) for drop in slate.dropped]
        if slate.propensities:
            body["propensities"] = slate.propensities
    return body


def related_body(product: RelatedProduct) -> dict[str, Any]:
    """One related product."""
    return {
        "product_id": product.product_id,
        "title": product.title,
        "url": product.url,
        "image_url": product.image_url,
        "list_price": product.list_price,
    }


def json_response(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer that no cache keeps: each slate has its own attribution token."""
    options = orjson.OPT_UTC_Z | orjson.OPT_NAIVE_UTC | orjson.OPT_SERIALIZE_NUMPY
    extra = {"cache-control": "no-store", **(headers or {})}
    return Response(orjson.dumps(body, option=options), status, extra, "application/json")


def _weighted(part: str) -> tuple[float, str]:
    tag, _, weight = part.partition(";q=")
    try:
        return float(weight or 1), tag
    except ValueError:
        return 0.0, tag
