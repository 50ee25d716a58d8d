"""Segments: how much of the next quarter's spend they tell, against the quintile grid; how still they stand.

Each log is lived night by night, as the nightly job does it, up to 91 days before its end. Everything was
chosen on earlier quarters (those that end 28 to 456 days before each end).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from benchmarks.quality.lines import Line
from benchmarks.quality.logs import LOGS, Log, kitchen_of_log, known_at

from nextoffer.models.activity import OrderLog, customers_of, order_log, rewound, spent_after, summarise
from nextoffer.models.segment_quality import explained, quintile_grid, quintiles
from nextoffer.models.segments import (
    Codes,
    LastNight,
    Segments,
    fit_segments,
    predict_segments,
    published_codes,
    settled_codes,
)

QUARTER_DAYS, NIGHTS = 91, 60
SPEND_LOGS = LOGS[:3]  # the dunnhumby fragment is shorter than a quarter
ETA_RATIO, MOST_CHANGES = 1.25, 0.02
N_RESAMPLES = 400


@dataclass(frozen=True, slots=True, eq=False)
class Night:
    """What one night left: the clusters, who was known, what was published, and what was nearest."""

    segments: Segments
    customers: npt.NDArray[np.integer]
    published: Codes
    candidate: Codes


def lines(data: Path) -> list[Line]:
    """η² against the grid, and the share of labels that change in a day."""
    return [line for log in SPEND_LOGS for line in judged(log, data)]


def judged(log: Log, data: Path, back_days: int = 0) -> list[Line]:
    """Lines of one log, judged on the quarter that ends `back_days` before its end."""
    as_of = log.end - timedelta(days=back_days)
    with kitchen_of_log(log, data, as_of) as kitchen:
        orders = order_log(known_at(kitchen, as_of).shop_orders, kitchen.catalogue.digits)
    changes, night = nights(orders, QUARTER_DAYS)
    past = rewound(orders, QUARTER_DAYS)
    about = summarise(past)
    columns = about.recency_days, about.n_orders, about.value
    spend = np.log1p(np.maximum(spent_after(orders, customers_of(past), QUARTER_DAYS, QUARTER_DAYS), 0.0))
    grid = quintile_grid(quintiles(*columns))
    ours = {"clusters": predict_segments(night.segments, *columns), "published names": night.published}
    found = [_eta_line(log.name, name, spend, groups, grid) for name, groups in ours.items()]
    figures = {"mean": float(changes.mean()), "worst night": float(changes.max())}
    for name, figure in figures.items():
        passed = figure <= MOST_CHANGES if name == "mean" else None
        metric = f"labels changed a day, {name} of {len(changes)} (at most {MOST_CHANGES:.0%})"
        found.append(Line("segments", log.name, metric, figure, target=MOST_CHANGES, passed=passed))
    return found


def nights(orders: OrderLog, last: int) -> tuple[npt.NDArray[np.float64], Night]:
    """Share of known customers whose published name changed, night by night, and the last night."""
    nights = min(NIGHTS, max(orders.since_days - last - QUARTER_DAYS, 2))
    before: Night | None = None
    changes = []
    for turn in range(nights + 1):
        tonight = one_night(rewound(orders, last + nights - turn), turn, before)
        if before is not None:
            at = np.searchsorted(tonight.customers, before.customers)
            changes.append(float((tonight.published[at] != before.published).mean()))
        before = tonight
    assert before is not None
    return np.array(changes), before


def one_night(past: OrderLog, day: int, before: Night | None) -> Night:
    """What the nightly job does about segments."""
    about, customers = summarise(past), customers_of(past)
    columns = about.recency_days, about.n_orders, about.value
    segments = fit_segments(*columns, seed=0, previous=before.segments if before else None, day=day)
    candidate = published_codes(
        segments, predict_segments(segments, *columns), about.recency_days, about.n_orders
    )
    if before is None:
        return Night(segments, customers, candidate, candidate)
    known = np.full((2, len(customers)), -1, dtype=np.int8)
    known[:, np.searchsorted(customers, before.customers)] = before.published, before.candidate
    return Night(
        segments, customers, settled_codes(segments, candidate, LastNight(*known), *columns), candidate
    )


def _eta_line(split: str, name: str, spend: npt.NDArray[np.float64], groups: Codes, grid: Codes) -> Line:
    """η² of our groups and of the grid, with the interval of their ratio over customers."""
    ours, theirs = explained(spend, groups), explained(spend, grid)
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(N_RESAMPLES):
        rows = rng.integers(0, len(spend), len(spend))
        ratios.append(explained(spend[rows], groups[rows]) / explained(spend[rows], grid[rows]))
    low, high = (float(end) for end in np.quantile(ratios, [0.025, 0.975]))
    gate = ETA_RATIO if name == "clusters" else None
    return Line(
        "segments",
        split,
        f"η² of next quarter's log spend, {name}",
        ours,
        "quintile grid",
        theirs,
        low,
        high,
        gate=gate,
        passed=None if gate is None else ours >= gate * theirs,
    )
