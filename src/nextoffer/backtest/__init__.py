"""Backtest: learn before a date, score the days after, beside named baselines. No leak: dates decide."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from nextoffer.backtest.judging import judged
from nextoffer.backtest.metrics import NDCG
from nextoffer.backtest.report import examine, report
from nextoffer.backtest.tasks import TASKS, Case
from nextoffer.errors import TooLittleHistoryError
from nextoffer.models.recipe import Cut, Past
from nextoffer.models.taught import Taught

CUTS = 3


def backtest(past: Past, as_of: datetime, n_cuts: int = CUTS) -> dict[str, Any]:
    """Learn before `as_of` and score the horizon after it; the same at earlier cut-offs, a horizon apart.

    What each cut-off is ranked by is taught by the horizons that ended by then, so nothing after is used; where
    the history is too short for that, the combined scores are judged. Earlier cut-offs are taken only where
    there is a ranker to judge, so there may be fewer than `n_cuts`.

    Raises
    ------
    TooLittleHistoryError : nobody known before `as_of` bought anything in the horizon after it
    """
    kitchen, found = past.kitchen, []
    for moment in moments(past, as_of, n_cuts):
        cut = past.cut(moment)
        if moment == as_of and not len(cut.lesson.bought_customer):
            raise TooLittleHistoryError(
                f"Nothing could be judged: none of the {len(cut.customer_ids):,} customers known before "
                f"{as_of:%Y-%m-%d} bought anything in the {kitchen.horizon_days} days from it. "
                "Choose another --as-of, or a longer --horizon."
            )
        taught = past.taught(moment)
        kitchen.progress(f"judging {moment:%Y-%m-%d}")
        found.append(examine(_case(past, taught, cut), cut))
    kitchen.progress("drawing customers")
    return report(found, kitchen.horizon_days, kitchen.seed)


def moments(past: Past, as_of: datetime, n_cuts: int) -> list[datetime]:
    """`as_of`, and up to `n_cuts` − 1 earlier cut-offs that leave room to teach a ranker; newest first."""
    horizon = timedelta(days=past.kitchen.horizon_days)
    earlier = [as_of - horizon * back for back in range(1, n_cuts)]
    return [as_of, *(moment for moment in earlier if moment - past.first_order_at >= 2 * horizon)]


def judge(past: Past, taught: Taught, cut: Cut) -> dict[str, Any]:
    """Figures of what was taught on one cut-off, without intervals and views: for the gate of every night."""
    case = _case(past, taught, cut)
    n_products = len(cut.lesson.knowledge.products)
    return {
        "as_of": cut.as_of.isoformat(),
        "horizon_days": past.kitchen.horizon_days,
        "customers": len(cut.lesson.knowledge.customers),
        "buyers": len(case.buyers),
        "ranker": taught.ranker.step,
        "ndcg": NDCG,
        "tasks": {task: judged(outcome(case), n_products).figures() for task, outcome in TASKS.items()},
    }


def _case(past: Past, taught: Taught, cut: Cut) -> Case:
    return Case.of(taught, cut, past.kitchen.seed)
