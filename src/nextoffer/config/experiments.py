"""Who is held out of what: the permanent holdout, and experiments on single campaigns and kinds."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nextoffer.config.base import Kind, Positive, Section, Share


class Experiment(Section):
    """The permanent holdout; a change of the share needs a new version."""

    name: str = "always-on"
    version: Positive = 1
    holdout_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05


class Trial(Section):
    """A holdout of some campaigns, some kinds, or both, beside the permanent one.

    Of a `layer` a customer takes part in one experiment at most: each owns the `slice` of it from a share to a
    share. Whoever is held out permanently takes part in none. `stratified`: the list of a campaign is split
    exactly inside each segment; `hash`: each customer alone, whenever an offer comes up. A change of anything but
    `ends` needs a new `version`.
    """

    version: Positive = 1
    holdout_share: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    campaigns: tuple[str, ...] = ()
    kinds: tuple[Kind, ...] = ()
    layer: str | None = None
    slice: tuple[Share, Share] = (0.0, 1.0)
    allocation: Literal["hash", "stratified"] = "hash"
    starts: date | None = None
    ends: date | None = None

    @model_validator(mode="after")
    def _sound(self) -> Trial:
        if not (self.campaigns or self.kinds):
            raise ValueError("name the campaigns or the kinds it keeps back")
        if self.slice[0] >= self.slice[1]:
            raise ValueError("slice goes from a smaller share to a larger one, as in [0.0, 0.5]")
        if self.starts is not None and self.ends is not None and self.starts >= self.ends:
            raise ValueError("starts must lie before ends (the first day without it)")
        if self.allocation == "stratified" and not self.campaigns:
            raise ValueError("stratified needs campaigns: only a campaign has a fixed list")
        return self
