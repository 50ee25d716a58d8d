"""The paired bootstrap: customers are drawn with replacement, with everything they did at every cut-off.

A customer judged at three cut-offs, by two methods, is drawn as one: so what makes them easy or hard to
foretell leaves the difference of the methods, and their three rows are not taken for three customers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nextoffer.domain.arrays import Floats, Ints

RESAMPLES = 1_000
LEVEL = 0.95
FEW = 30  # customers, below which an interval would promise more than it knows
_CELLS = 8_000_000  # resamples × customers counted at a time

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean, the `n` customers it is of, and its interval; None where they are too few to tell.

    Parameters
    ----------
    low, high : 95 % percentile interval
    """

    difference: float
    low: float | None
    high: float | None
    n: int

    @property
    def sign(self) -> int:
        """1 or −1 where the interval lies wholly above or below 0, else 0."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Values to be averaged.

    Parameters
    ----------
    customer : (n,) whose value it is; a customer may have several, one for each cut-off
    value : (n,)
    few : True if there is too little for an interval for a reason the number of customers does not show
    """

    customer: Ints
    value: Floats
    few: bool = False


def differences(samples: Sequence[Sample], seed: int, resamples: int = RESAMPLES) -> list[Difference]:
    """The mean of each sample with its interval, all of them over the same draws of customers."""
    everyone = np.unique(np.concatenate([np.zeros(0, np.int64), *(sample.customer for sample in samples)]))
    n, width = len(everyone), len(samples)
    sums, counts = np.zeros((n, width)), np.zeros((n, width))
    for column, sample in enumerate(samples):
        row = np.searchsorted(everyone, sample.customer)
        sums[:, column] = np.bincount(row, sample.value, n)
        counts[:, column] = np.bincount(row, minlength=n)
    many = (counts > 0).sum(axis=0)
    low, high = _percentiles(sums, counts, seed, resamples)
    found = []
    for column, sample in enumerate(samples):
        few = sample.few or many[column] < FEW
        mean = float(sums[:, column].sum() / max(counts[:, column].sum(), 1.0))
        ends = (None, None) if few else (float(low[column]), float(high[column]))
        found.append(Difference(mean, ends[0], ends[1], int(many[column])))
    return found


def _percentiles(sums: Vector, counts: Vector, seed: int, resamples: int) -> tuple[Vector, Vector]:
    """Both ends of the interval of each column's Σ sums ÷ Σ counts; NaN where no draw had anybody of it."""
    n, width = sums.shape
    if n == 0 or width == 0:
        return np.full(width, np.nan), np.full(width, np.nan)
    # columns of one task share their counts: each distinct one is multiplied once
    distinct, which = np.unique(counts, axis=1, return_inverse=True)
    rng = np.random.default_rng(seed)
    block = max(_CELLS // n, 1)
    means = []
    for start in range(0, resamples, block):
        times = drawn(rng, min(block, resamples - start), n)
        drawn_counts = (times @ distinct)[:, which]
        with np.errstate(invalid="ignore"):
            means.append((times @ sums) / drawn_counts)
    tail = (1 - LEVEL) / 2
    together = np.concatenate(means)
    absent = np.isnan(together)  # a draw without anybody of a small group says nothing of it
    together[absent] = np.broadcast_to(sums.sum(axis=0) / np.maximum(counts.sum(axis=0), 1), together.shape)[
        absent
    ]
    low, high = np.quantile(together, [tail, 1 - tail], axis=0)
    return low, high


def drawn(rng: np.random.Generator, resamples: int, n: int) -> Vector:
    """(resamples, n) how often each of n customers is drawn when n are drawn with replacement."""
    who = rng.integers(0, n, (resamples, n), dtype=np.int32)
    who += (np.arange(resamples, dtype=np.int32) * n)[:, None]
    return np.bincount(who.ravel(), minlength=resamples * n).reshape(resamples, n).astype(np.float64)
