"""What one test costs: CPU seconds of a million customers, and of CUPED on the many who have a past."""

from __future__ import annotations

from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from benchmarks.aa.lines import Line
from benchmarks.aa.worlds import baskets

from nextoffer.measurement.experiment import permutation_test

N, HELD_OUT = 1_000_000, 100_000
BUYERS, ACTIVE = 50_000, 350_000
N_PERMUTATIONS = 1_999
SECONDS, CUPED_SECONDS = 1.0, 8.0


def cost_lines(_: Path, asked: Any) -> list[Line]:
    """The better of two runs each: the first one imports."""
    rng = np.random.default_rng(5)
    treated = rng.random(ACTIVE) >= HELD_OUT / N
    spend = baskets(rng, ACTIVE)
    after = np.where(rng.random(ACTIVE) < BUYERS / N, 1.2 * spend, 0.0)
    plain = min(_seconds(spend[:BUYERS], treated[:BUYERS]) for _ in range(2))
    cuped = min(_seconds(after, treated, spend) for _ in range(2))
    case = f"{N:,} customers, {N_PERMUTATIONS:,} permutations"
    return [
        Line("cost", case, f"{BUYERS:,} buyers", plain, high=SECONDS, unit="CPU s"),
        Line("cost", case, f"CUPED, {ACTIVE:,} active", cuped, high=CUPED_SECONDS, unit="CPU s"),
    ]


def _seconds(spend: Any, treated: Any, before: Any = None) -> float:
    start = process_time()
    permutation_test(
        spend, treated, N - HELD_OUT, HELD_OUT, seed=1, n_permutations=N_PERMUTATIONS, before=before
    )
    return process_time() - start
