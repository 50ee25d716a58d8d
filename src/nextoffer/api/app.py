"""The application: routes, problems, CORS for browsers, and the pages that describe it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from nextoffer import __version__
from nextoffer.api import problems
from nextoffer.api.codes import CodeRoutes
from nextoffer.api.document import openapi_document
from nextoffer.api.measuring import Measure, MeasureRoutes, not_measurable
from nextoffer.api.routes import Routes
from nextoffer.api.security import Keys
from nextoffer.api.service import Service
from nextoffer.api.writer import LedgerPort
from nextoffer.config import Secrets, Settings


def create_app(
    service: Service,
    ledger: LedgerPort,
    settings: Settings,
    secrets: Secrets,
    clock: Callable[[], datetime],
    insecure: bool = False,
    n_workers: int = 1,
    measure: Measure = not_measurable,
) -> FastAPI:
    """The ASGI application over one service and one ledger.

    Parameters
    ----------
    clock : the present moment, in UTC and with a zone
    insecure : a request without a key counts as the server's (loopback only; see `server.run_server`)
    n_workers : how many processes like this one write to the ledger
    measure : what offers earned, as `measure --json` prints it
    """
    keys = Keys.of(secrets, insecure)
    routes = Routes(service, ledger, settings, keys, clock, n_workers)
    codes = CodeRoutes(ledger, settings, keys, clock)
    measuring = MeasureRoutes(measure, settings, keys, clock)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        codes.close()
        routes.close()

    # The stock documentation pages load their scripts from elsewhere: blank in a closed shop.
    app = FastAPI(title="nextoffer", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.router.routes.extend(
        [
            Route("/v1/customers/{customer_id:path}/offers", routes.offers, methods=["GET"]),
            Route("/v1/recommend", routes.recommend, methods=["POST"]),
            Route("/v1/products/{product_id:path}/related", routes.related, methods=["GET"]),
            Route("/v1/events", routes.events, methods=["POST"]),
            Route("/v1/codes/{code}:validate", codes.validate, methods=["POST"]),
            Route("/v1/codes/{code}:redeem", codes.redeem, methods=["POST"]),
            Route("/v1/codes/{code}:rollback", codes.rollback, methods=["POST"]),
            Route("/v1/segments", routes.segments, methods=["GET"]),
            Route("/v1/bundles", routes.bundles, methods=["GET"]),
            Route("/v1/measurement", measuring.measurement, methods=["GET"]),
            Route("/health/live", routes.live, methods=["GET"]),
            Route("/health/ready", routes.ready, methods=["GET"]),
        ]
    )
    app.openapi = openapi_document  # type: ignore[method-assign]  # FastAPI's documented way to replace it
    problems.install(app)
    if not insecure:
        # Keys travel in headers, never in cookies: any origin may ask, none gains anything by it.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=["*"],
            allow_methods=["GET", "POST"],
            allow_headers=["Authorization", "X-API-Key", "X-Customer-Token", "Content-Type"],
            max_age=600,
        )
    return app


def utc_now() -> datetime:
    """The present moment: the one place where the API reads the clock."""
    return datetime.now(UTC)  # noqa: TID251
