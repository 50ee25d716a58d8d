"""Cells of tables people open in a spreadsheet: no formula runs, no text is longer than its service takes."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from io import StringIO

# A spreadsheet runs a cell that starts with one of these as a formula, some also behind blanks or quotes, or
# in full width. Where the list separator is `;`, a `;` inside a cell starts the next cell too.
_FORMULA = re.compile("(^|[;\t\r\n])(?=[\\s'\"\u00a0\u200b\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20])")
_SIGN = re.compile("[=+\\-@\uff1d\uff0b\uff0d\uff20]")


def safe_cell(text: str) -> str:
    """The text, with `'` before it where a spreadsheet would run it as a formula.

    >>> safe_cell("=HYPERLINK(1)"), safe_cell("2.55"), safe_cell('"=1')
    ("'=HYPERLINK(1)", '2.55', '\\'"=1')
    """
    guarded = _FORMULA.sub(r"\1'", text) if _SIGN.search(text) else text
    return "'" + guarded if guarded.startswith(("\t", "\r", "\n")) else guarded


def cut_bytes(text: str, most: int) -> str:
    """The text, cut to so many UTF-8 bytes without splitting a character.

    >>> cut_bytes("жар", 3)
    'ж'
    """
    raw = text.encode()
    return text if len(raw) <= most else raw[:most].decode(errors="ignore")


def table_bytes(header: Sequence[str], lines: Iterable[Sequence[str]]) -> bytes:
    """A CSV table in UTF-8, lines ending as RFC 4180 says."""
    text = StringIO(newline="")
    table = csv.writer(text, lineterminator="\r\n")
    table.writerow(header)
    table.writerows(lines)
    return text.getvalue().encode()
