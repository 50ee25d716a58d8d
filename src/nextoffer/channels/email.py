"""Campaign files for e-mail services: one message per row, safe to open in a spreadsheet, written at once.

To add a format: one Layout in FORMATS.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from io import StringIO
from pathlib import Path
from typing import Final

from nextoffer.domain.offers import Offer, Slate
from nextoffer.errors import CampaignError

# A spreadsheet runs a cell that starts with one of these as a formula, some also behind blanks or quotes, or
# in full width. Where the list separator is `;`, a `;` inside a cell starts the next cell too.
_FORMULA = re.compile("(^|[;\t\r\n])(?=[\\s'\"\u00a0\u200b\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_BLANK_START = re.compile(r"[\t\r\n]")
# One @, a domain, no blanks, quotes or separators; starts as no formula does.
_EMAIL = re.compile(r"[^\W][^\s@\"(),:;<>\[\]\\\x00-\x20\x7f]*@[^\W_][^\s@\"(),:;<>\[\]\\\x00-\x20\x7f]*")
_EMAIL_LENGTH: Final = 254


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one format, and what its service allows.

    `who` names the columns of address, first name, locale, customer, decision and segment, `offer` how the
    columns of the n-th offer are called, and `parts` what stands in them. A text longer than `cell_bytes` is
    cut at a character; a link (`links`) that long is left out.
    """

    who: tuple[str, str, str, str, str, str]
    offer: str
    parts: Mapping[str, Callable[[Offer], str]]
    links: frozenset[str] = frozenset()
    cell_bytes: int | None = None
    max_custom_fields: int | None = None


@dataclass(frozen=True, slots=True)
class MessageRow:
    """One message: who gets it, in which language, and the slate it shows."""

    email: str
    first_name: str | None
    locale: str | None
    customer_id: str
    decision_id: str
    segment: str | None
    slate: Slate


def is_email(text: str | None) -> bool:
    """Whether a text can be an address: one @, a domain, no spaces, line breaks or separators.

    >>> is_email("ann@example.com"), is_email("ann@example.com\\nbcc: x@y.z"), is_email(None)
    (True, False, False)
    """
    return bool(text) and len(str(text)) <= _EMAIL_LENGTH and _EMAIL.fullmatch(str(text)) is not None


def write_csv(path: Path, rows: Sequence[MessageRow], format: str = "csv") -> int:
    """Write the campaign file in one of FORMATS and return its number of messages.

    Rows are written in order of customer id. The file appears complete or not at all.

    Raises
    ------
    CampaignError : unknown format, an address that cannot be one, one address twice for the same customer,
        or the file cannot be written.
    """
    layout = FORMATS.get(format)
    if layout is None:
        raise CampaignError(f"format {format!r} is not known; there are: {', '.join(FORMATS)}.")
    _check(rows)
    ordered = sorted(rows, key=lambda row: (row.customer_id.encode(), row.decision_id))
    # An empty file still says which columns will come.
    header = _header(layout, max((len(row.slate.offers) for row in ordered), default=1))
    text = StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(header)
    table.writerows(_line(layout, row, len(header)) for row in ordered)
    write_atomically(path, text.getvalue().encode())
    return len(rows)


def safe_cell(text: str) -> str:
    """The text, with `'` before it where a spreadsheet would run it as a formula.

    >>> safe_cell("=HYPERLINK(1)"), safe_cell("2.55"), safe_cell('"=1')
    ("'=HYPERLINK(1)", '2.55', '\\'"=1')
    """
    guarded = _FORMULA.sub(r"\1'", text)
    return "'" + guarded if _BLANK_START.match(guarded) else guarded


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside `path`, flush it to disk, and put it in place; never half a file.

    Raises
    ------
    CampaignError : the folder is missing or not writable, or the disk is full; what was there stays.
    """
    try:
        # Only its owner may read it: addresses are personal.
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise _unwritable(path, error) from error
    temporary = Path(name)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> CampaignError:
    reason = error.strerror or type(error).__name__
    return CampaignError(
        f"{path} cannot be written: {reason}. What was there is unchanged; mend it and export again."
    )


def _check(rows: Sequence[MessageRow]) -> None:
    seen: set[str] = set()
    for row in rows:
        if not is_email(row.email):
            raise CampaignError(f"customer {row.customer_id!r}: {row.email!r} is not an e-mail address.")
        if row.customer_id in seen:
            raise CampaignError(f"customer {row.customer_id!r} has two messages in one run; one is allowed.")
        seen.add(row.customer_id)


def _link(url: str | None) -> str:
    return url or ""


FORMATS: Final[dict[str, Layout]] = {
    "csv": Layout(
        who=("email", "first_name", "locale", "customer_id", "decision_id", "segment"),
        offer="offer{n}_{part}",
        parts={
            "kind": lambda offer: offer.kind,
            "title": lambda offer: offer.title,
            "url": lambda offer: _link(offer.url),
            "image_url": lambda offer: _link(offer.image_url),
            "list_price": lambda offer: offer.list_price,
            "final_price": lambda offer: offer.final_price,
            "code": lambda offer: offer.code or "",
            "valid_until": lambda offer: _utc(offer, "%Y-%m-%dT%H:%M:%SZ"),
            "reason": lambda offer: offer.reason.text,
        },
    ),
    # Audience import: columns become merge tags, at most 10 of A-Z, 0-9 and _; a text holds 255 bytes.
    "mailchimp": Layout(
        who=("Email Address", "First Name", "LOCALE", "CUSTOMERID", "DECISIONID", "SEGMENT"),
        offer="OFFER{n}{part}",
        parts={
            "": lambda offer: offer.title,
            "URL": lambda offer: _link(offer.url),
            "IMG": lambda offer: _link(offer.image_url),
            "WAS": lambda offer: offer.list_price,
            "NOW": lambda offer: offer.final_price,
            "COD": lambda offer: offer.code or "",
            "EXP": lambda offer: _utc(offer, "%Y-%m-%d"),
            "WHY": lambda offer: offer.reason.text,
        },
        links=frozenset({"URL", "IMG"}),
        cell_bytes=255,
    ),
    # Field names of importContacts: email, then custom fields of the account.
    "unisender": Layout(
        who=("email", "Name", "locale", "customer_id", "decision_id", "segment"),
        offer="offer{n}_{part}",
        parts={
            "title": lambda offer: offer.title,
            "url": lambda offer: _link(offer.url),
            "image": lambda offer: _link(offer.image_url),
            "old_price": lambda offer: offer.list_price,
            "price": lambda offer: offer.final_price,
            "code": lambda offer: offer.code or "",
            "until": lambda offer: _utc(offer, "%Y-%m-%d"),
            "reason": lambda offer: offer.reason.text,
        },
        max_custom_fields=50,
    ),
}


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


def _line(layout: Layout, row: MessageRow, width: int) -> list[str]:
    who = (row.email, row.first_name, row.locale, row.customer_id, row.decision_id, row.segment)
    cells = [_cell(layout, "", text or "") for text in who]
    cells += [
        _cell(layout, part, read(offer)) for offer in row.slate.offers for part, read in layout.parts.items()
    ]
    return cells + [""] * (width - len(cells))


def _cell(layout: Layout, part: str, text: str) -> str:
    safe = safe_cell(text)
    if layout.cell_bytes is None or len(safe.encode()) <= layout.cell_bytes:
        return safe
    # A link that was cut leads nowhere: better none.
    return "" if part in layout.links else cut_bytes(safe, layout.cell_bytes)


def cut_bytes(text: str, most: int) -> str:
    """The text, cut to so many UTF-8 bytes without splitting a character.

    >>> cut_bytes("жар", 3)
    'ж'
    """
    raw = text.encode()
    return text if len(raw) <= most else raw[:most].decode(errors="ignore")


def _utc(offer: Offer, pattern: str) -> str:
    moment = offer.valid_until
    return (moment.astimezone(UTC) if moment.tzinfo else moment).strftime(pattern)
