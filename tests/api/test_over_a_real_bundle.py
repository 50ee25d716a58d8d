"""The API over a bundle that was really trained, published and opened: the same offers, swapped."""

from __future__ import annotations

import pickle
import shutil
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nextoffer.api import answers
from nextoffer.api.opened import shop_opener
from nextoffer.api.server import shop_app
from nextoffer.api.service import BundleService
from nextoffer.bundle.bundle import Bundle, CustomerIds, StoredCandidates, open_bundle, write_parts
from nextoffer.bundle.store import Manifest, stage
from nextoffer.config import Secrets, Settings, parse_settings
from nextoffer.domain.offers import SlateRequest
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.errors import BundleCorruptError
from nextoffer.features.catalogue import read_catalogue
from nextoffer.models.recipe import Kitchen, learn_all
from nextoffer.models.taught import fit_taught
from nextoffer.offers.choosing import Policy
from nextoffer.offers.recommend import recommend, score
from nextoffer.plugins import OFFER_KINDS
from nextoffer.sources.load import load_history
from nextoffer.tracking.ledger import open_ledger

CUSTOMERS = 60


@dataclass
class Shop:
    """A trained shop: two bundles, the older one in service."""

    settings: Settings
    bundle_ids: list[str]

    def put_in_service(self, number: int) -> None:
        temporary = self.settings.models_dir / "CURRENT.tmp"
        temporary.write_text(self.bundle_ids[number] + "\n")
        temporary.replace(self.settings.models_dir / "CURRENT")


def write_orders(path: Path) -> None:
    """Everybody buys one of four pairs of products together, every month or so; one product costs nothing."""
    rng = np.random.default_rng(5)
    lines = ["order_id,customer_id,product_id,quantity,unit_price,ordered_at"]
    for customer in range(CUSTOMERS):
        pair = customer % 4
        for n, day in enumerate(np.sort(rng.integers(0, 330, size=rng.integers(2, 11)))):
            at = np.datetime64("2026-01-01T12:00:00") + np.timedelta64(int(day), "D")
            for product in (f"tea {pair}", f"cup {pair}") if n % 2 else (f"tea {pair}",):
                lines.append(f"o{customer}-{n},c{customer:02d},{product},1,{3 + pair}.50,{at}Z")
    path.write_text("\n".join(lines) + "\n")


def train(settings: Settings, as_of: datetime, scratch: Path) -> str:
    """What the nightly job does, without its gate."""
    load_history(settings, scratch / "history")
    with DuckDBEngine(settings.engine, scratch) as engine:
        engine.tables(scratch / "history")
        catalogue = read_catalogue(engine, settings.currency, settings.margin.default_share)
        kitchen = Kitchen(
            engine, scratch / "history", scratch, catalogue, settings.horizon_days, settings.seed
        )
        learned = learn_all(kitchen, as_of, None)
        ids, knowledge = learned.customer_ids, learned.knowledge
        manifest = Manifest(as_of, 0, "test", rows={"horizon_days": settings.horizon_days})
        n = len(knowledge.customers)
        none = StoredCandidates(np.zeros(n + 1, np.int64), *(np.zeros(0, np.int64) for _ in range(5)))
        parts = (
            CustomerIds(ids),
            catalogue,
            knowledge,
            fit_taught([], as_of, kitchen.horizon_days, kitchen.seed),
        )
        empty = Bundle.make("", as_of, *parts, none, manifest)
        stored = StoredCandidates.of(score(empty, np.arange(n), OFFER_KINDS), n)
        bundle = Bundle.make("", as_of, *parts, stored, manifest)
        with stage(settings.models_dir) as staging:
            write_parts(staging, bundle)
            return staging.publish(manifest)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("shop")
    write_orders(folder / "orders.csv")
    settings = shop_in(folder)
    moments = (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # how training warns is not this file's matter
        return folder, [train(settings, at, folder / f"work-{at:%d}") for at in moments]


def shop_in(folder: Path) -> Settings:
    names = ("order_id", "customer_id", "product_id", "quantity", "unit_price", "ordered_at")
    orders = {"path": "orders.csv", "columns": {name: name for name in names}}
    document = {
        "currency": "GBP",
        "history": {"orders": orders},
        "experiment": {"holdout_share": 0.0},
        "offers": {"repurchase_days": 0},
    }
    return parse_settings(document, "nextoffer.toml", folder)


@pytest.fixture
def shop(trained: tuple[Path, list[str]], tmp_path: Path) -> Shop:
    folder, bundle_ids = trained
    shutil.copytree(folder / "models", tmp_path / "models")
    shop = Shop(shop_in(tmp_path), bundle_ids)
    shop.put_in_service(0)
    return shop


@pytest.fixture
def served(shop: Shop, make_world: Any, tmp_path: Path) -> Iterator[Any]:
    service = BundleService(shop_opener(shop.settings), shop.settings.models_dir / "CURRENT", poll_seconds=60)
    world = make_world(service=service, ledger=open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    yield world
    world.ledger.close()


def test_the_api_gives_every_customer_the_offers_of_recommend(shop, served):
    bundle, policy = open_bundle(shop.settings.models_dir), Policy.of(shop.settings)
    n_offers = 0
    for customer in range(0, CUSTOMERS, 4):
        name = f"c{customer:02d}"
        body = served.get(f"/v1/customers/{name}/offers").json()
        answers.SlateModel.model_validate(body)
        wanted = SlateRequest(customer_id=name)
        slate = recommend(bundle, policy, wanted, served.now)
        assert [offer["offer_id"] for offer in body["offers"]] == [offer.offer_id for offer in slate.offers]
        assert body["fallback"] is None
        n_offers += len(body["offers"])
    assert n_offers > 0


def test_the_cart_of_an_anonymous_visitor_brings_its_companion(served):
    body = served.post(
        "/v1/recommend", {"cart": [{"product_id": "tea 2"}, {"product_id": "?"}]}, "client"
    ).json()

    assert body["fallback"] == "context"
    assert "cup 2" in [offer["product_id"] for offer in body["offers"]]
    assert "tea 2" not in [offer["product_id"] for offer in body["offers"]]


def test_a_stranger_gets_what_is_popular(served):
    body = served.get("/v1/customers/stranger/offers").json()

    assert body["fallback"] == "popular"


def test_related_segments_and_bundles_tell_what_the_bundle_holds(shop, served):
    related = served.get("/v1/products/tea%203/related", params={"n": 1}).json()
    segments = served.get("/v1/segments").json()
    bundles = served.get("/v1/bundles").json()

    answers.RelatedModel.model_validate(related)
    assert [(product["product_id"], product["list_price"]) for product in related["results"]] == [
        ("cup 3", "6.50")
    ]
    assert sum(segment["customers"] for segment in segments["segments"]) == bundles["customers"] == CUSTOMERS
    assert (bundles["serving"], bundles["products"]) == (shop.bundle_ids[0], 8)
    assert [(entry["bundle_id"], entry["serving"]) for entry in bundles["bundles"]] == [
        (shop.bundle_ids[1], False),
        (shop.bundle_ids[0], True),
    ]


def test_the_next_night_is_picked_up_and_a_damaged_one_is_not(shop, served):
    service = served.service
    shop.put_in_service(1)
    assert service.refresh() is True
    assert served.get("/v1/customers/c01/offers").json()["bundle_id"] == shop.bundle_ids[1]

    damaged = next((shop.settings.models_dir / shop.bundle_ids[0]).glob("*.npz"))
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2] ^= 1
    damaged.write_bytes(raw)
    shop.put_in_service(0)
    assert service.refresh() is False
    assert served.get("/v1/customers/c01/offers").json()["bundle_id"] == shop.bundle_ids[1]
    assert served.get("/health/ready", None).json()["warnings"]
    with pytest.raises(BundleCorruptError, match=damaged.name):
        shop_opener(shop.settings)()


def test_the_rules_of_a_day_are_worked_out_once(shop, monkeypatch):
    asked = []

    def slow(*terms: Any) -> tuple[None, None]:
        asked.append(terms)
        time.sleep(0.05)
        return None, None

    monkeypatch.setattr("nextoffer.api.opened.with_rules", slow)
    opened = shop_opener(shop.settings)()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(opened.ruled, [datetime(2027, 1, 1, tzinfo=UTC)] * 8))

    assert len(asked) == 1


def test_what_was_bought_live_is_suppressed_from_the_next_slate(served):
    before = served.get("/v1/customers/stranger/offers").json()["offers"]
    bought = before[0]["product_id"]
    order = {"order_id": "o1", "lines": [{"product_id": bought, "quantity": 1, "unit_price": "3.50"}]}
    event = {
        "event_id": "e1",
        "event_type": "purchase",
        "occurred_at": "2026-11-22T09:00:00Z",
        "order": order,
    }
    served.post("/v1/events", [event | {"customer_id": "stranger"}])

    after = served.get("/v1/customers/stranger/offers", params={"explain": "true"}).json()

    assert bought not in [offer["product_id"] for offer in after["offers"]]


def test_the_served_shop_answers_and_its_processes_can_be_sent_elsewhere(shop, tmp_path):
    secrets = Secrets(server_keys=("k" * 32,))
    settings = shop.settings.model_copy(update={"store": f"sqlite:///{tmp_path / 'served.sqlite'}"})
    make_app = partial(shop_app, settings, secrets, False, 2)

    app = pickle.loads(pickle.dumps(make_app))()  # as a new worker process gets it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    with TestClient(app, headers={"X-API-Key": "k" * 32}) as client:
        assert client.get("/v1/customers/c01/offers").json()["bundle_id"] == shop.bundle_ids[0]
