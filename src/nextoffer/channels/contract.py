"""What a channel must be: asked of every stranger's channel before a campaign goes through it."""

from __future__ import annotations

from typing import Final

from nextoffer.channels.channel import Channel
from nextoffer.domain.tables import CUSTOMERS

CONSENTS: Final[tuple[str, ...]] = tuple(
    column.name for column in CUSTOMERS.columns if column.name.startswith("consent_")
)


def fault_of(channel: object) -> str | None:
    """The first thing that is wrong with a channel, in words; None if nothing is.

    Its consent is what keeps unconsented customers from it, so it must be one of the customer table's consents.
    """
    if not isinstance(channel, Channel):
        return f"it is a {type(channel).__name__}, not a Channel"
    if channel.consent not in CONSENTS:
        return f"its consent is {channel.consent!r}, but must be one of {', '.join(CONSENTS)}"
    unknown = [name for name in channel.address if CUSTOMERS.column(name) is None]
    if unknown or not channel.address:
        return f"its address is {channel.address!r}, but must be columns of the customer table"
    if not channel.formats:
        return "it has no format; give one at least, the usual one first"
    return None
