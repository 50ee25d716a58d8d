"""A marketer's offer in the API: its code holds at the till once, and what is used up is not offered any more."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.api.test_over_a_real_bundle import shop, trained  # noqa: F401  # fixtures

from nextoffer.api.opened import shop_opener
from nextoffer.api.service import BundleService
from nextoffer.tracking.ledger import open_ledger

RULES = """
[tenth-off-cups]
products = ["cup 0", "cup 1", "cup 2", "cup 3"]
incentive = { type = "percent", value = 10, quota = 2, max_per_customer = 1 }
pinned = true
text = { en = "Our cups are a tenth off.", ru = "Чашки на 10 % дешевле." }
"""


@pytest.fixture
def world(shop: Any, make_world: Any, tmp_path: Any) -> Iterator[Any]:  # noqa: F811
    (tmp_path / "offers.toml").write_text(RULES)
    settings = shop.settings.model_copy(update={"offers_file": tmp_path / "offers.toml"})
    service = BundleService(shop_opener(settings), settings.models_dir / "CURRENT", poll_seconds=60)
    world = make_world(service=service, ledger=open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"))
    yield world
    world.ledger.close()


def picked(world: Any, customer: str, **params: str) -> list[dict[str, Any]]:
    body = world.get(f"/v1/customers/{customer}/offers", params=params).json()
    return [offer for offer in body["offers"] if offer.get("rule") == "tenth-off-cups"]


def redeemed(world: Any, customer: str, offer: dict[str, Any], order_id: str) -> dict[str, Any]:
    lines = [{"product_id": offer["product_id"], "quantity": 1, "unit_price": offer["list_price"]}]
    body = {"customer_id": customer, "order": {"order_id": order_id, "lines": lines}}
    answer: dict[str, Any] = world.post(f"/v1/codes/{offer['code']}:redeem", body).json()
    return answer


def test_a_code_comes_with_the_offer_holds_once_and_says_what_it_takes_off(world: Any) -> None:
    offer = picked(world, "c01")[0]

    first = redeemed(world, "c01", offer, "o1")
    again = redeemed(world, "c01", offer, "o2")

    assert offer["incentive"] == {"type": "percent", "value": "10"} and offer["code"]
    assert offer["reason"] == {"code": "hand-picked", "text": "Our cups are a tenth off.", "because": []}
    assert picked(world, "c03", locale="ru")[0]["reason"]["text"] == "Чашки на 10 % дешевле."
    saved = round(float(offer["list_price"]) - float(offer["final_price"]), 2)
    assert first["valid"] and float(first["discount"]) == saved
    assert not again["valid"] and "used-already" in again["reasons"]


def test_the_same_offer_has_the_same_code_however_often_the_page_is_loaded(world: Any) -> None:
    assert [offer["code"] for offer in picked(world, "c02")] == [
        offer["code"] for offer in picked(world, "c02")
    ]


def test_who_used_it_and_everybody_once_the_quota_is_gone_is_not_offered_it_again(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from nextoffer.api import lately

    monkeypatch.setattr(lately, "FRESH", timedelta(0))
    one, two = picked(world, "c01")[0], picked(world, "c02")[0]

    assert redeemed(world, "c01", one, "o1")["valid"]
    assert picked(world, "c01") == [] and picked(world, "c02")
    assert redeemed(world, "c02", two, "o2")["valid"]
    assert picked(world, "c03") == []

    shown = world.get("/v1/customers/c03/offers", params={"explain": "true"}).json()
    assert "quota" in {drop["reason"] for drop in shown["dropped"]}
    for offer in shown["offers"]:
        assert sum(offer["terms"].values()) == pytest.approx(float(offer["expected_profit"]), abs=0.006)
