"""Lapse: who buys within 28 days, against every single method, on the last 28 days of each log.

Everything was chosen on earlier moments (those 56 to 1,100 days before each end); these days chose nothing.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.peers import lapse as peers
from benchmarks.quality.lines import Line, ratio_interval
from benchmarks.quality.logs import LOGS, Log, kitchen_of_log, known_at, ordered_within
from scipy.stats import rankdata

from nextoffer.models.activity import order_log, summarise
from nextoffer.models.lapse import fit_lapse, p_order
from nextoffer.models.lifetime import fit_lifetime

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
HORIZON_DAYS = 28
DAYS = (28, 90, 180)
AUC_SLACK, BRIER_RATIO = 0.005, 1.01
N_RESAMPLES = 400


def lines(data: Path) -> list[Line]:
    """AUC and Brier score of each log: the best peer is the gate, the others inform."""
    return [line for log in LOGS for line in judged(log, data)]


def judged(log: Log, data: Path, back_days: int = 0) -> list[Line]:
    """Lines of one log, judged on the 28 days that end `back_days` before its end."""
    as_of = log.end - timedelta(days=HORIZON_DAYS + back_days)
    with kitchen_of_log(log, data, as_of) as kitchen:
        known = known_at(kitchen, as_of)
        happened = ordered_within(kitchen, known, HORIZON_DAYS)
        orders = order_log(known.shop_orders, kitchen.catalogue.digits)
        seed = kitchen.seed
    about = summarise(orders)
    ages = (about.n_order_days, about.recency_days, about.first_age_days)
    lifetime = fit_lifetime(*ages, about.value / np.maximum(about.n_orders, 1))
    ours = p_order(fit_lapse(orders, DAYS, seed), orders, lifetime)[:, 0].astype(np.float64)
    chances = peers.probabilities(orders, HORIZON_DAYS, seed)
    auc = _auc_lines(log.name, ours, peers.scores(orders) | chances, happened)
    return auc + _brier_lines(log.name, ours, chances, happened)


def _auc_lines(split: str, ours: Floats, others: dict[str, Floats], happened: Bools) -> list[Line]:
    theirs = {name: auc(score, happened) for name, score in others.items()}
    best, mine = max(theirs, key=lambda name: theirs[name]), auc(ours, happened)
    return [
        Line(
            "lapse",
            split,
            "AUC of buys in 28 days",
            mine,
            name,
            figure,
            *_auc_interval(ours, others[name], happened),
            gate=(figure - AUC_SLACK) / figure if name == best else None,
            passed=mine >= figure - AUC_SLACK if name == best else None,
        )
        for name, figure in theirs.items()
    ]


def _brier_lines(split: str, ours: Floats, others: dict[str, Floats], happened: Bools) -> list[Line]:
    """Lower is better: the ratio to the best peer may be at most 1.01."""
    missed = {name: (p - happened) ** 2 for name, p in others.items()}
    mine = (ours - happened) ** 2
    best = min(missed, key=lambda name: float(missed[name].mean()))
    return [
        Line(
            "lapse",
            split,
            "Brier of buys in 28 days (lower is better)",
            float(mine.mean()),
            name,
            float(theirs.mean()),
            *ratio_interval(mine, theirs),
            gate=BRIER_RATIO if name == best else None,
            passed=bool(mine.mean() <= BRIER_RATIO * theirs.mean()) if name == best else None,
        )
        for name, theirs in missed.items()
    ]


def auc(score: Floats, happened: Bools) -> float:
    """Chance that who bought is ranked above who did not; ties count half."""
    n = int(happened.sum())
    above = rankdata(score)[happened].sum() - n * (n + 1) / 2
    return float(above / (n * (len(score) - n)))


def _auc_interval(ours: Floats, theirs: Floats, happened: Bools) -> tuple[float, float]:
    """95 % percentile interval of the ratio, customers resampled together."""
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(0, len(ours), len(ours))
        ratios.append(auc(ours[rows], happened[rows]) / auc(theirs[rows], happened[rows]))
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
