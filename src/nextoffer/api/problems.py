"""Errors on the wire: RFC 9457 `application/problem+json`, one place from our errors to HTTP statuses.

`type` is stable and meant for programs; `detail` is meant for people and may change. `field` names the part
of the request at fault. Nothing about our insides is ever told: a defect is logged here and answered as
`internal-error`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
import structlog
from fastapi import FastAPI, Request, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from nextoffer.errors import (
    BadRecordError,
    LedgerError,
    NextOfferError,
    NoBundleError,
    NotAllowedError,
    RequestError,
)

PREFIX: Final = "urn:nextoffer:problem:"
MEDIA_TYPE: Final = "application/problem+json"
MAX_LISTED: Final = 10

# slug -> (HTTP status, title). The slugs are part of the interface: never rename one.
PROBLEMS: Final[dict[str, tuple[int, str]]] = {
    "invalid-json": (400, "The body is not valid JSON"),
    "invalid-encoding": (400, "The request is not valid UTF-8"),
    "unauthorized": (401, "A valid key is required"),
    "customer-token-required": (401, "A customer token is required"),
    "invalid-customer-token": (401, "The customer token is not valid"),
    "expired-customer-token": (401, "The customer token has expired"),
    "not-allowed": (403, "The key does not permit this"),
    "not-found": (404, "There is nothing here"),
    "unknown-product": (404, "There is no such product"),
    "method-not-allowed": (405, "The method is not allowed here"),
    "nothing-to-measure": (409, "There is nothing to measure yet"),
    "body-too-large": (413, "The body is too large"),
    "missing-field": (422, "A field is missing"),
    "unknown-field": (422, "A field is not known"),
    "limit-exceeded": (422, "A limit is exceeded"),
    "invalid-value": (422, "A value is not valid"),
    "bad-request": (400, "The request cannot be read"),
    "internal-error": (500, "Something went wrong on our side"),
    "ledger-unavailable": (503, "The ledger cannot be written now"),
    "not-ready": (503, "No bundle is in service"),
}
RETRY_AFTER_SECONDS: Final = "2"

log = structlog.get_logger("nextoffer.api")


class RefusedError(RequestError):
    """A request that is answered with a problem: `slug` is a key of PROBLEMS."""

    def __init__(self, slug: str, detail: str, field: str | None = None) -> None:
        self.slug = slug
        super().__init__(detail, field)


def problem(
    slug: str,
    detail: str,
    field: str | None = None,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The response for one problem; `errors` lists every fault when there are several."""
    status, title = PROBLEMS[slug]
    body: dict[str, Any] = {"type": PREFIX + slug, "title": title, "status": status, "detail": detail}
    if field is not None:
        body["field"] = field
    if len(errors) > 1:
        body["errors"] = list(errors)
    extra = dict(headers or {})
    extra["cache-control"] = "no-store"
    if status == 401:
        extra["www-authenticate"] = 'Bearer realm="nextoffer"'
    if status == 503:
        extra["retry-after"] = RETRY_AFTER_SECONDS
    return Response(orjson.dumps(body), status, extra, MEDIA_TYPE)


def of_validation(error: ValidationError, path: tuple[str, ...] = ()) -> Response:
    """The problem for a body or query that does not fit its model."""
    faults = [_fault(dict(item), path) for item in error.errors(include_url=False, include_context=True)]
    slug, field, detail = faults[0]
    listed = [{"field": field, "detail": detail} for _, field, detail in faults[:MAX_LISTED]]
    return problem(slug, detail, field or None, listed)


def of_error(error: NextOfferError) -> Response:
    """The problem for one of our own errors."""
    if isinstance(error, RefusedError):
        return problem(error.slug, str(error), error.field)
    if isinstance(error, NotAllowedError):
        return problem("not-allowed", str(error), error.field)
    if isinstance(error, RequestError | BadRecordError):
        return problem("invalid-value", str(error), getattr(error, "field", None))
    if isinstance(error, LedgerError):
        log.error("ledger-unavailable", error=type(error).__name__)
        return problem("ledger-unavailable", "Nothing was recorded; send the same request again shortly.")
    if isinstance(error, NoBundleError):
        return problem("not-ready", "No trained bundle is in service; run `nextoffer train`.")
    return _defect(error)


def install(app: FastAPI) -> None:
    """Answer every error of the application as a problem."""

    async def own(_: Request, error: Exception) -> Response:
        return of_error(error) if isinstance(error, NextOfferError) else _defect(error)

    async def invalid(_: Request, error: Exception) -> Response:
        return of_validation(error) if isinstance(error, ValidationError) else _defect(error)

    async def http(_: Request, error: Exception) -> Response:
        return _of_http(error) if isinstance(error, HTTPException) else _defect(error)

    async def defect(_: Request, error: Exception) -> Response:
        return _defect(error)

    app.add_exception_handler(NextOfferError, own)
    app.add_exception_handler(ValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, defect)


def _of_http(error: HTTPException) -> Response:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    if error.status_code == 404:
        return problem("not-found", "No such path; /openapi.json lists what there is.", headers=headers)
    if error.status_code == 405:
        allowed = headers.get("allow", "another method")
        return problem("method-not-allowed", f"Use {allowed} on this path.", headers=headers)
    if error.status_code == 413:
        return problem("body-too-large", "Send less in one request.", headers=headers)
    return problem("bad-request", "The request cannot be read as HTTP.", headers=headers)


def _defect(error: Exception) -> Response:
    # The traceback goes to the server's own log; its locals, which may be personal, go nowhere.
    log.error("internal-error", error=type(error).__name__)
    return problem("internal-error", "The request was fine; the fault is logged on the server.")


def _fault(item: dict[str, Any], path: tuple[str, ...]) -> tuple[str, str, str]:
    """(slug, field, detail) of one pydantic fault, never repeating a value that may be personal or huge."""
    parts = [*path, *(str(part) for part in item["loc"])]
    field, kind = _dotted(parts), item["type"]
    context = item.get("ctx") or {}
    if kind == "json_invalid":
        reason = str(context.get("error", "cannot be read"))
        slug = "invalid-encoding" if "unicode" in reason or "utf-8" in reason.lower() else "invalid-json"
        return slug, "", f"The body is not valid JSON: {reason}."
    if kind == "extra_forbidden":
        return "unknown-field", field, f"{field} is not a field of this request; see /openapi.json."
    if kind == "missing":
        return "missing-field", field, f"{field} is required."
    if kind == "too_long":
        count, most = context.get("actual_length"), context.get("max_length")
        return "limit-exceeded", field, f"{field} has {count} items; at most {most} are allowed."
    return "invalid-value", field, f"{field or 'The body'}: {_sentence(item)}."


def _dotted(parts: list[str]) -> str:
    """`cart[3].quantity` from the pieces of a location."""
    text = ""
    for part in parts:
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text


def _sentence(item: dict[str, Any]) -> str:
    message = str(item["msg"]).removeprefix("Value error, ").rstrip(".")
    return message[:1].lower() + message[1:]
