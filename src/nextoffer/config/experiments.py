"""Who is held out of what: the permanent holdout, and experiments on single campaigns and kinds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from itertools import combinations
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from nextoffer.config.base import Kind, Positive, Section, Share, nearest

RESERVED = "layer"  # the hash of a layer is seeded `layer:NAME`, that of an experiment `name:version`


class Experiment(Section):
    """The permanent holdout; a change of the share needs a new version."""

    name: str = "always-on"
    version: Positive = 1
    holdout_share: Annotated[float, Field(ge=0.0, le=0.5)] = 0.05


class Trial(Section):
    """A holdout of some campaigns, of some kinds wherever they are offered, or of some kinds in some campaigns.

    Of a `layer` a customer takes part in one experiment at most: each owns the `slice` of it from a share to a
    share. Whoever is held out permanently takes part in none. `stratified`: the list of a campaign is split
    exactly inside each segment; `hash`: each customer alone, whenever an offer comes up. It runs from the day it
    `starts` to the day before it `ends`, in the shop's time. A change of anything but `ends` needs a new `version`.
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

    def runs_on(self, day: date) -> bool:
        """Whether it keeps anything back on a shop-local day."""
        return (self.starts is None or self.starts <= day) and (self.ends is None or day < self.ends)


def experiment_faults(document: Mapping[str, Any]) -> list[str]:
    """What the experiments of a document get wrong about each other and about the rest of it.

    Parameters
    ----------
    document : nextoffer.toml as parsed; what has faults of its own is told elsewhere, and passed over here
    """
    given, campaigns = _table(document, "experiments"), _table(document, "campaigns")
    trials = {name: trial for name, raw in given.items() if (trial := _trial(raw)) is not None}
    permanent = _table(document, "experiment").get("name", Experiment().name)
    faults = list(_misnamed(list(given), permanent))
    for name, trial in trials.items():
        faults += _lost_campaigns(name, trial, campaigns)
    for (one, first), (other, second) in combinations(trials.items(), 2):
        layer = first.layer or one
        if (
            layer == (second.layer or other)
            and _meet(first.slice, second.slice)
            and _same_days(first, second)
        ):
            faults.append(
                f"experiments.{other}.slice: {_span(second)} and {_span(first)} of experiments.{one} overlap in "
                f"layer {layer!r} on some days; give each a part of its own, or another layer"
            )
    return faults


def _misnamed(names: list[str], permanent: object) -> Iterator[str]:
    for name in names:
        if name == permanent:
            yield f"experiments.{name}: the permanent holdout is called {name!r} already; take another name"
        elif name == RESERVED or ":" in name or not name.strip():
            yield f"experiments.{name}: {name!r} cannot be a name: it must not be empty, {RESERVED!r}, or hold a colon"
    if names and permanent == RESERVED:
        yield f"experiment.name: {RESERVED!r} cannot be a name beside other experiments"


def _lost_campaigns(name: str, trial: Trial, campaigns: Mapping[str, Any]) -> Iterator[str]:
    for campaign in trial.campaigns:
        where = f"experiments.{name}.campaigns"
        if campaign not in campaigns:
            known = ", ".join(campaigns) or "none"
            yield f"{where}: there is no campaign {campaign!r}{nearest(campaign, campaigns)}; there are: {known}"
        elif _table(campaigns, campaign).get("channel") == "site":
            yield f"{where}: {campaign!r} is shown on the site and has no list; name kinds instead"


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] < other[1] and other[0] < one[1]


def _same_days(one: Trial, other: Trial) -> bool:
    return (one.starts or date.min) < (other.ends or date.max) and (other.starts or date.min) < (
        one.ends or date.max
    )


def _span(trial: Trial) -> str:
    return f"[{trial.slice[0]:g}, {trial.slice[1]:g}]"


def _trial(raw: object) -> Trial | None:
    try:
        return Trial.model_validate(raw)
    except ValidationError:
        return None


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}
