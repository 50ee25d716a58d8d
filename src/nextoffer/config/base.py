"""The words nextoffer.toml is written in, and what all its tables share."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal[
    "cross_sell", "up_sell", "for_you", "abandoned", "replenishment", "event", "renewal", "win_back"
]
Incentive = Literal["none", "percent", "amount", "fixed_price", "free_shipping", "gift", "points"]
Channel = Literal["email", "push", "ads", "site"]
Language = Literal["en", "ru"]
Segment = Literal[
    "champions",
    "loyal",
    "potential_loyalist",
    "new",
    "promising",
    "needs_attention",
    "at_risk",
    "hibernating",
    "lost",
]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Money = Annotated[Decimal, Field(ge=0, le=1_000_000_000, allow_inf_nan=False)]


class Section(BaseModel):
    """One table of nextoffer.toml: frozen, and an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint at the known word that is most like a wrong one; empty if none is."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
