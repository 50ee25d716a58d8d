"""HTML that is escaped unless it says otherwise: a customer's or a campaign's name can never become markup."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_EMPTY = frozenset({"meta"})  # elements without an end tag


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def el(tag: str, /, *children: Child, **attributes: str | None) -> Html:
    """An element. `class_` writes class, `aria_label` aria-label; an attribute that is None is left out.

    >>> el("p", "a < b", el("b", "c"), class_="note")
    '<p class="note">a &lt; b<b>c</b></p>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if tag in _EMPTY:
        return Html(f"<{tag}{written}>")
    return Html(f"<{tag}{written}>{safe(children)}</{tag}>")


def safe(child: Child) -> str:
    """Everything but `Html` escaped; None is nothing, and the parts of a list follow each other."""
    if child is None:
        return ""
    if isinstance(child, str):
        return child if isinstance(child, Html) else escape(child)
    return "".join(map(safe, child))
