"""Backtest: learn before a date, score the days after, beside named baselines. No leak: dates decide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from nextoffer.backtest.tasks import run_tasks
from nextoffer.models.ranker import Ranker
from nextoffer.models.recipe import Cut, Past


def backtest(past: Past, as_of: datetime) -> dict[str, Any]:
    """Learn before `as_of` and score the horizon after it.

    The ranker is taught by the horizons that ended by `as_of`, so nothing after the date is used; where the
    history is too short for that, the combined scores are judged.
    """
    return judge(past, past.ranker(as_of), past.cut(as_of))


def judge(past: Past, ranker: Ranker, cut: Cut) -> dict[str, Any]:
    """Figures of one ranker on one cut, as `backtest --json` prints them."""
    return {
        "as_of": cut.as_of.isoformat(),
        "horizon_days": past.kitchen.horizon_days,
        "customers": len(cut.lesson.knowledge.customers),
        "buyers": len(set(cut.lesson.bought_customer.tolist())),
        "ranker": ranker.step,
        "ndcg": "the ideal list has min(k, products bought) hits",
        "tasks": run_tasks(ranker, cut.lesson, past.kitchen.seed),
    }
