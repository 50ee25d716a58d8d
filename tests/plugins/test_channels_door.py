"""Channels of other packages: nobody of the holdout and nobody without consent, whatever the channel is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.plugins.conftest import Install

from nextoffer.channels.built_in import CHANNELS
from nextoffer.channels.channel import Channel, Message
from nextoffer.config import Campaign, Contact, Experiment, Source
from nextoffer.errors import PluginError
from nextoffer.offers.choosing import Policy
from nextoffer.pipeline import OpenShop, export
from nextoffer.plugins import CHANNELS_GROUP, channels
from nextoffer.testing import check_channel
from nextoffer.tracking.holdout import groups
from nextoffer.tracking.ledger import open_ledger

ADDRESS = {
    "email": "ann{n}@example.com",
    "phone": "+4420795{n}",
    "push_token": "token-of-a-device-{n}",
}
KIOSK = """
import numpy as np
from nextoffer.channels.channel import Channel, matching
from nextoffer.channels.files import write_atomically

def valid(column, texts):
    return {valid}

def write(path, messages, campaign):
    lines = sorted(message.address["phone"] for message in messages)
    write_atomically(path, "\\n".join(lines).encode())
    return {write}

KIOSK = Channel("kiosk", {consent!r}, {address!r}, valid, ("text",), write)
"""
GOOD = {
    "valid": "matching(texts, r'^\\+[0-9]+$', 20)",
    "write": "{}",
    "consent": "consent_sms",
    "address": ("phone",),
}


def kiosk(install: Install, name: str = "kiosk", **changed: Any) -> None:
    install(KIOSK.format(**GOOD | changed), {CHANNELS_GROUP: {name: "stranger:KIOSK"}})


@pytest.mark.parametrize("name", CHANNELS)
def test_our_channels_keep_the_contract(name: str) -> None:
    channel = CHANNELS[name]

    check_channel(channel, {column: ADDRESS[column] for column in channel.address})


def test_a_strangers_channel_stands_beside_our_own(install: Install) -> None:
    kiosk(install)

    there = channels()

    assert list(there) == [*CHANNELS, "kiosk"]
    check_channel(there["kiosk"], {"phone": "+4420{n}"})


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"consent": "email"}, "its consent is 'email', but must be one of consent_email"),
        ({"address": ("fax",)}, "its address is .*columns of the customer table"),
        ({"name": "pager"}, "it is declared as 'pager' and calls itself 'kiosk'"),
        ({"name": "email"}, "'nextoffer' has one of that name already"),
    ],
)
def test_what_cannot_be_a_channel_is_refused(install: Install, changed: dict[str, Any], fault: str) -> None:
    kiosk(install, **changed)

    with pytest.raises(PluginError, match=f"of the package 'stranger' is refused: .*{fault}"):
        channels()


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"valid": "[True] * len(texts)"}, r"its valid did not return \d+ booleans"),
        ({"write": "None"}, "its write did not return how many"),
        ({"write": "{'lost': 99}"}, "its write did not return how many"),
        ({"write": "1 / 0"}, "it raised ZeroDivisionError"),
    ],
)
def test_what_no_channel_may_return_is_refused_at_the_call(
    install: Install, changed: dict[str, Any], fault: str
) -> None:
    kiosk(install, **changed)

    with pytest.raises(PluginError, match=fault):
        check_channel(channels()["kiosk"], {"phone": "+4420{n}"})


def test_a_campaign_through_a_strangers_channel_reaches_no_holdout_and_nobody_without_consent(
    install: Install, tmp_path: Path, small_shop_learned: Any
) -> None:
    kiosk(install)
    small, ids = small_shop_learned, small_shop_learned.bundle.customer_ids.ids
    phones = [f"+4420{n}" if n % 3 else None for n in range(len(ids))]
    consents = [n % 2 == 0 if n % 5 else None for n in range(len(ids))]
    people = {"customer_id": ids.to_arrow(), "phone": pa.array(phones), "consent_sms": pa.array(consents)}
    pq.write_table(pa.table(people), tmp_path / "customers.parquet")
    history = small.settings.history.model_copy(
        update={"customers": Source(path=str(tmp_path / "customers.parquet"))}
    )
    settings = small.settings.model_copy(
        update={
            "history": history,
            "models_dir": tmp_path / "models",
            "campaigns": {"calls": Campaign(channel="kiosk")},
            "experiment": Experiment(holdout_share=0.3),
            "contact": Contact(cost=0.0),
        }
    )
    (tmp_path / "models").mkdir()
    shop = OpenShop(settings, small.bundle, Policy.of(settings))
    with closing(open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")) as ledger:
        report = export(shop, ledger, "calls", tmp_path / "calls.txt", small.as_of)

    called = (tmp_path / "calls.txt").read_text().split()
    free = ~groups(settings.experiment, ids)
    may = {
        phone for phone, yes, treated in zip(phones, consents, free, strict=True) if phone and yes and treated
    }
    assert len(called) == report.messages > 0
    assert set(called) <= may
    assert min(report.left_out[cause] for cause in ("no_phone", "no_consent", "holdout")) > 0


def remembering(channel: Channel) -> Channel:
    """A channel that writes to everybody it ever saw."""
    seen: list[Message] = []

    def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> Mapping[str, int]:
        known = {message.customer_id for message in seen}
        seen.extend(message for message in messages if message.customer_id not in known)
        return channel.write(path, seen, campaign)

    return replace(channel, write=write)


def careless(channel: Channel) -> Channel:
    """A channel that leaves its file to be read by all."""

    def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> Mapping[str, int]:
        found = channel.write(path, messages, campaign)
        path.chmod(0o644)
        return found

    return replace(channel, write=write)


def test_each_way_to_break_the_contract_is_noticed() -> None:
    email, address = CHANNELS["email"], {"email": ADDRESS["email"]}

    for channel, sentence in {
        "remembers": (
            remembering(email),
            "what it wrote before changes its file|order of the messages|names",
        ),
        "careless": (careless(email), "others can read its file"),
        "no consent": (replace(email, consent="joined_at"), "its consent is 'joined_at'"),
        "takes all": (
            replace(email, valid=lambda column, texts: texts.is_valid().to_numpy(False)),
            "takes ''",
        ),
    }.values():
        with pytest.raises(AssertionError, match=sentence):
            check_channel(channel, address)
