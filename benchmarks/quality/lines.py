"""One line of the quality table: ours, a peer's, the paired interval of their ratio, the bar."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
N_RESAMPLES = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """`ratio` is ours ÷ peer (`peer` None: ours alone, judged by `passed`).

    `target` is the absolute figure hoped for, `gate` the least ratio that passes; `low`, `high` bound the ratio
    (95 %, paired bootstrap over customers). `passed` None where the bar only informs.
    """

    task: str
    split: str
    metric: str
    ours: float
    peer: str | None = None
    theirs: float | None = None
    low: float | None = None
    high: float | None = None
    target: float | None = None
    gate: float | None = None
    passed: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Ours ÷ theirs."""
        return self.ours / self.theirs if self.theirs else None


def against(
    task: str,
    split: str,
    metric: str,
    ours: Floats,
    peers: dict[str, Floats],
    *,
    target: float | None = None,
    gates: dict[str, float] | None = None,
    best_of: float | None = None,
    seed: int = 0,
) -> list[Line]:
    """A line per peer, from one value per customer and method (aligned): means, ratio, paired interval.

    Parameters
    ----------
    gates : peer -> least ratio that passes
    best_of : least ratio to the best of all peers
    """
    lines = []
    best = max(peers, key=lambda name: float(peers[name].mean()))
    for name, theirs in peers.items():
        low, high = ratio_interval(ours, theirs, seed)
        gate = (gates or {}).get(name, best_of if name == best else None)
        ratio = float(ours.mean() / theirs.mean()) if theirs.mean() else np.inf
        passed = None if gate is None else ratio >= gate
        lines.append(
            Line(
                task,
                split,
                metric,
                float(ours.mean()),
                name,
                float(theirs.mean()),
                low,
                high,
                target,
                gate,
                passed,
            )
        )
    return lines


def ratio_interval(ours: Floats, theirs: Floats, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of mean(ours) ÷ mean(theirs), customers resampled together."""
    rng = np.random.default_rng(seed)
    n = len(ours)
    ratios = []
    for _ in range(N_RESAMPLES):
        count = np.bincount(rng.integers(0, n, n), minlength=n)
        below = float(count @ theirs)
        ratios.append(float(count @ ours) / below if below else np.inf)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)
