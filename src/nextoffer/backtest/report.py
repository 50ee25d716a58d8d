"""A backtest put together: each cut-off examined by itself, then pooled, customer by customer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nextoffer.backtest.judging import Differences, Judged, ahead, judged, pooled
from nextoffer.backtest.metrics import NDCG
from nextoffer.backtest.resample import LEVEL, RESAMPLES
from nextoffer.backtest.tasks import TASKS, Case, Ranked
from nextoffer.backtest.views import (
    BANDS,
    Strata,
    by_popularity,
    mean_over,
    sales_bands,
    variety,
    worst,
)
from nextoffer.domain.arrays import Ints, Strings
from nextoffer.models.recipe import Cut

VIEWED = ("next_purchase", "explore")  # tasks whose lists are looked at closely
WORST_BY = "recall@10"


@dataclass(frozen=True, slots=True, eq=False)
class Examined:
    """All that is kept of one cut-off; customers are rows of its own.

    Parameters
    ----------
    tasks : task -> judged; bands : task -> band of products -> judged; variety : task -> method -> measure
    buyers : (m,) rows of the customers who bought
    """

    cut: Cut
    ranker: str
    buyers: Ints
    tasks: Mapping[str, Judged]
    bands: Mapping[str, Mapping[str, Judged]]
    variety: Mapping[str, Mapping[str, Mapping[str, float]]]
    strata: Strata

    def head(self) -> dict[str, Any]:
        """Which cut-off this is, and its figures."""
        return {
            "as_of": self.cut.as_of.isoformat(),
            "customers": len(self.cut.customer_ids),
            "buyers": len(self.buyers),
            "ranker": self.ranker,
            "tasks": {task: one.figures() for task, one in self.tasks.items()},
        }


def examine(case: Case, cut: Cut) -> Examined:
    """Judge every task of a cut-off, and look at its lists."""
    knowledge = case.lesson.knowledge
    outcomes = {task: outcome(case) for task, outcome in TASKS.items()}
    lists = {task: one for task, one in outcomes.items() if isinstance(one, Ranked) and task in VIEWED}
    bands = sales_bands(knowledge)
    return Examined(
        cut=cut,
        ranker=case.taught.ranker.step,
        buyers=case.buyers,
        tasks={task: judged(outcome, len(knowledge.products)) for task, outcome in outcomes.items()},
        bands={task: by_popularity(ranked, bands) for task, ranked in lists.items()},
        variety={task: variety(case, ranked) for task, ranked in lists.items()},
        strata=Strata.of(knowledge.customers),
    )


def report(cuts: Sequence[Examined], horizon_days: int, seed: int) -> dict[str, Any]:
    """Figures pooled over the cut-offs and each by itself, as `backtest --json` prints them; newest first."""
    names = _numbers([one.cut.customer_ids for one in cuts])
    tasks = {task: pooled(_named(one.tasks[task], ids) for one, ids in _each(cuts, names)) for task in TASKS}
    bands = {
        f"{task} {band}": pooled(_named(one.bands[task][band], ids) for one, ids in _each(cuts, names))
        for task in VIEWED
        for band in BANDS
    }
    found = ahead(tasks | bands, seed)
    return {
        "as_of": cuts[0].cut.as_of.isoformat(),
        "horizon_days": horizon_days,
        "customers": len(np.unique(np.concatenate(names))),
        "buyers": len(np.unique(np.concatenate([ids[one.buyers] for one, ids in _each(cuts, names)]))),
        "ranker": cuts[0].ranker,
        "ndcg": NDCG,
        "interval": f"{LEVEL:.0%}, paired bootstrap of customers with all their cut-offs, {RESAMPLES:,} resamples",
        "tasks": {task: one.figures() for task, one in tasks.items()},
        "judged": {task: len(np.unique(one.customer)) for task, one in tasks.items()},
        "differences": {task: _plain(found[task]) for task in tasks},
        "segments": {task: _worst(cuts, names, task, seed) for task in VIEWED},
        "lists": {task: _lists(cuts, task) for task in VIEWED},
        "by_popularity": {
            task: {band: _band(bands[f"{task} {band}"], found[f"{task} {band}"]) for band in BANDS}
            for task in VIEWED
        },
        "cuts": [one.head() for one in cuts],
    }


def _each(cuts: Sequence[Examined], names: Sequence[Ints]) -> list[tuple[Examined, Ints]]:
    return list(zip(cuts, names, strict=True))


def _numbers(customer_ids: Sequence[Strings]) -> list[Ints]:
    """Per cut-off (n_customers,) a number of each customer that is the same at every cut-off."""
    import pyarrow as pa

    together = pa.chunked_array([ids.to_arrow() for ids in customer_ids]).combine_chunks()
    encoded = together.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return np.split(encoded, np.cumsum([len(ids) for ids in customer_ids])[:-1])


def _named(one: Judged, ids: Ints) -> Judged:
    return replace(one, customer=ids[one.customer])


def _plain(found: Differences) -> dict[str, dict[str, dict[str, float | None]]]:
    return {
        baseline: {
            metric: {"difference": of.difference, "low": of.low, "high": of.high}
            for metric, of in metrics.items()
        }
        for baseline, metrics in found.items()
    }


def _worst(cuts: Sequence[Examined], names: Sequence[Ints], task: str, seed: int) -> list[dict[str, Any]]:
    full = [(one, ids) for one, ids in _each(cuts, names) if len(one.tasks[task].customer)]
    if not full:
        return []
    together = pooled(_named(one.tasks[task], ids) for one, ids in full)
    kinds = zip(
        *([kind[one.tasks[task].customer] for kind in one.strata.kinds] for one, _ in full), strict=True
    )
    return worst(together, Strata(tuple(np.concatenate(kind) for kind in kinds)), WORST_BY, seed)


def _lists(cuts: Sequence[Examined], task: str) -> dict[str, dict[str, float]]:
    return mean_over([one.variety[task] for one in cuts], [len(one.tasks[task].customer) for one in cuts])


def _band(one: Judged, found: Differences) -> dict[str, Any]:
    return {
        "judged": len(np.unique(one.customer)),
        "methods": one.figures(),
        "differences": _plain(found),
    }
