"""What is taught by the same lessons: which step, why, and whether stored models fit this version."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.models.ranker import Lesson
from nextoffer.models.taught import TOO_SHORT, can_score, fit_taught


def test_a_short_history_and_a_quiet_one_are_told_apart(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    knowledge = shop.earlier.lesson.knowledge
    quiet = Lesson(knowledge, np.arange(5), np.arange(5))

    short = fit_taught([], shop.as_of, 28, seed=0)
    untaught = fit_taught([quiet], shop.as_of, 28, seed=0)

    assert (short.ranker.step, short.reason) == ("combined", TOO_SHORT)
    assert untaught.ranker.step == "combined"
    assert untaught.reason == "fewer than 100 repeat and first purchases in the lessons"
    assert short.to_json() | {"ranker_reason": ""} == {
        "taught_at": shop.as_of.isoformat(),
        "ranker": "combined",
        "ranker_reason": "",
        "up_sell": "popular",
        "due": "poisson-gamma",
    }


def test_a_taught_shop_says_so(shop_bundle: Bundle) -> None:
    taught = shop_bundle.taught

    assert (taught.ranker.step, taught.at) == ("mixture", shop_bundle.as_of)
    assert taught.reason == "at least 100 repeat and first purchases in the lessons"
    assert can_score(taught)


@pytest.mark.parametrize("part", ["up_sell", "due"])
def test_models_that_know_other_features_cannot_score_here(part: str, shop_bundle: Bundle) -> None:
    taught = shop_bundle.taught
    others: dict[str, Any] = {
        "up_sell": replace(taught.up_sell, step="logistic", features=("age",)),
        "due": replace(taught.due, kernel=replace(curves_of(shop_bundle), features=("age",))),
    }

    assert not can_score(replace(taught, **{part: others[part]}))


def curves_of(bundle: Bundle) -> Any:
    assert bundle.taught.ranker.repeat is not None
    return bundle.taught.ranker.repeat.curves
