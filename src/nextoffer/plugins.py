"""The door: offer kinds, sources and channels, ours and those that other packages bring along.

Ours stand in tables below, so that they cost no search and cannot be lost with a package's metadata; a stranger's
are entry points of the same shape, looked for only where one may be needed (see docs/decisions/012-plug-in-door.md):

```toml
[project.entry-points."nextoffer.offer_kinds"]     # its name is yours to choose
gift_cards = "my_shop.gift_cards:candidates"       # offers.batch.KindFunction

[project.entry-points."nextoffer.sources"]         # its name is the scheme of the url: "myerp://…"
myerp = "my_shop.erp:open_erp"                     # sources.opening.Opener

[project.entry-points."nextoffer.channels"]        # its name is what [campaigns.NAME] channel says
kiosk = "my_shop.kiosk:KIOSK"                      # channels.channel.Channel
```

Whatever raises, or returns what it must not, is refused with one message that names it and its package.
`nextoffer.testing` holds the checks an author runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nextoffer.bundle.bundle import Bundle
from nextoffer.config import Campaign, Source
from nextoffer.domain.arrays import Bools
from nextoffer.domain.offers import Candidates
from nextoffer.errors import NextOfferError, PluginError
from nextoffer.offers import (
    abandoned,
    cross_sell,
    event,
    for_you,
    renewal,
    replenishment,
    up_sell,
    win_back,
)
from nextoffer.offers.batch import Batch, KindFunction, KindSettings
from nextoffer.offers.contract import fault_of

if TYPE_CHECKING:
    import pyarrow as pa

    from nextoffer.channels.channel import Channel, Message
    from nextoffer.sources.files import Origin

OFFER_KINDS: Mapping[str, KindFunction] = {
    "cross_sell": cross_sell.candidates,
    "up_sell": up_sell.candidates,
    "for_you": for_you.candidates,
    "abandoned": abandoned.candidates,
    "replenishment": replenishment.candidates,
    "event": event.candidates,
    "renewal": renewal.candidates,
    "win_back": win_back.candidates,
}
KINDS_GROUP, SOURCES_GROUP, CHANNELS_GROUP = (
    "nextoffer.offer_kinds",
    "nextoffer.sources",
    "nextoffer.channels",
)


@dataclass(frozen=True, slots=True)
class Plug:
    """What a stranger's package declares: `target` is "module:attribute"."""

    group: str
    name: str
    target: str
    package: str

    def load(self) -> Any:
        """Import it.

        Raises
        ------
        PluginError : it cannot be imported
        """
        from importlib.metadata import EntryPoint

        try:
            return EntryPoint(self.name, self.target, self.group).load()
        except Exception as error:
            raise self.refused(f"{self.target} cannot be imported: {_words(error)}") from error

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """Call it; what it raises becomes the one message, unless it says what is wrong with the shop's input."""
        try:
            return function(*given)
        except NextOfferError:
            raise
        except Exception as error:
            raise self.refused(f"it raised {_words(error)}") from error

    def refused(self, fault: str) -> PluginError:
        """The one message: whose it is, what is wrong, what to do."""
        return PluginError(
            f"the plug-in {self.name!r} ({self.group}) of the package {self.package!r} is refused: {fault}. "
            f"Check it with nextoffer.testing, or uninstall it with: pip uninstall {self.package}"
        )


def offer_kinds() -> Mapping[str, KindFunction]:
    """Every kind of candidates there is, ours first; strangers' are checked at each call.

    Raises
    ------
    PluginError : one cannot be imported, is no function, or has the name of another
    """
    return {
        **OFFER_KINDS,
        **{plug.name: guarded(plug, plug.load()) for plug in _strangers(KINDS_GROUP, OFFER_KINDS)},
    }


def guarded(plug: Plug, kind: KindFunction) -> KindFunction:
    """A stranger's kind that raises PluginError whenever it raises or returns what no kind may."""
    if not callable(kind):
        raise plug.refused(f"{plug.target} is a {type(kind).__name__}, not a function")

    @wraps(kind)
    def candidates(batch: Batch, bundle: Bundle, when: KindSettings) -> Candidates:
        found: Candidates = plug.call(kind, batch, bundle, when)
        if fault := fault_of(found, len(batch.rows), len(bundle.catalogue)):
            raise plug.refused(fault)
        return found

    return candidates


def channels() -> Mapping[str, Channel]:
    """Every channel there is, by the name a campaign gives it; strangers' are checked, and at each call.

    Raises
    ------
    PluginError : one cannot be imported, is not what a channel must be, or has the name of another
    """
    from nextoffer.channels.built_in import CHANNELS

    return {
        **CHANNELS,
        **{plug.name: guarded_channel(plug, plug.load()) for plug in _strangers(CHANNELS_GROUP, CHANNELS)},
    }


def guarded_channel(plug: Plug, channel: Channel) -> Channel:
    """A stranger's channel that raises PluginError whenever it raises or returns what no channel may."""
    from nextoffer.channels.contract import fault_of as fault_of_channel

    if fault := fault_of_channel(channel):
        raise plug.refused(fault)
    if channel.name != plug.name:
        raise plug.refused(f"it is declared as {plug.name!r} and calls itself {channel.name!r}")

    def valid(column: str, texts: pa.Array) -> Bools:
        good = plug.call(channel.valid, column, texts)
        if not isinstance(good, np.ndarray) or good.dtype != np.bool_ or good.shape != (len(texts),):
            raise plug.refused(f"its valid did not return {len(texts)} booleans for {len(texts)} texts")
        return good

    def write(path: Path, messages: Sequence[Message], campaign: Campaign) -> Mapping[str, int]:
        left_out: Mapping[str, int] = plug.call(channel.write, path, messages, campaign)
        whole = isinstance(left_out, Mapping) and all(isinstance(count, int) for count in left_out.values())
        if not whole or not 0 <= sum(left_out.values()) <= len(messages):
            raise plug.refused("its write did not return how many of its messages it left out, by cause")
        return left_out

    return replace(channel, valid=valid, write=write)


def open_source(source: Source, scratch: Path) -> Origin:
    """A table of the shop: files by their path, a database by its URL, or what a stranger's source opens.

    Raises
    ------
    PluginError : the stranger's source cannot be imported, raised, or returned something else
    SourceError, ConfigError : as the source says
    """
    from nextoffer.sources.files import Origin
    from nextoffer.sources.opening import open_built_in

    scheme = str(source.url or "").partition("://")[0].partition("+")[0]
    plug = (
        next((plug for plug in _strangers(SOURCES_GROUP, ()) if plug.name == scheme), None)
        if scheme
        else None
    )
    if plug is None:
        return open_built_in(source, scratch)
    origin = plug.call(plug.load(), source, scratch)
    if not isinstance(origin, Origin):
        raise plug.refused(f"it returned {type(origin).__name__}, not an Origin")
    return origin


def _strangers(group: str, ours: Mapping[str, Any] | tuple[()]) -> list[Plug]:
    """What other packages declare for a group, in order of name; none may take the name of another."""
    from importlib.metadata import entry_points

    found = [
        Plug(group, point.name, point.value, point.dist.name if point.dist else "unknown")
        for point in entry_points(group=group)
    ]
    owner = dict.fromkeys(ours, "nextoffer")
    for plug in sorted(found, key=lambda plug: (plug.name, plug.package)):
        if plug.name in owner:
            raise plug.refused(f"{owner[plug.name]!r} has one of that name already")
        owner[plug.name] = plug.package
    return sorted(found, key=lambda plug: plug.name)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
