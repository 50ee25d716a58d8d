"""The plug points: offer kinds and export formats. Built-ins come through the same door as strangers' own."""

from __future__ import annotations

from collections.abc import Mapping

from nextoffer.offers import cross_sell, for_you, replenishment, up_sell, win_back
from nextoffer.offers.batch import KindFunction

OFFER_KINDS: Mapping[str, KindFunction] = {
    "cross_sell": cross_sell.candidates,
    "up_sell": up_sell.candidates,
    "for_you": for_you.candidates,
    "replenishment": replenishment.candidates,
    "win_back": win_back.candidates,
}
