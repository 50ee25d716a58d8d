"""Push: one JSON line a message, as Firebase Cloud Messaging's HTTP v1 takes it (`messages:send`).

A sender posts each line with the shop's own credentials. A push shows one offer; everything an app needs to open it
is in `data`, whose values are all texts.

References
----------
Firebase Cloud Messaging, REST resource projects.messages: a payload holds 4,096 bytes, a time to live is at most
four weeks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa

from nextoffer.channels.channel import Channel, Message, check_addresses, in_order, matching
from nextoffer.channels.files import write_atomically
from nextoffer.channels.merge import merge_fields
from nextoffer.config import Campaign
from nextoffer.domain.arrays import Bools
from nextoffer.errors import CampaignError

PAYLOAD_BYTES: Final = 4096
TITLE_CHARACTERS: Final = 100  # screens show half of it
LEAST_BODY: Final = 20  # characters; a shorter one says nothing, and the picture goes before it
TIME_TO_LIVE: Final = 28 * 24 * 3600  # seconds, the most there is
TOO_LARGE: Final = "too_large"
_DEVICE: Final = r"^[\x21-\x7e]{8,}$"
_DEVICE_LENGTH: Final = 1024
_IMAGE: Final = re.compile(r"https?://\S+")
_DATA: Final = (
    "offer_id kind product_id title url image_url list_price final_price incentive min_order code valid_until"
).split()


def valid(column: str, texts: pa.Array) -> Bools:
    """The channel's validator: a device token is 8 to 1,024 printable ASCII characters without blanks."""
    return matching(texts, _DEVICE, _DEVICE_LENGTH)


def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> dict[str, int]:
    """Write one JSON line for each message, by customer id; one that no cutting makes fit is left out and counted.

    Raises
    ------
    CampaignError : a token that cannot be one, two messages for one customer, a message without an offer, or the
        file cannot be written
    """
    PUSH.format(campaign)
    ordered = in_order(messages)
    check_addresses("push", valid, "push_token", ordered)
    lines = [payload(message, campaign.transactional) for message in ordered]
    write_atomically(path, b"".join(line + b"\n" for line in lines if line is not None))
    return dict(Counter(TOO_LARGE for line in lines if line is None))


def payload(message: Message, transactional: bool = False) -> bytes | None:
    """The message as one JSON line of at most PAYLOAD_BYTES; None if it cannot be made to fit.

    What is too long loses the end of its body, then its picture; its link and its code are never cut.

    Raises
    ------
    CampaignError : the message has no offer
    """
    if not message.slate.offers:
        raise CampaignError(f"customer {message.customer_id!r}: a push needs an offer, but there is none.")
    document = _document(message, transactional)
    notification = document["message"]["notification"]
    body = notification["body"]
    while True:
        notification["body"] = ""
        room = PAYLOAD_BYTES - len(orjson.dumps(document))
        notification["body"] = shortened(body, room)
        if len(notification["body"]) >= min(LEAST_BODY, len(body)) and room >= 0:
            return orjson.dumps(document)
        if notification.pop("image", None) is None:
            return None
        document["message"]["data"]["image_url"] = ""


def shortened(text: str, room: int) -> str:
    """The text, or as much of its start as takes so many bytes in JSON with `…` at its end; whole characters.

    >>> shortened("жар-птица", 11), shortened("жар", 6), shortened("жар", 2)
    ('жар-…', 'жар', '')
    """
    if _json_bytes(text) <= room:
        return text
    low, high = 0, len(text)  # the longest start that fits lies in [low, high)
    while high - low > 1:
        middle = (low + high) // 2
        fits = _json_bytes(text[:middle] + "…") <= room
        low, high = (middle, high) if fits else (low, middle)
    return text[:low].rstrip() + "…" if low else ""


def _json_bytes(text: str) -> int:
    return len(orjson.dumps(text)) - 2


def _document(message: Message, transactional: bool) -> dict[str, Any]:
    offer = message.slate.offers[0]
    fields = merge_fields(offer)
    notification = {"title": fields["title"][:TITLE_CHARACTERS], "body": _body(fields)}
    if _IMAGE.fullmatch(fields["image_url"]):
        notification["image"] = fields["image_url"]
    data = {name: fields[name] for name in _DATA}
    # A newer offer takes the place of one not yet delivered, never that of a message about an order.
    collapse = "orders" if transactional else "offers"
    ends = _aware(offer.valid_until)
    seconds = int((ends - _aware(message.at)).total_seconds())
    return {
        "message": {
            "token": message.address["push_token"],
            "notification": notification,
            "data": {"decision_id": message.decision_id, "currency": message.slate.currency, **data},
            "android": {"collapse_key": collapse, "ttl": f"{min(max(seconds, 0), TIME_TO_LIVE)}s"},
            "apns": {
                "headers": {"apns-collapse-id": collapse, "apns-expiration": str(int(ends.timestamp()))}
            },
        }
    }


def _body(fields: Mapping[str, str]) -> str:
    """The reason, after what the customer gains where neither title nor reason says it."""
    reason, gain = fields["reason"], fields["incentive"]
    if not gain or gain in fields["title"] or gain in reason:
        return reason
    return f"{gain[:1].upper()}{gain[1:]}. {reason}".strip()


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


PUSH: Final = Channel(
    name="push",
    consent="consent_push",
    address=("push_token",),
    valid=valid,
    formats=("fcm",),
    write=write,
    most_offers=1,
    quiet=True,
    ending="ndjson",
)
