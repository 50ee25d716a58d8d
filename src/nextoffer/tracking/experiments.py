"""Experiments beside the permanent holdout: who takes part, what they hold back, and what is left of a decision.

Everybody is decided on alike. What a held-out customer's experiments cover is then taken out, nothing is put in its
place, and it is kept as a ghost: a decision of its own that never leaves the house, made at the same point as the
offers of the treated leave, so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any

from nextoffer.config import Experiment, Settings, Trial
from nextoffer.domain.arrays import Bools, Ints, Strings
from nextoffer.tracking.holdout import hash_share, seed_of
from nextoffer.tracking.schema import HOLDOUT, Decision

_ALWAYS = "treated"  # the chance of a group: it belongs to what leaves and to what is held back


@dataclass(frozen=True, slots=True)
class Study:
    """An experiment of `[experiments.NAME]`: its terms and its name."""

    name: str
    trial: Trial

    @property
    def version(self) -> int:
        """Another version draws anew."""
        return self.trial.version

    @property
    def holdout_share(self) -> float:
        """Of the units that take part."""
        return self.trial.holdout_share

    @property
    def label(self) -> str:
        """`name:version`: the seed of its draw, and what its ghosts are marked with."""
        return seed_of(self)

    @property
    def layer(self) -> str:
        """The experiments of one layer share no unit; by default each has its own."""
        return self.trial.layer or self.name

    @property
    def exact(self) -> bool:
        """Whether whole lists are split exactly, rather than each unit by its own hash."""
        return self.trial.allocation == "stratified"

    def reaches(self, campaign: str | None) -> bool:
        """Whether it may hold back offers of a campaign; None = of the site."""
        return not self.trial.campaigns or campaign in self.trial.campaigns

    def covers(self, offer: Mapping[str, Any], campaign: str | None) -> bool:
        """Whether it holds back an offer of a campaign; None = of the site."""
        return self.reaches(campaign) and (not self.trial.kinds or offer["kind"] in self.trial.kinds)


Assign = Callable[[Study, Sequence[str], datetime, Sequence[str | None]], Bools]


def studies_of(settings: Settings) -> tuple[Study, ...]:
    """The configured experiments by name, whether they run or not; the permanent holdout is none of them."""
    return tuple(Study(name, trial) for name, trial in sorted(settings.experiments.items()))


def running(settings: Settings, day: date) -> tuple[Study, ...]:
    """The experiments that run on a shop-local day, by name."""
    return tuple(study for study in studies_of(settings) if study.trial.runs_on(day))


def takes_part(study: Study, unit_ids: Sequence[str] | Strings) -> Bools:
    """(n,) bool, units of the study's slice of its layer; those of the permanent holdout are not left out here."""
    low, high = study.trial.slice
    share = hash_share(f"layer:{study.layer}", unit_ids)
    inside: Bools = (share >= low) & (share < high)
    return inside


def held_out_of(
    assign: Assign,
    studies: Sequence[Study],
    unit_ids: Sequence[str],
    strata: Sequence[str | None],
    at: datetime,
    asked: Callable[[Study], Ints],
) -> list[tuple[Study, ...]]:
    """For each unit the studies that hold it out; whoever takes part for the first time is assigned.

    Parameters
    ----------
    assign : the ledger's
    unit_ids, strata : (n,) units outside the permanent holdout, or `asked` must pass over it
    asked : the places (k,) of the units a study is to take in, as far as they lie in its slice. It must not depend on
        what other studies hold back, so that none has a say in who takes part in another
    """
    found: list[tuple[Study, ...]] = [()] * len(unit_ids)
    for study in studies:
        places = asked(study)
        if len(places):
            places = places[takes_part(study, [unit_ids[place] for place in places.tolist()])]
        units = [unit_ids[place] for place in places.tolist()]
        if units:
            out = assign(study, units, at, [strata[place] for place in places.tolist()])
            for place in places[out].tolist():
                found[place] = (*found[place], study)
    return found


def withhold(decision: Decision, studies: Sequence[Study]) -> tuple[Decision, tuple[Decision, ...]]:
    """What is left of a decision on a unit that some studies hold out, and the ghosts of what each held back.

    An offer that several of them cover goes to the first one's ghost: what is left and the ghosts together are the
    slate. The chances of what was drawn go with it.

    Parameters
    ----------
    studies : those the unit is held out of

    Returns
    -------
    (the decision without the covered offers; a decision for each study that held some back)
    """
    ghosts = []
    for study in studies:
        back = [offer for offer in decision.slate if study.covers(offer, decision.campaign)]
        if not back:
            continue
        left = [offer for offer in decision.slate if not study.covers(offer, decision.campaign)]
        own, others = _split(decision.propensities, {_key(offer) for offer in back})
        ghosts.append(
            replace(
                decision,
                decision_id=f"{decision.decision_id}:{study.name}",
                group=HOLDOUT,
                slate=back,
                propensities=own,
                withheld_by=study.label,
            )
        )
        decision = replace(decision, slate=left, propensities=others)
    return decision, tuple(ghosts)


def terms_of(experiment: Experiment | Study) -> dict[str, Any]:
    """What may not change while an experiment's version lasts, as it is written beside its first assignment."""
    if isinstance(experiment, Experiment):
        return experiment.model_dump(mode="json")
    trial = experiment.trial
    return {
        "salt": experiment.label,
        "layer": experiment.layer,
        "slice": list(trial.slice),
        "holdout_share": trial.holdout_share,
        "campaigns": sorted(set(trial.campaigns)),
        "kinds": sorted(set(trial.kinds)),
        "allocation": trial.allocation,
        "starts": None if trial.starts is None else trial.starts.isoformat(),
    }


def _key(offer: Mapping[str, Any]) -> str:
    """What the chances of an offer are called by."""
    return f"{offer['kind']}:{offer['product_id'] or ''}"


def _split(chances: Mapping[str, Any] | None, keys: set[str]) -> tuple[Any, Any]:
    """The chances of some offers, and those of all others; None where there are none."""
    if chances is None:
        return None, None
    own = {key: value for key, value in chances.items() if key in keys or key == _ALWAYS}
    others = {key: value for key, value in chances.items() if key not in keys}
    return own or None, others or None
