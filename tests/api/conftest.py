"""A shop in memory: a bundle that answers from its arguments, a ledger of dicts, a clock that stands."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import StaticPool

from nextoffer.api.app import create_app
from nextoffer.api.service import RelatedProduct, Status
from nextoffer.config import Experiment, Secrets, Settings, parse_settings
from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import Dropped, Offer, Reason, Slate, SlateRequest
from nextoffer.errors import LedgerError
from nextoffer.tracking import schema
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.schema import Decision, Event

with warnings.catch_warnings():
    # Starlette would like another HTTP client than the one we have.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
AS_OF = datetime(2026, 11, 22, tzinfo=UTC)
SERVER, CLIENT, SIGNING = "server-key-" + "s" * 32, "client-key-" + "c" * 32, "signing-" + "k" * 32
SECRETS = Secrets(server_keys=(SERVER,), client_keys=(CLIENT,), signing_key=SIGNING)
AS_SERVER, AS_CLIENT = {"X-API-Key": SERVER}, {"Authorization": f"Bearer {CLIENT}"}
KNOWN_PRODUCTS = ("85123A", "22423", "47566")


def shop_settings(
    holdout_share: float = 0.05, experiments: Mapping[str, Mapping[str, Any]] | None = None
) -> Settings:
    document = {
        "currency": "GBP",
        "timezone": "Europe/London",
        "history": {"orders": {"path": "orders.csv"}},
        "experiment": {"name": "always-on", "version": 1, "holdout_share": holdout_share},
        "experiments": experiments or {},
        "campaigns": {"mail": {}},
    }
    return parse_settings(document, "nextoffer.toml", Path("/nowhere"))


def offer_of(product_id: str, rank: int = 1) -> Offer:
    return Offer(
        offer_id=f"offer-{rank}",
        kind="for_you",
        product_id=product_id,
        title=f"Product {product_id}",
        url=f"https://shop.example/p/{product_id}",
        image_url=None,
        list_price="2.55",
        final_price="2.30",
        incentive={"type": "percent", "value": "10"},
        code=None,
        valid_until=NOW + timedelta(days=14),
        incentive_text="",
        incentive_name="none",
        p_buy=0.125,
        expected_profit=0.42,
        reason=Reason("similar-customers", "Customers like you buy this.", ("22423",)),
    )


DROPPED = (Dropped("win_back", "47566", "margin-floor", {"type": "none"}, -0.1, {"product": -0.1}),)


@dataclass
class FakeBundle:
    """Offers every product it knows that the request has not named as bought."""

    bundle_id: str = "2026-11-22T00-00Z-aaaaaa"
    requests: list[SlateRequest] = field(default_factory=list)
    customers: tuple[str, ...] = ("17850",)

    def recommend(self, request: SlateRequest, now: datetime) -> Slate:
        self.requests.append(request)
        wanted = [p for p in KNOWN_PRODUCTS if p not in request.bought][: request.n or 4]
        known = request.customer_id in self.customers
        return Slate(
            customer_id=request.customer_id,
            bundle_id=self.bundle_id,
            currency="GBP",
            segment="loyal" if known else None,
            fallback=None if known else "context" if request.cart else "popular",
            offers=tuple(offer_of(product, rank) for rank, product in enumerate(wanted, start=1)),
            dropped=(Dropped("win_back", "47566", "margin-floor", {"type": "none"}, -0.1, {"product": -0.1}),)
            if request.explain
            else (),
        )

    def menu(self, now: datetime) -> None:
        return None

    def related(self, product_id: str, kind: str, n: int, language: str) -> list[RelatedProduct] | None:
        if product_id not in KNOWN_PRODUCTS:
            return None
        others = [other for other in KNOWN_PRODUCTS if other != product_id]
        return [RelatedProduct(other, other, None, None, "2.55") for other in others[:n]]

    def segments(self) -> list[dict[str, Any]]:
        return [{"segment": "loyal", "customers": 1}]

    def bundles(self) -> list[dict[str, Any]]:
        return [{"bundle_id": self.bundle_id, "serving": True}]

    def status(self) -> Status:
        return Status(self.bundle_id, AS_OF, len(self.customers), len(KNOWN_PRODUCTS))


@dataclass
class FakeService:
    bundle: Any = field(default_factory=FakeBundle)

    def current(self) -> Any:
        return self.bundle

    def warnings(self) -> tuple[str, ...]:
        return ()

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class FakeLedger:
    """Keeps what a ledger keeps; `broken` makes it refuse to write."""

    broken: bool = False
    batches: int = 0
    assigned: dict[str, bool] = field(default_factory=dict)
    decided: dict[str, Decision] = field(default_factory=dict)
    happened: dict[str, Event] = field(default_factory=dict)

    @cached_property
    def engine(self) -> Engine:
        """What is asked of a ledger in SQL finds an empty one."""
        engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        schema.metadata.create_all(engine)
        return engine

    def assign(
        self,
        experiment: Experiment,
        unit_ids: Sequence[str],
        at: datetime,
        strata: Sequence[str | None] | None = None,
    ) -> Bools:
        self._check()
        for unit, out in zip(unit_ids, groups(experiment, unit_ids).tolist(), strict=True):
            self.assigned.setdefault(unit, out)
        return np.array([self.assigned[unit] for unit in unit_ids], dtype=bool)

    def record_decisions(self, decisions: Sequence[Decision]) -> int:
        self._check()
        self.batches += 1
        before = len(self.decided)
        for decision in decisions:
            self.decided.setdefault(decision.decision_id, decision)
        return len(self.decided) - before

    def record_events(self, events: Sequence[Event]) -> tuple[int, int, tuple[str, ...]]:
        self._check()
        repeated = []
        for event in events:
            if event.event_id in self.happened:
                repeated.append(event.event_id)
            self.happened.setdefault(event.event_id, event)
        return len(events) - len(repeated), len(repeated), tuple(repeated)

    def orders_of(self, unit_id: str, since: datetime) -> tuple[str, ...]:
        orders = [
            e.order for e in self.happened.values() if e.order and e.unit_id == unit_id and e.at >= since
        ]
        return tuple(sorted({str(line["product_id"]) for order in orders for line in order.lines}))

    def recent_interactions(
        self, unit_id: str, since: datetime, limit: int = 100
    ) -> list[tuple[str, str, datetime]]:
        seen = [
            (str(e.product_id), e.type, e.at)
            for e in self.happened.values()
            if e.unit_id == unit_id and e.product_id and e.at >= since
        ]
        return sorted(seen, key=lambda one: one[2], reverse=True)[:limit]

    def units_sold(self, since: datetime) -> dict[str, float]:
        return {}

    def decision(self, decision_id: str) -> Decision | None:
        return self.decided.get(decision_id)

    def concurrency_warning(self, n_writers: int) -> str | None:
        return f"{n_writers} writers" if n_writers > 1 else None

    def close(self) -> None:
        pass

    def _check(self) -> None:
        if self.broken:
            raise LedgerError("the disk is full")


@dataclass
class World:
    """One application over fakes, and a client to it."""

    client: TestClient
    ledger: Any
    service: FakeService
    settings: Settings
    now: datetime = NOW
    server_key: str = SERVER
    client_key: str = CLIENT
    signing_key: str = SIGNING

    @property
    def bundle(self) -> Any:
        return self.service.bundle

    def ask(self, method: str, path: str, key: str | None = "server", **sent: Any) -> httpx.Response:
        """Send a request with the server's key, a browser's, or none."""
        given: Mapping[str, str] = sent.pop("headers", {})
        known = {"server": AS_SERVER, "client": AS_CLIENT}.get(key or "", {})
        return self.client.request(method, path, headers={**known, **given}, **sent)

    def get(self, path: str, key: str | None = "server", **sent: Any) -> httpx.Response:
        return self.ask("GET", path, key, **sent)

    def post(self, path: str, body: Any, key: str | None = "server", **sent: Any) -> httpx.Response:
        return self.ask("POST", path, key, json=body, **sent)


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world() -> Iterator[MakeWorld]:
    """Makes worlds: make_world(holdout_share=…, ledger=…, bundle=…, insecure=…, n_workers=…,
    experiments=…)."""
    clients: list[TestClient] = []

    def make(
        holdout_share: float = 0.0,
        ledger: Any = None,
        bundle: Any = None,
        service: Any = None,
        secrets: Secrets = SECRETS,
        insecure: bool = False,
        n_workers: int = 1,
        experiments: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> World:
        ledger = ledger if ledger is not None else FakeLedger()
        service = service if service is not None else FakeService(bundle or FakeBundle())
        settings = shop_settings(holdout_share, experiments)
        app = create_app(service, ledger, settings, secrets, lambda: NOW, insecure, n_workers)
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        return World(client, ledger, service, settings)

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A shop without a holdout."""
    return make_world()
