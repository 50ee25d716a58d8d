"""Looking twenty times: as planned (O'Brien-Fleming), at any time (an always-valid sequence), and as if once.

Customers come in twenty equal cohorts; a look sees all cohorts so far. 5 % buy; in the end 150 buyers are held out
of 300, and of 1,000 about 100. The effect multiplies the spend of the treated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from benchmarks.aa.judge import estimate, repeated, welch
from benchmarks.aa.lines import Line, share
from benchmarks.aa.worlds import Floats, Trial, baskets, mean_basket

from nextoffer.measurement.compare import Compared, compare
from nextoffer.measurement.effect import ALPHA
from nextoffer.measurement.groups import Groups
from nextoffer.measurement.looks import Anytime, anytime, mixture_alpha, nominal_alphas

N_LOOKS = 20
BUYING = 0.05
COHORTS = {"50/50": (150, 150), "90/10": (900, 100)}  # treated, held out
LIFT = 0.62  # found 66 times in 100 by one look at 50/50 (measured on other seeds)
FIRST_TRY = 199
POWER = 0.64
MOST = {"planned": 0.055, "any_time": 0.05}
CLAIMS = {
    "once": "one look",
    "planned": "20 planned looks",
    "any_time": "20 looks, always-valid",
    "any_time_normal": "20 looks, always-valid if normal",
}


class Peeked(NamedTuple):
    """1 where an effect was claimed, on either side: by the last look alone, or by any of the twenty."""

    once: float
    planned: float
    any_time: float
    any_time_normal: float
    unplanned_welch: float


@dataclass(frozen=True, slots=True)
class Peeker:
    """Looks twenty times at one experiment; `planned`, `any_time` are the errors each look is judged at.

    Where there is an effect, what is found at any time is told by the closed form only: looking on after the
    planned looks have claimed it costs too much.
    """

    cohort: tuple[int, int]
    lift: float
    n_permutations: int
    planned: tuple[float, ...]
    any_time: tuple[float, ...]

    @classmethod
    def of(cls, cohort: tuple[int, int], lift: float, n_permutations: int) -> Peeker:
        """With customers as the measure of information."""
        fractions = [look / N_LOOKS for look in range(1, N_LOOKS + 1)]
        any_time = tuple(0.0 if lift else mixture_alpha(fraction) for fraction in fractions)
        return cls(cohort, lift, n_permutations, nominal_alphas(fractions), any_time)

    def __call__(self, seed: Sequence[int]) -> Peeked:
        """The repetition of this seed."""
        rng = np.random.default_rng(seed)
        trials = list(self._looks(rng))
        chances = rng.integers(2**48, size=N_LOOKS).tolist()
        limits = [welch(trial) for trial in trials]
        once = planned = any_time = False
        for look, (trial, chance) in enumerate(zip(trials, chances, strict=True)):
            last = look == N_LOOKS - 1
            # what has claimed already need not be asked again
            alpha = max(0.0 if planned else self.planned[look], 0.0 if any_time else self.any_time[look])
            if not last and not self._promising(trial, chance, alpha):
                continue
            found = _compared(trial, chance, self.n_permutations)
            planned |= _claims(found, self.planned[look])
            any_time |= _claims(found, self.any_time[look])
            once = last and _claims(found, ALPHA)
        normal = any(not one.low <= 0 <= one.high for one in _normal(trials))
        unplanned = any(not low <= 0 <= high for low, high in limits)
        return Peeked(once, planned, any_time, normal, unplanned)

    def _promising(self, trial: Trial, chance: int, alpha: float) -> bool:
        """Whether all permutations need be drawn to know that p is not below `alpha`.

        Few tell that, but for one time in 10⁶, of a p six of their standard errors above it.
        """
        if alpha < 1 / (self.n_permutations + 1):
            return False
        found = _compared(trial, chance, FIRST_TRY).money
        most = alpha + (6 * math.sqrt(alpha * FIRST_TRY) + 4) / FIRST_TRY
        return found is not None and min(found.p_win, found.p_loss) <= most

    def _looks(self, rng: np.random.Generator) -> Iterator[Trial]:
        parts: list[tuple[Floats, Floats]] = []
        for look in range(1, N_LOOKS + 1):
            treated, held_out = (baskets(rng, int(rng.binomial(n, BUYING))) for n in self.cohort)
            parts.append(((1 + self.lift) * treated, held_out))
            spend = [np.concatenate(part) for part in zip(*parts, strict=True)]
            groups = np.repeat([True, False], [len(part) for part in spend])
            n_treated, n_holdout = (look * n for n in self.cohort)
            yield Trial(np.concatenate(spend), groups, n_treated, n_holdout, BUYING * mean_basket())


def _compared(trial: Trial, chance: int, n_permutations: int) -> Compared:
    groups = Groups.of(trial.treated, trial.n_treated, trial.n_holdout)
    (found,) = compare(trial.values[:, None], groups, seed=chance, n_permutations=n_permutations)
    return found


def _claims(found: Compared, alpha: float) -> bool:
    return found.effect(alpha).verdict in ("win", "loss")


def _normal(trials: Sequence[Trial]) -> Iterator[Anytime]:
    """The always-valid intervals of estimates taken for normal; narrowest at the last look."""
    estimates = [estimate(trial) for trial in trials]
    target = estimates[-1][1]
    for difference, stderr, _ in estimates:
        if stderr > 0:
            yield anytime(difference, stderr, target)


def peeking_lines(_: Path, asked: Any) -> list[Line]:
    """Without an effect, and with one that one look finds two times in three."""
    lines = []
    for at, (split, lift) in enumerate((("50/50", 0.0), ("50/50", LIFT), ("90/10", 0.0))):
        peeker = Peeker.of(COHORTS[split], lift, asked.n_permutations)
        found = repeated(peeker, (6, at), asked.reps, asked.workers)
        case = f"{split}, {f'+{lift:.0%}' if lift else 'no effect'}"
        for name, told in CLAIMS.items():
            if lift and name == "any_time":
                continue
            gate = (POWER if name == "planned" else None, None) if lift else (None, MOST.get(name))
            beside = share(found["unplanned_welch"])[0] if name == "planned" else None
            lines.append(Line("peeking", case, f"claims, {told}", *share(found[name]), *gate, welch=beside))
    return lines
