"""The channels nextoffer brings along; a shop's own come through the same door (see plugins.py)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nextoffer.channels.ads import ADS
from nextoffer.channels.channel import Channel
from nextoffer.channels.email import EMAIL
from nextoffer.channels.push import PUSH

CHANNELS: Final[Mapping[str, Channel]] = {channel.name: channel for channel in (EMAIL, PUSH, ADS)}
