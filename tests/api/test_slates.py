"""What a slate shows, to whom, and what the ledger holds before it is shown."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextoffer.api import answers
from nextoffer.api.security import sign_customer_token
from nextoffer.config import Experiment
from nextoffer.tracking.holdout import groups

SECRET_FIELDS = ("p_buy", "expected_profit", "experiment", "dropped", "holdout", "treated")


def test_a_server_key_sees_the_slate_as_the_interface_writes_it(world):
    answer = world.get("/v1/customers/17850/offers", params={"placement": "home", "n": 2})

    assert answer.status_code == 200
    body = answer.json()
    answers.SlateModel.model_validate(body)
    assert (body["customer_id"], body["placement"], body["currency"]) == ("17850", "home", "GBP")
    assert body["experiment"] == {"name": "always-on", "group": "treated"}
    assert body["fallback"] is None
    assert [offer["product_id"] for offer in body["offers"]] == ["85123A", "22423"]
    assert body["offers"][0]["incentive"] == {"type": "percent", "value": "10"}
    assert body["offers"][0]["expected_profit"] == "0.42"
    assert body["offers"][0]["valid_until"] == "2026-12-06T09:30:00Z"
    assert answer.headers["cache-control"] == "no-store"


def test_a_client_key_sees_no_profit_probability_or_group(world):
    token = sign_customer_token("17850", world.signing_key, world.now + timedelta(minutes=10))
    known = world.get("/v1/customers/17850/offers", "client", headers={"X-Customer-Token": token})
    anonymous = world.post("/v1/recommend", {"visitor_id": "v1", "cart": [{"product_id": "22423"}]}, "client")

    for answer in (known, anonymous):
        assert answer.status_code == 200
        answers.SlateModel.model_validate(answer.json())
        assert len(answer.json()["offers"]) == 3
        assert not [name for name in SECRET_FIELDS if name in answer.text]


def test_both_routes_give_a_known_customer_the_same_offers(world):
    by_get = world.get("/v1/customers/17850/offers").json()
    by_post = world.post("/v1/recommend", {"customer_id": "17850"}).json()

    assert by_get["offers"] == by_post["offers"]
    assert by_get["attribution_token"] != by_post["attribution_token"]


def test_an_unknown_customer_gets_200_and_the_fallback(world):
    body = world.get("/v1/customers/nobody/offers").json()

    assert body["fallback"] == "popular"
    assert body["offers"]


def test_an_id_with_slashes_spaces_and_other_scripts_is_one_id(world):
    body = world.get("/v1/customers/a%2Fb%20%D0%B6/offers").json()

    assert body["customer_id"] == "a/b ж"


def test_explain_shows_what_was_dropped_to_a_server_key_only(world):
    shown = world.get("/v1/customers/17850/offers", params={"explain": "true"}).json()
    refused = world.post("/v1/recommend", {"explain": True}, "client")

    assert shown["dropped"] == [
        {
            "kind": "win_back",
            "product_id": "47566",
            "reason": "margin-floor",
            "incentive": {"type": "none"},
            "expected_profit": "-0.10",
            "terms": {"product": -0.1},
        }
    ]
    assert refused.status_code == 403
    assert refused.json()["field"] == "explain"


def test_the_request_reaches_the_bundle_as_it_was_sent(world):
    world.post(
        "/v1/recommend",
        {
            "customer_id": "17850",
            "n": 7,
            "kinds": ["for_you", "cross_sell"],
            "cart": [{"product_id": "22423", "quantity": 2}, {"product_id": "unheard-of"}],
            "viewed": ["85123A"],
            "filter": {"category": "Home > Kitchen", "brand": "Acme", "max_price": "19.99"},
            "locale": "ru-RU",
        },
        headers={"Accept-Language": "en"},
    )
    asked = world.bundle.requests[-1]

    assert (asked.n, asked.kinds, asked.cart) == (7, ("for_you", "cross_sell"), ("22423", "unheard-of"))
    assert (asked.viewed, asked.category, asked.brand) == (("85123A",), "Home > Kitchen", "Acme")
    assert (asked.max_price, asked.language, asked.contact) == (1999, "ru", False)


def test_lists_of_a_query_may_be_repeated_or_joined_by_commas(world):
    world.get("/v1/customers/17850/offers?cart=a&cart=b,c&kinds=for_you,up_sell&viewed=d")
    asked = world.bundle.requests[-1]

    assert (asked.cart, asked.viewed, asked.kinds) == (("a", "b", "c"), ("d",), ("for_you", "up_sell"))


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ru-RU,en;q=0.5", "ru"),
        ("de, ru;q=0.3, en;q=0.8", "en"),
    ],
)
def test_reasons_come_in_the_language_the_browser_asks_for(world, header, language):
    answer = world.get("/v1/customers/17850/offers", headers={"Accept-Language": header})

    assert world.bundle.requests[-1].language == language
    assert answer.headers["content-language"] == language
    assert "Accept-Language" in answer.headers["vary"]


@pytest.mark.parametrize("header", ["fr", "ru;q=0", ";;q=x,"])
def test_where_no_language_of_ours_is_asked_for_the_customers_own_decides(world, header):
    answer = world.get("/v1/customers/17850/offers", headers={"Accept-Language": header})

    assert world.bundle.requests[-1].language == ""
    assert "content-language" not in answer.headers


def test_the_decision_is_in_the_ledger_under_the_token_before_the_answer(world):
    body = world.get("/v1/customers/17850/offers", params={"placement": "home"}).json()
    decision = world.ledger.decision(body["attribution_token"])

    assert (decision.unit_id, decision.group, decision.placement) == ("17850", "treated", "home")
    assert (decision.bundle_id, decision.at, decision.campaign) == (body["bundle_id"], world.now, None)
    assert list(decision.slate) == body["offers"]
    assert decision.propensities == {"treated": 1.0}


def test_a_holdout_customer_gets_none_and_the_ledger_keeps_what_they_would_have_got(make_world):
    world = make_world(holdout_share=0.5)
    experiment = Experiment(holdout_share=0.5)
    units = [f"c{i}" for i in range(40)]
    held_out = dict(zip(units, groups(experiment, units).tolist(), strict=True))
    assert 0 < sum(held_out.values()) < 40

    for unit, out in held_out.items():
        body = world.get(f"/v1/customers/{unit}/offers").json()
        decision = world.ledger.decision(body["attribution_token"])
        assert body["experiment"]["group"] == decision.group == ("holdout" if out else "treated")
        assert len(body["offers"]) == (0 if out else 3)
        assert len(decision.slate) == 3
    assert world.ledger.assigned == held_out


@pytest.mark.parametrize("key", ["server", "client"])
def test_no_holdout_unit_is_ever_shown_an_offer(make_world, key):
    world = make_world(holdout_share=0.5)
    experiment = Experiment(holdout_share=0.5)

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        unit=st.text(
            st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=30
        ).filter(lambda text: "\ufffd" not in text),
        as_customer=st.booleans(),
        n=st.integers(1, 100),
        cart=st.lists(st.sampled_from(["85123A", "22423", "?"]), max_size=5),
    )
    def holds(unit: str, as_customer: bool, n: int, cart: list[str]) -> None:
        body = {"n": n, "cart": [{"product_id": product} for product in cart]}
        body |= {"customer_id" if as_customer else "visitor_id": unit}
        token = sign_customer_token(unit, world.signing_key, world.now + timedelta(minutes=5))
        answer = world.post("/v1/recommend", body, key, headers={"X-Customer-Token": token})
        assert answer.status_code == 200
        if groups(experiment, [unit])[0]:
            assert answer.json()["offers"] == []
            assert "85123A" not in answer.text.replace(unit, "")
        else:
            assert answer.json()["offers"]

    holds()


def test_the_customer_decides_the_group_when_both_ids_are_given(make_world):
    world = make_world(holdout_share=0.5)
    body = world.post("/v1/recommend", {"customer_id": "c1", "visitor_id": "v1"}).json()

    assert world.ledger.decision(body["attribution_token"]).unit_id == "c1"
    assert list(world.ledger.assigned) == ["c1"]


def test_who_has_no_id_is_served_recorded_and_never_assigned(make_world):
    world = make_world(holdout_share=0.5)
    body = world.post("/v1/recommend", {}).json()
    decision = world.ledger.decision(body["attribution_token"])

    assert body["offers"]
    assert body["experiment"]["group"] == decision.group == "unassigned"
    assert world.ledger.assigned == {}
    assert decision.propensities is None


def test_what_was_bought_since_the_bundle_is_not_offered_again(world):
    order = {"order_id": "o1", "lines": [{"product_id": "85123A", "quantity": 1, "unit_price": "2.55"}]}
    event = {
        "event_id": "e1",
        "event_type": "purchase",
        "occurred_at": "2026-11-22T09:00:00Z",
        "order": order,
    }
    world.post("/v1/events", [event | {"customer_id": "17850"}])

    body = world.get("/v1/customers/17850/offers").json()

    assert [offer["product_id"] for offer in body["offers"]] == ["22423", "47566"]


def test_a_public_key_cannot_find_out_what_a_customer_bought_by_naming_them_as_visitor(world):
    order = {"order_id": "o1", "lines": [{"product_id": "85123A", "quantity": 1, "unit_price": "2.55"}]}
    event = {
        "event_id": "e1",
        "event_type": "purchase",
        "occurred_at": "2026-11-22T09:00:00Z",
        "order": order,
    }
    world.post("/v1/events", [event | {"customer_id": "17850"}])

    body = world.post("/v1/recommend", {"visitor_id": "17850"}, "client").json()

    assert len(body["offers"]) == 3


def test_related_products_come_with_a_token_of_their_own(world):
    body = world.get("/v1/products/22423/related", "client", params={"type": "similar", "n": 1}).json()
    decision = world.ledger.decision(body["attribution_token"])

    answers.RelatedModel.model_validate(body)
    assert [product["product_id"] for product in body["results"]] == ["85123A"]
    assert (decision.placement, decision.group) == ("related:similar", "unassigned")


def test_segments_and_bundles_are_for_the_server(world):
    for path, model in (("/v1/segments", answers.SegmentsModel), ("/v1/bundles", answers.BundlesModel)):
        model.model_validate(world.get(path).json())
        assert world.get(path, "client").status_code == 403


def test_health_needs_no_key_and_names_the_bundle_and_its_age(make_world):
    world = make_world(n_workers=2)
    ready = world.get("/health/ready", None).json()

    assert world.get("/health/live", None).json() == {"status": "live"}
    answers.ReadyModel.model_validate(ready)
    assert (ready["bundle_id"], ready["age_hours"]) == (world.bundle.bundle_id, 9.5)
    assert ready["warnings"] == ["2 writers"]
