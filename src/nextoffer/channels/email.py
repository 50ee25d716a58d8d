"""E-mail: campaign files for mail services, one message per row, safe to open in a spreadsheet.

To add a format: one Layout in FORMATS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa

from nextoffer.channels.cells import cut_bytes, safe_cell, table_bytes
from nextoffer.channels.channel import Channel, Message, check_addresses, in_order, matching
from nextoffer.channels.files import write_atomically
from nextoffer.channels.merge import merge_fields
from nextoffer.config import Campaign
from nextoffer.domain.arrays import Bools
from nextoffer.errors import CampaignError

# One @, a domain, no blanks, quotes or separators; starts as no formula does.
_NO: Final = r"[^\pZ\s@\"(),:;<>\[\]\\\x00-\x20\x7f]*"
_EMAIL: Final = rf"^[\p{{L}}\p{{N}}_]{_NO}@[\p{{L}}\p{{N}}]{_NO}$"
_EMAIL_LENGTH: Final = 254


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one format, and what its service allows.

    `who` names the columns of address, first name, locale, customer, decision and segment, `offer` how the
    columns of the n-th offer are called, and `parts` which merge field stands in each. A text longer than
    `cell_bytes` is cut at a character; a link (`links`) that long is left out.
    """

    who: tuple[str, str, str, str, str, str]
    offer: str
    parts: Mapping[str, str]
    links: frozenset[str] = frozenset()
    cell_bytes: int | None = None
    max_custom_fields: int | None = None


def are_emails(texts: pa.Array) -> Bools:
    """Which texts can be an address: one @, a domain, no spaces, line breaks or separators; a null is none.

    >>> are_emails(pa.array(["ann@example.com", "ann@example.com\\nbcc: x@y.z", None])).tolist()
    [True, False, False]
    """
    return matching(texts, _EMAIL, _EMAIL_LENGTH)


def valid(column: str, texts: pa.Array) -> Bools:
    """The channel's validator: an e-mail address that can be one."""
    return are_emails(texts)


def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> dict[str, int]:
    """Write the campaign's file in one of FORMATS, by customer id; nobody is left out.

    Raises
    ------
    CampaignError : an address that cannot be one, two messages for one customer, more offers than the format
        takes, or the file cannot be written
    """
    layout = FORMATS[EMAIL.format(campaign)]
    ordered = in_order(messages)
    check_addresses("email", valid, "email", ordered)
    # An empty file still says which columns will come.
    header = _header(layout, max((len(message.slate.offers) for message in ordered), default=1))
    lines = (_line(layout, message, len(header)) for message in ordered)
    write_atomically(path, table_bytes(header, lines))
    return {}


_PARTS = "kind title url image_url list_price final_price code valid_until reason incentive min_order"
FORMATS: Final[dict[str, Layout]] = {
    "csv": Layout(
        who=("email", "first_name", "locale", "customer_id", "decision_id", "segment"),
        offer="offer{n}_{part}",
        parts={part: part for part in _PARTS.split()},
    ),
    # Audience import: columns become merge tags, at most 10 of A-Z, 0-9 and _; a text holds 255 bytes.
    "mailchimp": Layout(
        who=("Email Address", "First Name", "LOCALE", "CUSTOMERID", "DECISIONID", "SEGMENT"),
        offer="OFFER{n}{part}",
        parts={
            "": "title",
            "URL": "url",
            "IMG": "image_url",
            "WAS": "list_price",
            "NOW": "final_price",
            "COD": "code",
            "EXP": "until",
            "WHY": "reason",
            "GET": "incentive",
            "MIN": "min_order",
        },
        links=frozenset({"URL", "IMG"}),
        cell_bytes=255,
    ),
    # Field names of importContacts: email, then custom fields of the account.
    "unisender": Layout(
        who=("email", "Name", "locale", "customer_id", "decision_id", "segment"),
        offer="offer{n}_{part}",
        parts={
            "title": "title",
            "url": "url",
            "image": "image_url",
            "old_price": "list_price",
            "price": "final_price",
            "code": "code",
            "until": "until",
            "reason": "reason",
            "incentive": "incentive",
            "min_order": "min_order",
        },
        max_custom_fields=50,
    ),
}

EMAIL: Final = Channel(
    name="email",
    consent="consent_email",
    address=("email",),
    valid=valid,
    formats=tuple(FORMATS),
    write=write,
)


def _header(layout: Layout, n: int) -> list[str]:
    offers = [layout.offer.format(n=i, part=part) for i in range(1, n + 1) for part in layout.parts]
    header = [*layout.who, *offers]
    most = layout.max_custom_fields
    if most is not None and len(header) - 1 > most:
        fits = (most + 1 - len(layout.who)) // len(layout.parts)
        raise CampaignError(
            f"{n} offers in a message need {len(header) - 1} custom fields, but the service takes {most}; "
            f"set n = {fits} or less in the campaign."
        )
    return header


def _line(layout: Layout, message: Message, width: int) -> list[str]:
    who = (
        message.address["email"],
        message.first_name,
        message.locale,
        message.customer_id,
        message.decision_id,
        message.segment,
    )
    cells = [_cell(layout, "", text or "") for text in who]
    for offer in message.slate.offers:
        fields = merge_fields(offer)
        cells += [_cell(layout, part, fields[name]) for part, name in layout.parts.items()]
    return cells + [""] * (width - len(cells))


def _cell(layout: Layout, part: str, text: str) -> str:
    safe = safe_cell(text)
    if layout.cell_bytes is None or len(safe.encode()) <= layout.cell_bytes:
        return safe
    # A link that was cut leads nowhere: better none.
    return "" if part in layout.links else cut_bytes(safe, layout.cell_bytes)
