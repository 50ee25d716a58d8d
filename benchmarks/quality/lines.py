"""One line of the quality table: ours, a peer's, the paired interval of their ratio, the bar."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
N_RESAMPLES = 1_000
LOW_IS_GOOD = ("lower is better", "at most", "error")  # words of a metric's name that say so
_START = perf_counter()


def say(text: str) -> None:
    """Tell on stderr what goes on, with the seconds since the start."""
    print(f"[{perf_counter() - _START:6.0f} s] {text}", file=sys.stderr, flush=True)


@dataclass(frozen=True, slots=True)
class Line:
    """`ratio` is ours ÷ peer (`peer` None: ours alone, judged by `passed`).

    `target` is the absolute figure hoped for, `gate` the least ratio that passes (the greatest, where
    `low_is_good`); `low`, `high` bound the ratio (95 %, paired bootstrap over customers). `passed` None where
    the bar only informs.
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

    @property
    def low_is_good(self) -> bool:
        """Whether the metric's name says that less is better."""
        return any(words in self.metric for words in LOW_IS_GOOD)

    @property
    def reached(self) -> bool | None:
        """Whether ours is as good as the target, None without one."""
        if self.target is None:
            return None
        return self.ours <= self.target if self.low_is_good else self.ours >= self.target

    def to_json(self) -> dict[str, Any]:
        """A plain dictionary of finite numbers: what has no finite value is null."""
        found = asdict(self) | {"ratio": self.ratio, "reached": self.reached}
        return {
            name: None if isinstance(value, float) and not np.isfinite(value) else value
            for name, value in found.items()
        }


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

    Raises
    ------
    ValueError : a gate names no peer: it would never be judged
    """
    if unknown := set(gates or {}) - set(peers):
        raise ValueError(f"gates of {task} on {split} name no peer: {sorted(unknown)}")
    lines = []
    best = best_peer(peers)
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


def best_peer(peers: dict[str, Floats], among: tuple[str, ...] = ()) -> str:
    """Name of the peer with the greatest mean; `among` only those, all if empty."""
    return max(among or peers, key=lambda name: float(peers[name].mean()))


def ratio_interval(ours: Floats, theirs: Floats, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of mean(ours) ÷ mean(theirs), customers resampled together."""
    rng = np.random.default_rng(seed)
    n = len(ours)
    ratios = []
    for _ in range(N_RESAMPLES):
        count = np.bincount(rng.integers(0, n, n), minlength=n)
        below = float(count @ theirs)
        ratios.append(float(count @ ours) / below if below else np.inf)
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")  # infinities do not blend
    return float(low), float(high)
