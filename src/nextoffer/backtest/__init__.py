"""Backtest: learn before a date, score the days after, beside named baselines. No leak: dates decide."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from nextoffer.backtest.tasks import run_tasks
from nextoffer.models.recipe import Cut, Kitchen, cut_at, teach

HEADLINES = {
    "next_purchase": ("recall@10", "ndcg@10", "hit@10"),
    "explore": ("recall@10", "ndcg@10", "hit@10"),
    "up_sell": ("recall@5", "ndcg@5", "hit@5"),
    "replenishment": ("pr_auc", "roc_auc", "brier"),
    "lapse": ("pr_auc", "roc_auc", "brier"),
}


def backtest(kitchen: Kitchen, as_of: datetime, stride: int, first_order_at: datetime) -> dict[str, Any]:
    """Learn before `as_of` and score the horizon after it.

    The ranker is taught by the horizon before `as_of` (knowledge of one horizon earlier), so nothing after
    the date is used; where the history is too short for that, the combined scores are judged.
    """
    horizon = timedelta(days=kitchen.horizon_days)
    earlier = cut_at(kitchen, as_of - horizon, stride) if as_of - horizon > first_order_at + horizon else None
    ranker = teach(kitchen, earlier)
    return judge(kitchen, ranker, cut_at(kitchen, as_of, stride))


def judge(kitchen: Kitchen, ranker: Any, cut: Cut) -> dict[str, Any]:
    """Figures of one ranker on one cut, as `backtest --json` prints them."""
    return {
        "as_of": cut.as_of.isoformat(),
        "horizon_days": kitchen.horizon_days,
        "customers": len(cut.knowledge.customers),
        "buyers": len(set(cut.bought_customer.tolist())),
        "ranker": ranker.step,
        "ndcg": "the ideal list has min(k, products bought) hits",
        "tasks": run_tasks(ranker, cut, kitchen.seed),
    }
