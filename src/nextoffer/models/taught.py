"""What is taught by what customers bought after moments of the past: three models from the same lessons.

They read knowledge, never ids, so those of one night serve the next nights' knowledge too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nextoffer.models import ranker as ranking
from nextoffer.models import up_sell as steps_up
from nextoffer.models.due import Due, fit_due
from nextoffer.models.habits import HABIT_FEATURES
from nextoffer.models.ranker import MIN_POSITIVES, Lesson, Ranker, fit_ranker
from nextoffer.models.up_sell import UpSell, fit_up_sell

TOO_SHORT = "history shorter than two horizons"


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """The models, when they were taught, and why the ranker stands on its step of the ladder.

    Parameters
    ----------
    at : nothing after this moment was looked at
    """

    ranker: Ranker
    up_sell: UpSell
    due: Due
    at: datetime
    reason: str

    def to_json(self) -> dict[str, str]:
        """When and why, for the manifest and the quality report."""
        return {
            "taught_at": self.at.isoformat(),
            "ranker": self.ranker.step,
            "ranker_reason": self.reason,
            "up_sell": self.up_sell.step,
            "due": self.due.choice.method,
        }


def fit_taught(lessons: Sequence[Lesson], at: datetime, horizon_days: int, seed: int) -> Taught:
    """Teach all three.

    Parameters
    ----------
    lessons : newest first; none where the history is too short, and then each model is its plainest self
    """
    ranker = fit_ranker(lessons, horizon_days, seed)
    up_sell = fit_up_sell(lessons, horizon_days, seed)
    due = fit_due(lessons, horizon_days, seed)
    return Taught(ranker, up_sell, due, at, reason_of(ranker, len(lessons)))


def reason_of(ranker: Ranker, n_lessons: int) -> str:
    """Why the ranker stands on the step of the ladder it stands on."""
    if not n_lessons:
        return TOO_SHORT
    untaught = [what for what, view in (("repeat", ranker.repeat), ("first", ranker.explore)) if view is None]
    if untaught:
        return f"fewer than {MIN_POSITIVES} {' and '.join(untaught)} purchases in the lessons"
    return f"at least {MIN_POSITIVES} repeat and first purchases in the lessons"


def can_score(taught: Taught) -> bool:
    """Whether stored models know the features of this version."""
    kernel, boosting = taught.due.kernel, taught.due.boosting
    parts = [part.features for part in (kernel, boosting) if part is not None]
    return (
        ranking.can_score(taught.ranker)
        and steps_up.can_score(taught.up_sell)
        and all(features == HABIT_FEATURES for features in parts)
    )
