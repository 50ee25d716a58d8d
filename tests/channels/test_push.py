"""Push: every line is what FCM takes: valid, small enough, and complete where it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nextoffer.channels.channel import Message
from nextoffer.channels.push import PUSH, payload, shortened, valid, write
from nextoffer.config import Campaign
from nextoffer.domain.offers import Offer, Reason
from nextoffer.errors import CampaignError

LIMIT = 4096  # bytes, of FCM's documentation
CAMPAIGN = Campaign(channel="push")
TOKEN = "dQw4w9WgXcQ:APA91bH-" + "x_" * 60
Make = Callable[..., Message]
anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)


@pytest.fixture
def push(message: Make) -> Make:
    def make(customer_id: str = "17850", *offers: Offer, token: str = TOKEN, **changes: Any) -> Message:
        return message(customer_id, *offers, address={"push_token": token}, **changes)

    return make


def read(line: bytes | None) -> dict[str, Any]:
    assert line is not None
    document = json.loads(line.decode("utf-8"))
    assert list(document) == ["message"]
    return document["message"]  # type: ignore[no-any-return]


def test_a_message_has_the_fields_of_fcm_and_everything_an_app_needs(push: Make):
    sent = read(payload(push()))

    assert sent["token"] == TOKEN
    assert sent["notification"] == {
        "title": "White hanging heart",
        "body": "It has been 90 days, here is 10% off.",
        "image": "https://shop.example/i/85123A.jpg",
    }
    assert sent["data"] == {
        "decision_id": "d1",
        "currency": "GBP",
        "offer_id": "o1",
        "kind": "win_back",
        "product_id": "85123A",
        "title": "White hanging heart",
        "url": "https://shop.example/p/85123A",
        "image_url": "https://shop.example/i/85123A.jpg",
        "list_price": "2.55",
        "final_price": "2.30",
        "incentive": "10% off",
        "min_order": "30.00",
        "code": "BACK10",
        "valid_until": "2026-12-06T23:59:59Z",
    }
    seconds = 14 * 86_400 + 15 * 3_600 - 1
    assert sent["android"] == {"collapse_key": "offers", "ttl": f"{seconds}s"}
    expires = str(int(datetime(2026, 12, 6, 23, 59, 59, tzinfo=UTC).timestamp()))
    assert sent["apns"] == {"headers": {"apns-collapse-id": "offers", "apns-expiration": expires}}


def test_what_is_gained_is_told_once_and_first(push: Make, offer: Offer, basket_offer: Offer):
    def body(made: Offer, **changes: Any) -> str:
        return str(read(payload(push("1", replace(made, **changes))))["notification"]["body"])

    silent = Reason("popular-now", "Popular in the shop now.")
    assert body(offer, reason=silent) == "10% off. Popular in the shop now."
    assert body(offer, incentive_text="скидка 10 %", reason=silent).startswith("Скидка 10 %. ")
    assert body(offer) == "It has been 90 days, here is 10% off."
    assert body(offer, incentive_text="", reason=silent) == "Popular in the shop now."
    assert body(basket_offer, reason=silent) == "Popular in the shop now."  # the title says it


def test_an_offer_on_the_whole_basket_is_told_in_its_words(push: Make, basket_offer: Offer):
    sent = read(payload(push("1", basket_offer)))

    assert sent["notification"]["title"] == "£5.00 off the whole order"
    assert "image" not in sent["notification"]
    data = sent["data"]
    assert [data[name] for name in ("product_id", "url", "list_price", "final_price")] == [""] * 4
    assert (data["incentive"], data["min_order"], data["code"]) == (
        "£5.00 off the whole order",
        "30.00",
        "BACK10",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    title=anything, reason=anything, repeat=st.integers(1, 80), link=st.integers(0, 4000), picture=anything
)
def test_whatever_is_said_a_line_is_valid_json_within_the_limit_or_refused(
    push: Make, offer: Offer, title: str, reason: str, repeat: int, link: int, picture: str
):
    made = replace(
        offer,
        title=title,
        incentive_text="",
        reason=Reason("x", reason * repeat),
        url="https://shop.example/" + "x" * link,
        image_url="https://shop.example/" + picture,
    )
    line = payload(push("1", made))

    if line is None:
        bare = replace(made, reason=Reason("x", ""), image_url=None)
        # only where link and title leave no room for a short text
        assert len(payload(push("1", replace(bare, url=None))) or b"") + link > LIMIT - 200 - 4 * len(picture)
        return
    assert len(line) <= LIMIT
    assert b"\n" not in line
    sent = read(line)
    assert all(isinstance(value, str) for value in sent["data"].values())
    assert sent["data"]["url"] == made.url
    body = sent["notification"]["body"]
    assert body == reason * repeat or (
        body.endswith("…") and (reason * repeat).startswith(body[:-1]) and len(body) >= 20
    )


def test_a_long_body_is_shortened_first_then_the_picture_goes_then_the_message(push: Make, offer: Offer):
    long = replace(offer, reason=Reason("x", "ж" * 3000))
    long = replace(long, incentive_text="")
    cut = read(payload(push("1", long)))
    assert cut["notification"]["body"] == "ж" * cut["notification"]["body"].count("ж") + "…"
    assert LIMIT - 2 <= len(payload(push("1", long)) or b"") <= LIMIT
    assert "image" in cut["notification"]

    bare = len(payload(push("1", replace(long, url=None, reason=Reason("x", "")))) or b"")

    def with_room(room: int) -> bytes | None:
        """With a link so long that a text has `room` bytes beside the picture."""
        return payload(push("1", replace(long, url="x" * (LIMIT - bare - room))))

    assert "image" in read(with_room(45))["notification"]
    without = read(with_room(30))
    assert "image" not in without["notification"]
    assert without["data"]["image_url"] == ""
    assert len(without["notification"]["body"]) >= 20
    assert with_room(-200) is None


def test_a_message_too_large_is_left_out_and_counted(push: Make, offer: Offer, tmp_path: Path):
    huge = replace(offer, url="https://shop.example/" + "x" * 5000)
    path = tmp_path / "push.ndjson"
    refused = write(path, [push("1", huge), push("2"), push("3", huge)], CAMPAIGN)

    assert refused == {"too_large": 2}
    (line,) = path.read_bytes().splitlines()
    assert read(line)["data"]["decision_id"] == "d1"


def test_the_file_is_the_same_in_any_order_private_and_one_line_a_customer(push: Make, tmp_path: Path):
    rows = [push("b", decision_id="db"), push("a", decision_id="da"), push("ж", decision_id="dz")]
    one, two = tmp_path / "one", tmp_path / "two"
    assert write(one, rows, CAMPAIGN) == write(two, rows[::-1], CAMPAIGN) == {}

    assert one.read_bytes() == two.read_bytes()
    assert one.stat().st_mode & 0o777 == 0o600
    lines = [read(line) for line in one.read_bytes().splitlines()]
    assert [line["data"]["decision_id"] for line in lines] == ["da", "db", "dz"]
    assert write(tmp_path / "empty", [], CAMPAIGN) == {}
    assert (tmp_path / "empty").read_bytes() == b""


def test_a_token_that_is_none_an_empty_slate_and_a_second_message_are_refused(
    push: Make, message: Make, tmp_path: Path
):
    with pytest.raises(CampaignError, match="'1': push_token is not an address"):
        write(tmp_path / "x", [push("1", token="bad token")], CAMPAIGN)
    with pytest.raises(CampaignError, match="two messages"):
        write(tmp_path / "x", [push("1"), push("1")], CAMPAIGN)
    empty = push("1")
    with pytest.raises(CampaignError, match="needs an offer"):
        write(tmp_path / "x", [replace(empty, slate=replace(empty.slate, offers=()))], CAMPAIGN)
    with pytest.raises(CampaignError, match='"csv" is not one of channel "push"'):
        write(tmp_path / "x", [push()], Campaign(channel="push", format="csv"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("days", "ttl"), [(0, "0s"), (-1, "0s"), (1, "86400s"), (28, "2419200s"), (400, "2419200s")]
)
def test_a_message_lives_as_long_as_its_offer_and_never_beyond_four_weeks(
    push: Make, offer: Offer, days: int, ttl: str
):
    at = datetime(2026, 11, 22, 9, tzinfo=UTC)
    made = replace(offer, valid_until=at + timedelta(days=days))

    assert read(payload(push("1", made, at=at)))["android"]["ttl"] == ttl


def test_an_order_s_own_message_does_not_take_the_place_of_an_offer(push: Make, tmp_path: Path):
    write(tmp_path / "x", [push()], Campaign(channel="push", transactional=True))

    assert read((tmp_path / "x").read_bytes())["android"]["collapse_key"] == "orders"


@given(anything, st.integers(-5, 120))
def test_a_shortened_text_is_the_longest_start_that_fits(text: str, room: int):
    cut = shortened(text, room)

    def size(some: str) -> int:
        return len(json.dumps(some, ensure_ascii=False).encode()) - 2

    if size(text) <= room:
        assert cut == text
        return
    assert cut == "" or (size(cut) <= room and cut.endswith("…") and text.startswith(cut[:-1]))
    starts = [text[:n] for n in range(1, len(text)) if size(text[:n] + "…") <= room]
    longest = starts[-1].rstrip() if starts else ""
    assert cut == (longest + "…" if starts else "")


def test_what_can_be_a_token():
    texts = [TOKEN, "a" * 64, "short", "with blank in it", "line\nbreak-------", "ключ-ключ-ключ", "x" * 1025]

    assert valid("push_token", pa.array(texts)).tolist() == [True, True, False, False, False, False, False]
    assert (PUSH.consent, PUSH.most_offers, PUSH.quiet) == ("consent_push", 1, True)
