"""The routes: who asks, what they ask, the answer, and the ledger written before the answer leaves.

Plain Starlette endpoints: FastAPI's dependency machinery would cost more than the recommendation itself.
`document.py` describes them.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from nextoffer.api import wire
from nextoffer.api.lately import Lately
from nextoffer.api.problems import RefusedError
from nextoffer.api.security import Caller, Keys, authenticate
from nextoffer.api.service import Opened, Service
from nextoffer.api.writer import UNASSIGNED, GroupWriter, LedgerPort, Recorded, ToRecord, recorder
from nextoffer.config import Settings
from nextoffer.domain.events import SERVER_ONLY
from nextoffer.domain.offers import Slate, offer_json, utc_text
from nextoffer.errors import BadRecordError
from nextoffer.tracking.experiments import Study, running
from nextoffer.tracking.grants import grants_of
from nextoffer.tracking.parse import parse_event
from nextoffer.tracking.schema import HOLDOUT, Decision, Event

ALLOW_LANGUAGE: Mapping[str, str] = {"vary": "Accept-Language"}
Clock = Callable[[], datetime]


class Routes:
    """The endpoints of one application, over one service, one ledger and one set of keys."""

    def __init__(
        self,
        service: Service,
        ledger: LedgerPort,
        settings: Settings,
        keys: Keys,
        clock: Clock,
        n_workers: int = 1,
    ) -> None:
        self._service, self._ledger, self._settings = service, ledger, settings
        self._keys, self._clock, self._n_workers = keys, clock, n_workers
        self._lately = Lately(ledger, settings)
        self._writer: GroupWriter[ToRecord, Recorded] = GroupWriter(
            recorder(ledger, settings.experiment, self._studies_at)
        )

    def close(self) -> None:
        """Commit what is waiting and let go of the threads."""
        self._service.close()
        self._writer.close()
        self._ledger.close()

    async def offers(self, request: Request) -> Response:
        """GET /v1/customers/{customer_id}/offers"""
        caller = self._caller(request)
        customer_id = _path_id(request, "customer_id")
        caller.must_speak_for(customer_id)
        asked = wire.OffersQuery.model_validate(
            wire.query_of(wire.OffersQuery, request.query_params.multi_items())
        )
        return await self._decide(request, caller, asked, customer_id, None)

    async def recommend(self, request: Request) -> Response:
        """POST /v1/recommend"""
        caller = self._caller(request)
        asked = wire.RecommendBody.model_validate_json(await wire.whole_body(request))
        if asked.customer_id is not None:
            caller.must_speak_for(asked.customer_id)
        return await self._decide(request, caller, asked, asked.customer_id, asked.visitor_id)

    async def related(self, request: Request) -> Response:
        """GET /v1/products/{product_id}/related"""
        self._caller(request)
        product_id = _path_id(request, "product_id")
        pairs = wire.query_of(wire.RelatedQuery, request.query_params.multi_items())
        asked = wire.RelatedQuery.model_validate(pairs)
        language = wire.language_of(asked.locale, request.headers.get("accept-language"))
        bundle, now = self._service.current(), self._clock()
        found = await run_in_threadpool(bundle.related, product_id, asked.type, asked.n, language)
        if found is None:
            raise RefusedError(
                "unknown-product", "The product is not in the bundle in service.", "product_id"
            )
        results = [wire.related_body(product) for product in found]
        token = _token()
        bundle_id = bundle.status().bundle_id
        decision = Decision(token, "", UNASSIGNED, now, bundle_id, results, placement=f"related:{asked.type}")
        await self._writer.write(ToRecord(decision))
        return wire.json_response({"attribution_token": token, "results": results}, headers=ALLOW_LANGUAGE)

    async def events(self, request: Request) -> Response:
        """POST /v1/events"""
        caller = self._caller(request)
        items = _array(await wire.whole_body(request))
        events, rejected = await run_in_threadpool(self._parsed, items, caller)
        recorded = Recorded()
        if events:
            recorded = await self._writer.write(ToRecord(events=tuple(events)))
        return wire.json_response(
            {"accepted": recorded.accepted, "duplicates": recorded.duplicates, "rejected": rejected}
        )

    async def segments(self, request: Request) -> Response:
        """GET /v1/segments"""
        self._caller(request).must_be_server("GET /v1/segments")
        bundle = self._service.current()
        return wire.json_response(
            {"bundle_id": bundle.status().bundle_id, "segments": await run_in_threadpool(bundle.segments)}
        )

    async def bundles(self, request: Request) -> Response:
        """GET /v1/bundles"""
        self._caller(request).must_be_server("GET /v1/bundles")
        bundle = self._service.current()
        status = bundle.status()
        return wire.json_response(
            {
                "serving": status.bundle_id,
                "customers": status.customers,
                "products": status.products,
                "bundles": await run_in_threadpool(bundle.bundles),
            }
        )

    async def live(self, _: Request) -> Response:
        """GET /health/live"""
        return wire.json_response({"status": "live"})

    async def ready(self, _: Request) -> Response:
        """GET /health/ready: the bundle and its age, and that the ledger can be reached."""
        await run_in_threadpool(self._ledger.decision, "")
        status = self._service.current().status()
        warning = self._ledger.concurrency_warning(self._n_workers)
        age = self._clock() - _aware(status.as_of)
        return wire.json_response(
            {
                "status": "ready",
                "bundle_id": status.bundle_id,
                "as_of": utc_text(status.as_of),
                "age_hours": round(age.total_seconds() / 3600, 1),
                "warnings": [*self._service.warnings(), *([warning] if warning else [])],
            }
        )

    def _caller(self, request: Request) -> Caller:
        return authenticate(request.headers, self._keys, self._clock())

    async def _decide(
        self,
        request: Request,
        caller: Caller,
        asked: wire.OffersQuery | wire.RecommendBody,
        customer_id: str | None,
        visitor_id: str | None,
    ) -> Response:
        """The slate: made for both groups alike, recorded, and shown to the treated as far as nothing holds it back."""
        if asked.explain:
            caller.must_be_server("explain", "explain")
        language = wire.language_of(asked.locale, request.headers.get("accept-language"))
        now, bundle = self._clock(), self._service.current()
        unit = customer_id or visitor_id
        # A visitor id is only claimed: with a public key it must not reveal what its namesake bought.
        # A shop's server knows that they are one person, also before an event has said so.
        who = [customer_id, visitor_id if caller.is_server else None]
        units = tuple(dict.fromkeys(one for one in who if one))
        slate = await run_in_threadpool(self._slate, bundle, asked, customer_id, units, language, now)
        offers = [offer_json(offer, slate.currency) for offer in slate.offers]
        decision = self._decision(unit, now, slate, offers, asked.placement)
        menu = bundle.menu(now)
        # a code is bound to a customer: a visitor may turn out to be anybody
        grants = grants_of(decision, menu) if customer_id and menu is not None else ()
        anonymous = customer_id is None and visitor_id is not None
        recorded = await self._writer.write(ToRecord(decision, (), grants, slate.segment, anonymous))
        body = wire.slate_body(
            slate,
            [] if recorded.group == HOLDOUT else [dict(offer) for offer in recorded.slate],
            decision.decision_id,
            asked.placement,
            {"name": self._settings.experiment.name, "group": recorded.group} if caller.is_server else None,
            asked.explain,
        )
        told = {"content-language": language} if language else {}
        return wire.json_response(body, headers={**told, **ALLOW_LANGUAGE})

    def _slate(
        self,
        bundle: Opened,
        asked: wire.OffersQuery | wire.RecommendBody,
        customer_id: str | None,
        units: tuple[str, ...],
        language: str,
        now: datetime,
    ) -> Slate:
        wanted = wire.slate_request(asked, customer_id, language, self._settings.currency)
        told = self._lately.told(wanted, units, bundle.status(), bundle.menu(now), now)
        return bundle.recommend(told, now)

    def _decision(
        self, unit: str | None, now: datetime, slate: Slate, offers: list[dict[str, Any]], placement: str
    ) -> Decision:
        share = self._settings.experiment.holdout_share
        return Decision(
            _token(),
            unit or "",
            UNASSIGNED,  # the writer puts the group in, as the ledger says
            now,
            slate.bundle_id,
            offers,
            placement=placement,
            propensities={"treated": 1.0 - share, **(slate.propensities or {})} if unit else None,
        )

    def _studies_at(self, moment: datetime) -> list[Study]:
        """The experiments on what the site shows that run at a moment; those of campaigns are the export's."""
        if not self._settings.experiments:
            return []
        today = moment.astimezone(self._settings.zone).date()
        return [study for study in running(self._settings, today) if study.reaches(None)]

    def _parsed(self, items: list[Any], caller: Caller) -> tuple[list[Event], list[dict[str, Any]]]:
        """The events that can be recorded, and the faults of those that cannot."""
        events: list[Event] = []
        rejected: list[dict[str, Any]] = []
        now = self._clock()
        for index, item in enumerate(items):
            try:
                event = parse_event(item, self._settings.zone, self._settings.currency, now)
                _permit(event, item, caller)
            except BadRecordError as error:
                field = getattr(error, "field", None)
                rejected.append({"index": index, "field": field or "event", "reason": str(error)})
            else:
                events.append(event)
        return events, rejected


def _permit(event: Event, item: Mapping[str, Any], caller: Caller) -> None:
    """Refuse what a public key may not claim: money that moved, or another customer's doings."""
    if caller.is_server:
        return
    if event.type in SERVER_ONLY:
        raise BadRecordError(f"event_type {event.type} needs a server key", "event_type")
    if item.get("customer_id") not in (None, "", caller.customer_id):
        raise BadRecordError("customer_id needs the customer's own X-Customer-Token", "customer_id")


def _array(body: bytes) -> list[Any]:
    try:
        items = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        slug = "invalid-encoding" if "utf-8" in str(error).lower() else "invalid-json"
        raise RefusedError(slug, f"The body is not valid JSON: {error.msg}.") from None
    if not isinstance(items, list):
        raise RefusedError("invalid-value", "The body must be an array of events.")
    if len(items) > wire.MAX_EVENTS:
        raise RefusedError(
            "limit-exceeded", f"{len(items)} events in one request; at most {wire.MAX_EVENTS} are allowed."
        )
    return items


def _path_id(request: Request, field: str) -> str:
    text: str = request.path_params[field]
    wire.refuse_mangled(text, field)
    return wire.checked_id(text, field)


def _token() -> str:
    """A new attribution token: nobody can guess another's."""
    return uuid.UUID(bytes=secrets.token_bytes(16), version=4).hex


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
