"""GET /v1/measurement: what `measure --json` prints, made once for all who ask within a quarter of an hour."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from nextoffer.api import wire
from nextoffer.api.problems import RefusedError
from nextoffer.api.security import Keys, authenticate
from nextoffer.config import Kind, Segment, Settings
from nextoffer.errors import MeasurementError
from nextoffer.pipeline import as_of_moment, asked_filter, measure_shop, past
from nextoffer.tracking.ledger import Ledger

KEPT: Final = timedelta(minutes=15)
MAX_KEPT: Final = 32


@dataclass(frozen=True, slots=True)
class Asked:
    """[start, end) to measure (start None: from the first assignment), and whom or what alone."""

    start: datetime | None
    end: datetime
    segment: str | None = None
    kind: str | None = None
    category: str | None = None


Measure = Callable[[Asked], dict[str, Any]]


def not_measurable(_: Asked) -> dict[str, Any]:
    """Of an application without a shop's history."""
    raise MeasurementError("this application has no history to measure against")


def measurer(settings: Settings, ledger: Ledger) -> Measure:
    """What a shop's offers earned, by its history and its ledger."""

    def measure(asked: Asked) -> dict[str, Any]:
        from nextoffer.measurement.report import to_json

        part = asked_filter(asked.segment, asked.kind, asked.category)
        return to_json(measure_shop(settings, ledger, asked.start, asked.end, filter=part))

    return measure


class MeasurementQuery(BaseModel):
    """The query of GET /v1/measurement; every part is optional."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    from_: date | None = Field(
        default=None, alias="from", description="first day; default: the first assignment"
    )
    until: date | None = Field(default=None, description="first day that does not count; default: today")
    segment: Segment | None = Field(
        default=None, description="only customers who were in this segment when they were assigned"
    )
    kind: Kind | None = Field(
        default=None, description="only customers who were, or would have been, offered this kind"
    )
    category: Annotated[str, Field(min_length=1, max_length=wire.MAX_ID)] | None = Field(
        default=None, description="only what was bought in this category, as in `Home > Kitchen`"
    )


class MeasureRoutes:
    """The endpoint: one measurement at a time, since each reads the shop's whole history."""

    def __init__(
        self, measure: Measure, settings: Settings, keys: Keys, clock: Callable[[], datetime]
    ) -> None:
        self._measure, self._settings, self._keys, self._clock = measure, settings, keys, clock
        self._kept: dict[Asked, tuple[datetime, bytes]] = {}
        self._turn = asyncio.Lock()

    async def measurement(self, request: Request) -> Response:
        """GET /v1/measurement"""
        now = self._clock()
        authenticate(request.headers, self._keys, now).must_be_server("GET /v1/measurement")
        pairs = wire.query_of(MeasurementQuery, request.query_params.multi_items())
        query = MeasurementQuery.model_validate(pairs)
        start = None if query.from_ is None else as_of_moment(self._settings, query.from_, now)
        asked = Asked(
            start,
            past(as_of_moment(self._settings, query.until, now), now),
            query.segment,
            query.kind,
            query.category,
        )
        async with self._turn:  # who waits here finds the answer made
            made, body = self._kept.get(asked, (None, b""))
            if made is None or now - made > KEPT:
                body = await run_in_threadpool(self._answer, asked)
                self._kept[asked] = (now, body)
                while len(self._kept) > MAX_KEPT:
                    del self._kept[next(iter(self._kept))]
        return Response(body, media_type="application/json", headers={"cache-control": "no-store"})

    def _answer(self, asked: Asked) -> bytes:
        try:
            return orjson.dumps(self._measure(asked))
        except MeasurementError as error:
            raise RefusedError("nothing-to-measure", str(error)) from None
