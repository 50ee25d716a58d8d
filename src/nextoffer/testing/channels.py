"""The contract of channels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from nextoffer.channels.channel import Channel, Message
from nextoffer.channels.contract import fault_of
from nextoffer.config import Campaign
from nextoffer.domain.offers import Offer, Reason, Slate
from nextoffer.testing.refusing import refuse_if

AT = datetime(2026, 11, 22, 9, tzinfo=UTC)


def check_channel(channel: Channel, address: dict[str, str]) -> None:
    """Write messages through a channel; nobody may appear in its file but those it was given this time.

    The pipeline hands a channel nobody of the holdout and nobody who lacks its consent or address; this proves
    that the channel names a real consent, refuses what is no address, and remembers nobody from another run.

    Parameters
    ----------
    address : a valid text for each of the channel's address columns; `{n}` in it stands for a number, so that
        customers differ

    Raises
    ------
    AssertionError : it does not keep to the contract
    """
    fault = fault_of(channel)
    refuse_if(fault, f"{fault}")
    _check_addresses(channel, address)
    messages = [_message(number, address) for number in range(5)]
    for name in channel.formats:
        with TemporaryDirectory() as folder:
            _check_files(channel, Campaign(channel=channel.name, format=name), messages, Path(folder))


def _check_files(channel: Channel, campaign: Campaign, messages: Sequence[Message], folder: Path) -> None:
    every = _written(channel, campaign, messages, folder / "every")
    turned = _written(channel, campaign, messages[::-1], folder / "turned")
    refuse_if(every != turned, "the order of the messages changes its file")
    some = _written(channel, campaign, messages[:2], folder / "every")  # as a run that is repeated
    other = _written(channel, campaign, messages[:2], folder / "other")
    refuse_if(some != other, "what it wrote before changes its file")
    for gone in messages[2:]:
        traces = [gone.customer_id, gone.decision_id, *gone.address.values()]
        seen = next((trace for trace in traces if trace.encode() in some), None)
        refuse_if(seen, f"its file names {seen!r}, who got no message this time")
    nobody = _written(channel, campaign, [], folder / "nobody")
    named = any(message.customer_id.encode() in nobody for message in messages)
    refuse_if(named, "it writes to somebody without a message")


def _written(channel: Channel, campaign: Campaign, messages: Sequence[Message], path: Path) -> bytes:
    left_out = channel.write(path, messages, campaign)
    refuse_if(sum(left_out.values()) > len(messages), "it leaves out more messages than it got")
    refuse_if(not path.is_file(), "it wrote no file")
    mode = S_IMODE(path.stat().st_mode)
    refuse_if(mode & 0o077, f"others can read its file (mode {mode:o}); addresses are personal")
    return path.read_bytes()


def _check_addresses(channel: Channel, address: dict[str, str]) -> None:
    refuse_if(
        set(address) - set(channel.address), f"address columns are {channel.address}, not {tuple(address)}"
    )
    for column, text in address.items():
        texts = [text.replace("{n}", "1000"), "", " ", "x\ny", "\x00"]
        good = channel.valid(column, pa.array(texts, pa.string()))
        refuse_if(np.shape(good) != (len(texts),), "its valid does not say one thing of each text")
        refuse_if(not good[0], f"its valid refuses {texts[0]!r}")
        for at in range(1, len(texts)):
            refuse_if(good[at], f"its valid takes {texts[at]!r} for an address ({column})")


def _message(number: int, address: dict[str, str]) -> Message:
    customer = f"customer-{number}-of-the-check"
    offer = Offer(
        offer_id=f"offer-{number}",
        kind="for_you",
        product_id="P1",
        title="Tea",
        url="https://shop.example/p/1",
        image_url=None,
        list_price="2.55",
        final_price="2.30",
        incentive={"type": "percent", "value": "10"},
        incentive_text="10% off",
        code=f"CODE{number}",
        valid_until=datetime(2026, 12, 6, 23, 59, 59, tzinfo=UTC),
        p_buy=0.1,
        expected_profit=0.4,
        reason=Reason("popular-now", "Popular in the shop now."),
    )
    return Message(
        address={column: text.replace("{n}", str(1000 + number)) for column, text in address.items()},
        first_name="Ann",
        locale="en",
        customer_id=customer,
        decision_id=f"decision-{number}-of-the-check",
        segment="loyal",
        slate=Slate(customer, "bundle", "EUR", "loyal", None, (offer,)),
        at=AT,
    )
