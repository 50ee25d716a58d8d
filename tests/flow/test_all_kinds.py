"""All eight kinds reach the API and a campaign's file, with reasons in both languages."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextoffer.api.app import create_app
from nextoffer.api.opened import shop_opener
from nextoffer.api.service import BundleService
from nextoffer.bundle.bundle import write_parts
from nextoffer.bundle.store import Manifest, stage
from nextoffer.config import Campaign, Contact, Experiment, Secrets, Settings
from nextoffer.domain.offers import KINDS
from nextoffer.offers.recommend import choose_stored
from nextoffer.pipeline import OpenShop, export, open_shop
from nextoffer.pipeline.selftest import self_test_of
from nextoffer.tracking.ledger import Ledger, open_ledger

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # how the client is packaged is not this file's matter
    from starlette.testclient import TestClient

CYRILLIC = re.compile("[а-я]{3}")


@dataclass(frozen=True)
class World:
    shop: OpenShop
    ledger: Ledger
    client: TestClient
    folder: Path
    now: Any

    def customers_with(self, kind: str) -> list[str]:
        """Who has an offer of this kind on a slate of that kind alone."""
        ids = self.shop.bundle.customer_ids.ids
        slates = choose_stored(self.shop.bundle, np.arange(len(ids)), self.shop.policy)
        return [ids.text(int(row)) for row in np.unique(slates.customer[slates.kind == KINDS.index(kind)])]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, small_shop_learned: Any) -> Iterator[World]:
    small, folder = small_shop_learned, tmp_path_factory.mktemp("served")
    settings: Settings = small.settings.model_copy(
        update={
            "models_dir": folder / "models",
            "experiment": Experiment(holdout_share=0.0),
            "contact": Contact(cost=0.0, max_per_day=99, max_per_week=99),
            "campaigns": {kind: Campaign(kinds=(kind,), n=1) for kind in KINDS},
        }
    )
    rows = {"horizon_days": settings.horizon_days}
    taught, tests = small.bundle.taught.to_json(), self_test_of(small.bundle)
    with stage(settings.models_dir) as staging:
        write_parts(staging, small.bundle)
        staging.publish(Manifest(small.as_of, 0, "test", rows=rows, taught=taught, self_test=tests))
    ledger = open_ledger(f"sqlite:///{folder}/ledger.sqlite")
    service = BundleService(shop_opener(settings), settings.models_dir / "CURRENT", poll_seconds=60)
    app = create_app(service, ledger, settings, Secrets(), lambda: small.as_of, insecure=True)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        yield World(open_shop(settings), ledger, client, folder, small.as_of)
    ledger.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_api_offers_each_kind_with_a_reason_in_both_languages(world: World, kind: str) -> None:
    customer_id = world.customers_with(kind)[0]
    path, params = f"/v1/customers/{customer_id}/offers", {"kinds": kind, "n": "1"}

    texts = {}
    for language in ("en", "ru"):
        body = world.client.get(path, params=params, headers={"Accept-Language": language}).json()
        (offer,) = body["offers"]
        assert offer["kind"] == kind
        texts[language] = offer["reason"]["text"]

    assert CYRILLIC.search(texts["ru"].replace(offer["title"], ""))
    assert re.search("[a-z]{3}", texts["en"]) and not CYRILLIC.search(texts["en"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_campaign_of_each_kind_has_a_file_with_reasons_in_the_customers_language(
    world: World, kind: str
) -> None:
    path = world.folder / f"{kind}.csv"

    report = export(world.shop, world.ledger, kind, path, world.now)

    people = pq.read_table(str(world.shop.settings.history.customers.path)).to_pylist()
    russian = {person["customer_id"] for person in people if (person["locale"] or "").startswith("ru")}
    with path.open(encoding="utf-8", newline="") as file:
        messages = list(csv.DictReader(file))
    assert len(messages) == report.messages > 0
    assert {message["offer1_kind"] for message in messages} == {kind}
    for message in messages:
        said = message["offer1_reason"]
        assert said and bool(CYRILLIC.search(said)) == (message["customer_id"] in russian), said
