"""One repetition judged by nextoffer, by Welch's test and by tea-tasting; and many of them on all cores.

Every repetition has a seed of its own, so that the number of processes changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from benchmarks.aa.worlds import Floats, Trial, World
from scipy.special import stdtrit

from nextoffer.measurement.crosscheck import second_opinion
from nextoffer.measurement.experiment import Effect, permutation_tests

NOTHING = float("nan")
SIGNS = {"win": 1.0, "loss": -1.0, "not shown": 0.0}
CHUNKS = 16


class Judged(NamedTuple):
    """One repetition. A verdict is 1 for a win, -1 for a loss, 0 for neither; what was not asked is not a number.

    Parameters
    ----------
    n_refused : runs without a verdict, for too few buyers, before the one with these figures
    verdict, planted_verdict : where offers do nothing, and with the effect planted
    covers, covers_own : whether the interval holds the planted effect on the population, and on the treated
        who were drawn
    welch, welch_covers, tea, tea_covers : the others, in the first run, refused or not
    """

    n_refused: float
    verdict: float = NOTHING
    planted_verdict: float = NOTHING
    covers: float = NOTHING
    covers_own: float = NOTHING
    welch: float = NOTHING
    welch_planted: float = NOTHING
    welch_covers: float = NOTHING
    tea: float = NOTHING
    tea_planted: float = NOTHING
    tea_covers: float = NOTHING


@dataclass(frozen=True, slots=True)
class Judge:
    """What is asked of each repetition.

    Parameters
    ----------
    lift : planted besides; None for no effect at all
    tries : runs in which a verdict is sought; those refused before it are counted
    adjusted : whether spend before is used (CUPED), where there is any
    tea : whether tea-tasting is asked
    """

    world: World
    lift: float | None
    n_permutations: int
    tries: int = 1
    adjusted: bool = True
    tea: bool = True

    def __call__(self, seed: Sequence[int]) -> Judged:
        """The repetition of this seed."""
        rng = np.random.default_rng(seed)
        others: dict[str, float] = {}
        for n_refused in range(self.tries):
            trial = self.world(rng)
            if n_refused == 0:
                others = self._others(trial)
            nothing, *planted = self._effects(trial, int(rng.integers(2**48)))
            if nothing.verdict in SIGNS:
                ours = {} if self.lift is None else _covered(trial, self.lift, planted[0])
                return Judged(n_refused, SIGNS[nothing.verdict], **ours, **others)
        return Judged(self.tries, **others)

    def _effects(self, trial: Trial, chance: int) -> tuple[Effect, ...]:
        """Without an effect and with the planted one, by the same permutations."""
        trials = [trial] if self.lift is None else [trial, trial.planted(self.lift)]
        values = np.column_stack([one.values for one in trials])
        past = trial.before if self.adjusted else None
        return permutation_tests(
            values,
            trial.treated,
            trial.n_treated,
            trial.n_holdout,
            seed=chance,
            n_permutations=self.n_permutations,
            before=None if past is None else np.column_stack([past for _ in trials]),
        )

    def _others(self, trial: Trial) -> dict[str, float]:
        found = {}
        for name, asked in (("welch", welch), ("tea", tea_tasting)):
            if name == "tea" and not self.tea:
                continue
            found[name] = _sign(asked(trial, self.adjusted))
            if self.lift is not None:
                low, high = limits = asked(trial.planted(self.lift), self.adjusted)
                found[f"{name}_planted"] = _sign(limits)
                found[f"{name}_covers"] = float(low <= self.lift * trial.mean <= high)
        return found


def _covered(trial: Trial, lift: float, effect: Effect) -> dict[str, float]:
    if effect.low is None or effect.high is None:
        return {}
    # Welch's standard error, and with it the interval, counts the luck of both groups: what it is for is the
    # effect on the population both were drawn from, the same whoever was drawn. The effect on just the treated
    # drawn moves with their luck; nearly the same, and shown beside it.
    own = lift * float(trial.values[trial.treated].sum()) / trial.n_treated
    return {
        "planted_verdict": SIGNS[effect.verdict],
        "covers": float(effect.low <= lift * trial.mean <= effect.high),
        "covers_own": float(effect.low <= own <= effect.high),
    }


def welch(trial: Trial, adjusted: bool = True) -> tuple[float, float]:
    """The 95 % interval of Welch's t; of spend adjusted by one theta for both groups where there is a past."""
    difference, stderr, freedom = estimate(trial, adjusted)
    half = float(stdtrit(freedom, 0.975)) * stderr if stderr > 0 else 0.0
    return difference - half, difference + half


def estimate(trial: Trial, adjusted: bool = True) -> tuple[float, float, float]:
    """Treated minus holdout per customer, its standard error, and Welch's degrees of freedom."""
    values = trial.values
    n = trial.n_treated + trial.n_holdout
    if adjusted and trial.before is not None:
        past = trial.before
        variance = past @ past - past.sum() ** 2 / n
        theta = (values @ past - values.sum() * past.sum() / n) / variance if variance > 0 else 0.0
        values = values - theta * past
    means, variances, freedoms = [], [], []
    for group, size in ((trial.treated, trial.n_treated), (~trial.treated, trial.n_holdout)):
        mean = float(values[group].sum()) / size
        square = float(((values[group] - mean) ** 2).sum()) + (size - int(group.sum())) * mean**2
        means.append(mean)
        variances.append(square / (size - 1) / size)
        freedoms.append(size - 1)
    variance = sum(variances)
    freedom = (
        variance**2 / sum(v**2 / f for v, f in zip(variances, freedoms, strict=True)) if variance else 1.0
    )
    return means[0] - means[1], variance**0.5, freedom


def tea_tasting(trial: Trial, adjusted: bool = True) -> tuple[float, float]:
    """The 95 % interval of tea-tasting, with CUPED where there is a past; no limits where it has no opinion."""
    before = trial.before if adjusted else None
    found = second_opinion(trial.values, trial.treated, trial.n_treated, trial.n_holdout, before=before)
    return (NOTHING, NOTHING) if found is None else (found.low, found.high)


def _sign(limits: tuple[float, float]) -> float:
    return float(limits[0] > 0) - float(limits[1] < 0)


def repeated(
    judge: Callable[[Sequence[int]], Any],
    key: Sequence[int],
    reps: int,
    workers: int,
    told: Callable[[int], object] | None = None,
) -> dict[str, Floats]:
    """(reps,) columns of what `judge` says, by name; repetition r has the seed (*key, r).

    `told` is called with the number of repetitions done, now and then.
    """
    from joblib import Parallel, delayed

    ends = np.linspace(0, reps, min(reps, CHUNKS) + 1).astype(int).tolist()
    chunk = partial(_chunk, judge, tuple(key))
    asked = (delayed(chunk)(start, end) for start, end in pairwise(ends))
    parts = []
    for part, end in zip(Parallel(n_jobs=workers, return_as="generator")(asked), ends[1:], strict=True):
        parts.append(part)
        if told is not None:
            told(end)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunk(
    judge: Callable[[Sequence[int]], Any], key: Sequence[int], start: int, end: int
) -> dict[str, Floats]:
    rows = [judge((*key, rep)) for rep in range(start, end)]
    table = np.array(rows, dtype=np.float64).T
    return dict(zip(rows[0]._fields, table, strict=True))
