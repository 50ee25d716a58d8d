"""What a task's outcome comes to: values per customer, their means, and what nextoffer is ahead by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from nextoffer.backtest.metrics import Vector, list_metrics, yes_no_metrics
from nextoffer.backtest.resample import FEW, Difference, Sample, differences
from nextoffer.backtest.tasks import Answered, Ranked
from nextoffer.domain.arrays import Ints

OURS = "nextoffer"
Figures = dict[str, dict[str, float]]  # method -> metric
Differences = dict[str, dict[str, Difference]]  # baseline -> metric


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One task: a value of each method and metric for every customer judged, whose mean is the figure.

    Parameters
    ----------
    customer : (m,) who; over several cut-offs a customer may stand there more than once
    values : method -> metric -> (m,)
    few : True if too few customers had, or had not, what is foretold
    """

    customer: Ints
    values: Mapping[str, Mapping[str, Vector]]
    few: bool = False

    def figures(self) -> Figures:
        """Method -> metric -> mean; nothing where nobody could be judged."""
        if not len(self.customer):
            return {method: {} for method in self.values}
        return {
            method: {metric: float(value.mean()) for metric, value in metrics.items()}
            for method, metrics in self.values.items()
        }


def judged(outcome: Ranked | Answered, n_products: int) -> Judged:
    """Every metric of every method, per customer."""
    if isinstance(outcome, Ranked):
        truth = outcome.position, outcome.product
        lists = {name: list_metrics(ranked, *truth, n_products) for name, ranked in outcome.lists.items()}
        return Judged(outcome.customer, lists)
    customer, owner = np.unique(outcome.customer, return_inverse=True)
    happened, n = outcome.happened, len(customer)
    values = {
        method: yes_no_metrics(score, happened, owner, n, method in outcome.probabilities)
        for method, score in outcome.scores.items()
    }
    who = (np.unique(owner[happened == answer]) for answer in (True, False))
    return Judged(customer, values, few=min(len(one) for one in who) < FEW)


def pooled(parts: Iterable[Judged]) -> Judged:
    """Several cut-offs as one; those at which nobody could be judged say nothing."""
    parts = list(parts)
    full = [part for part in parts if len(part.customer) and part.values[OURS]] or parts[:1]
    values = {
        method: {metric: np.concatenate([part.values[method][metric] for part in full]) for metric in metrics}
        for method, metrics in full[0].values.items()
    }
    customer = np.concatenate([part.customer for part in full])
    return Judged(customer, values, few=all(part.few for part in full))


def ahead(tasks: Mapping[str, Judged], seed: int) -> dict[str, Differences]:
    """Task -> baseline -> metric -> nextoffer − baseline, where both have the metric and somebody was judged."""
    asked = [
        (task, baseline, metric, Sample(one.customer, one.values[OURS][metric] - theirs, one.few))
        for task, one in tasks.items()
        if len(one.customer)
        for baseline, metrics in one.values.items()
        if baseline != OURS
        for metric, theirs in metrics.items()
    ]
    found: dict[str, Differences] = {task: {} for task in tasks}
    for (task, baseline, metric, _), difference in zip(
        asked, differences([sample for *_, sample in asked], seed), strict=True
    ):
        found[task].setdefault(baseline, {})[metric] = difference
    return found
