"""Ads: custom-audience files, in which an ad platform finds customers it knows by hashes of address and phone.

A file holds who may be shown the campaign's ads, nothing about them. Who has neither an address nor a phone that
the platform could know is left out.

References
----------
Help pages of Meta (custom audiences), Google (Customer Match) and Yandex (Audience): normalise, then hash, in
lowercase hexadecimal without salt; what is empty stays empty.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.channels.cells import table_bytes
from nextoffer.channels.channel import Channel, Message, in_order
from nextoffer.channels.email import are_emails
from nextoffer.channels.files import write_atomically
from nextoffer.config import Campaign
from nextoffer.domain.arrays import Bools
from nextoffer.errors import CampaignError

# A number with its country's code, which none begins with 0; or a Russian one as dialled there, 8 and ten digits.
_PHONE: Final = r"^\s*(?:\+|00)?\s*[1-9][\d\s().\-]*$"
_BLANKS: Final = re.compile(r"\s+")
_NO_DIGIT: Final = re.compile(r"\D+")


@dataclass(frozen=True, slots=True)
class Platform:
    """What one ad platform reads: the names of its columns for e-mail and phone, their form, and its hash."""

    email: str
    phone: str
    plus: bool
    digest: Callable[[bytes], str]


def _sha256(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()


def _md5(raw: bytes) -> str:
    return hashlib.md5(raw, usedforsecurity=False).hexdigest()


PLATFORMS: Final[dict[str, Platform]] = {
    "meta": Platform("email", "phone", plus=False, digest=_sha256),
    "google": Platform("Email", "Phone", plus=True, digest=_sha256),
    "yandex": Platform("email", "phone", plus=False, digest=_md5),
}


def phone_digits(text: str) -> str:
    """A phone number as digits with its country's code; empty if it cannot be one.

    >>> phone_digits("8 (999) 555-11-11"), phone_digits("+44 20 7946 0000"), phone_digits("020 7946 0000")
    ('79995551111', '442079460000', '')
    """
    if not re.match(_PHONE, text):
        return ""
    abroad = text.lstrip().startswith(("+", "00"))
    digits = _NO_DIGIT.sub("", text).removeprefix("00")
    if not abroad and len(digits) == 11 and digits[0] == "8":
        digits = "7" + digits[1:]
    return digits if (10 if abroad else 11) <= len(digits) <= 15 else ""


def valid(column: str, texts: pa.Array) -> Bools:
    """The channel's validator: an e-mail address, or a phone number with its country's code."""
    if column == "email":
        return are_emails(pc.utf8_trim_whitespace(texts))
    return np.array([bool(phone_digits(text or "")) for text in texts.to_pylist()], dtype=bool)


def hashed(platform: Platform, message: Message) -> tuple[str, str]:
    """The hashes of a customer's e-mail and phone, empty where there is none."""
    email = _BLANKS.sub("", message.address.get("email", "")).lower()
    phone = phone_digits(message.address.get("phone", ""))
    if phone and platform.plus:
        phone = "+" + phone
    return _hash(platform, email), _hash(platform, phone)


def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> dict[str, int]:
    """Write the audience for one of PLATFORMS; people the platform would take for one are one row.

    Rows are sorted by their hashes: the order tells nothing about the customers.

    Raises
    ------
    CampaignError : a customer without any address, two messages for one, or the file cannot be written
    """
    platform = PLATFORMS[ADS.format(campaign)]
    rows = set(map(partial(hashed, platform), in_order(messages)))
    if ("", "") in rows:
        raise CampaignError("a customer of this audience has neither an e-mail address nor a phone number.")
    write_atomically(path, table_bytes((platform.email, platform.phone), sorted(rows)))
    return {}


def _hash(platform: Platform, text: str) -> str:
    return platform.digest(text.encode()) if text else ""


ADS: Final = Channel(
    name="ads",
    consent="consent_ads",
    address=("email", "phone"),
    valid=valid,
    formats=tuple(PLATFORMS),
    write=write,
    most_offers=1,
)
