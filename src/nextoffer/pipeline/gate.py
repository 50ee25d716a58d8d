"""The quality gate: tonight's recipe must beat popularity, and be about as good as what serves.

Judged one horizon before tonight, where the answer is known. Against popularity stands a ranker that saw nothing
of the judged days. What serves was taught by some of those very days, so it is held against tonight's ranker,
which was taught by them too: the same history learned twice is no worse (see docs/decisions/004-gate.md).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nextoffer.backtest.tasks import next_purchase
from nextoffer.bundle.bundle import Bundle
from nextoffer.errors import GateRefusedError
from nextoffer.models.ranker import Ranker, can_score
from nextoffer.models.recipe import Cut

METRICS = ("recall@10", "ndcg@10")
MIN_BUYERS = 30  # fewer tell nothing


@dataclass(frozen=True, slots=True)
class Verdict:
    """The quality report of tonight, and what could not be judged."""

    quality: dict[str, Any]
    warnings: list[str] = field(default_factory=list)


def gate(
    quality: dict[str, Any], cut: Cut, tonight: Ranker, before: Bundle | None, tolerance: float
) -> Verdict:
    """Let tonight's recipe pass, or refuse it.

    Parameters
    ----------
    quality : figures of a ranker taught by what was known at the cut only
    tonight : the ranker about to be published
    before : what serves now

    Raises
    ------
    GateRefusedError : it ranks worse than popularity, or worse than what serves by more than `tolerance`
    """
    methods = quality["tasks"]["next_purchase"]
    if quality["buyers"] < MIN_BUYERS:
        text = f"customers who bought after the judged date: {quality['buyers']}, too few to judge tonight's bundle"
        return Verdict(quality | {"judged": False}, [text])
    if before is None:
        text = "this is the first bundle of the folder: there is nothing yet to hold it against"
        return Verdict(quality | {"judged": False}, [text])
    if not can_score(before.taught.ranker):
        text = f"{before.bundle_id} was taught by another version of nextoffer: it cannot be held against tonight's"
        return Verdict(quality | {"judged": False}, [text])
    serving, published = (next_purchase(ranker, cut.lesson) for ranker in (before.taught.ranker, tonight))
    faults = []
    for metric in METRICS:
        ours, popular = methods["nextoffer"][metric], methods["popularity"][metric]
        if ours < popular:
            faults.append(f"{metric} {ours:.4f} is below popularity's {popular:.4f}")
        if published[metric] < serving[metric] * (1 - tolerance):
            faults.append(
                f"{metric} {published[metric]:.4f} is more than {tolerance:.0%} below the {serving[metric]:.4f} "
                "of what serves"
            )
    if faults:
        raise GateRefusedError(
            f"Tonight's bundle was refused, {before.bundle_id} stays in service: {'; '.join(faults)} "
            f"(judged on the {quality['horizon_days']} days from {quality['as_of'][:10]}). Look at the data "
            "with: nextoffer check"
        )
    return Verdict(
        quality | {"judged": True, "published": published, "in_service": {before.bundle_id: serving}}
    )
