"""Who may ask: keys of two scopes, and tokens that let a browser speak for one customer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest

from nextoffer.api.problems import RefusedError
from nextoffer.api.security import check_keys, sign_customer_token, verify_customer_token
from nextoffer.config import Secrets
from nextoffer.errors import ConfigError, RequestError

OFFERS = "/v1/customers/17850/offers"


def by_hand(payload: object, key: str) -> str:
    """The token as another language would make it from the documentation."""
    body = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=")
    signature = base64.urlsafe_b64encode(hmac.new(key.encode(), body, hashlib.sha256).digest())
    return f"{body.decode()}.{signature.rstrip(b'=').decode()}"


def ask_with(world, token, customer_id="17850"):
    return world.get(f"/v1/customers/{customer_id}/offers", "client", headers={"X-Customer-Token": token})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "wrong"},
        {"Authorization": "Basic c2VydmVy"},
        {"Authorization": "Bearer "},
        {"X-API-Key": ""},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", OFFERS),
        ("POST", "/v1/recommend"),
        ("POST", "/v1/events"),
        ("GET", "/v1/products/22423/related"),
        ("GET", "/v1/segments"),
        ("GET", "/v1/bundles"),
    ],
)
def test_without_a_known_key_nothing_is_answered(world, method, path, headers):
    answer = world.ask(method, path, None, headers=headers, content=b"[]" if method == "POST" else None)

    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:nextoffer:problem:unauthorized"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert world.ledger.decided == {}


def test_either_header_carries_a_key(world):
    assert world.get(OFFERS, None, headers={"Authorization": f"Bearer {world.server_key}"}).status_code == 200
    assert world.get(OFFERS, None, headers={"X-API-Key": world.server_key}).status_code == 200


def test_a_client_key_needs_a_token_whether_or_not_the_customer_exists(world):
    for customer_id in ("17850", "nobody"):
        for answer in (
            world.get(f"/v1/customers/{customer_id}/offers", "client"),
            world.post("/v1/recommend", {"customer_id": customer_id}, "client"),
        ):
            assert answer.status_code == 401
            assert answer.json()["type"] == "urn:nextoffer:problem:customer-token-required"


def test_a_token_made_from_the_documentation_alone_opens_the_door(world):
    token = by_hand({"sub": "17850", "exp": int(world.now.timestamp()) + 600}, world.signing_key)

    assert ask_with(world, token).status_code == 200


def test_a_token_of_another_customer_is_forbidden(world):
    token = sign_customer_token("12583", world.signing_key, world.now + timedelta(minutes=5))

    answer = ask_with(world, token)

    assert answer.status_code == 403
    assert answer.json()["field"] == "customer_id"


def test_a_token_lives_until_its_last_second_and_not_longer(world):
    last_second = sign_customer_token("17850", world.signing_key, world.now + timedelta(seconds=1))
    expired = sign_customer_token("17850", world.signing_key, world.now)

    assert ask_with(world, last_second).status_code == 200
    answer = ask_with(world, expired)
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:nextoffer:problem:expired-customer-token"


def test_a_token_may_not_live_longer_than_an_hour(world):
    hour = sign_customer_token("17850", world.signing_key, world.now + timedelta(hours=1))
    day = sign_customer_token("17850", world.signing_key, world.now + timedelta(days=1))

    assert ask_with(world, hour).status_code == 200
    assert ask_with(world, day).status_code == 401


def test_changing_any_character_of_a_token_spoils_it(world):
    token = sign_customer_token("17850", world.signing_key, world.now + timedelta(minutes=5))
    key = world.signing_key.encode()
    assert verify_customer_token(token, key, world.now) == "17850"

    # The last character of unpadded base64 carries bits that mean nothing.
    for at in range(len(token) - 1):
        if token[at] == ".":
            continue
        changed = token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :]
        with pytest.raises(RefusedError):
            verify_customer_token(changed, key, world.now)


@pytest.mark.parametrize("token", ["", ".", "x", "a.b", "a.b.c", "é.é", "." * 5_000, "e30.e30"])
def test_rubbish_is_no_token(world, token):
    with pytest.raises(RefusedError):
        verify_customer_token(token, world.signing_key.encode(), world.now)


@pytest.mark.parametrize(
    "claims",
    [{}, [], {"sub": "17850"}, {"sub": 17850, "exp": 1e10}, {"sub": "", "exp": 9}, {"sub": "1", "exp": True}],
)
def test_a_signed_payload_that_says_too_little_is_no_token(world, claims):
    assert ask_with(world, by_hand(claims, world.signing_key)).status_code == 401


def test_without_a_signing_key_no_token_is_good(make_world):
    world = make_world(secrets=Secrets(client_keys=("client-key-" + "c" * 32,)))
    token = sign_customer_token("17850", world.signing_key, world.now + timedelta(minutes=5))

    assert ask_with(world, token).status_code == 401


def test_a_moment_without_zone_signs_nothing(world):
    with pytest.raises(RequestError):
        sign_customer_token("17850", world.signing_key, world.now.replace(tzinfo=None))


def test_serving_without_keys_is_refused_and_the_way_out_is_told():
    with pytest.raises(ConfigError, match="NEXTOFFER_SERVER_KEYS"):
        check_keys(Secrets(), "127.0.0.1", insecure=False)
    with pytest.raises(ConfigError, match="loopback only"):
        check_keys(Secrets(), "0.0.0.0", insecure=True)
    with pytest.raises(ConfigError, match="loopback only"):
        check_keys(Secrets(server_keys=("k",)), "", insecure=True)
    with pytest.raises(ConfigError, match="same key"):
        check_keys(Secrets(server_keys=("k",), client_keys=("k",)), "0.0.0.0", insecure=False)
    check_keys(Secrets(), "127.0.0.1", insecure=True)
    check_keys(Secrets(server_keys=("k",)), "0.0.0.0", insecure=False)


def test_insecure_lets_a_request_without_key_act_as_the_server_but_no_other_page_read_it(make_world):
    world = make_world(secrets=Secrets(), insecure=True)

    answer = world.get(OFFERS, None, headers={"Origin": "https://elsewhere.example"})

    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_a_browser_on_another_origin_may_ask_with_its_key(world):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    preflight = world.ask(
        "OPTIONS",
        OFFERS,
        None,
        headers={**asked, "Access-Control-Request-Headers": "x-api-key, x-customer-token"},
    )

    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in preflight.headers
