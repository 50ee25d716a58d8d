"""One look at one assignment: what is measured of the groups, beside what offers truly did."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.coverage.living import Lived

from nextoffer.config import Experiment
from nextoffer.domain.arrays import Bools, Ints, Strings
from nextoffer.measurement.experiment import permutation_tests
from nextoffer.simulation.columns import ids
from nextoffer.simulation.households import households
from nextoffer.tracking.holdout import groups

HOLDOUT_SHARE = 0.2
N_PERMUTATIONS = 1_999
METRICS = ("profit", "revenue", "profit, CUPED", "revenue, CUPED")


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric per treated unit, currency: the truth, and what the product says of it.

    `low` and `high` are None where there are too few buyers to say anything.
    """

    truth: float
    difference: float | None
    low: float | None
    high: float | None
    verdict: str

    @property
    def covers(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.low is not None and self.high is not None and self.low <= self.truth <= self.high

    def outside(self, figure: float) -> bool:
        """Whether a figure lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= figure <= self.high


@dataclass(frozen=True, slots=True)
class Reading:
    """The metrics in the order of METRICS; what the naive comparison says; the treated who were written to.

    Parameters
    ----------
    naive : profit of those who got a message less that of those who got none, holdout included
    exposed_share : treated customers who got a message, as a share
    """

    metrics: tuple[Measured, ...]
    naive: float
    exposed_share: float


def assigned(name: str, units: Ints, prefix: str) -> Bools:
    """(n,) who is treated: by the product's own hash of each unit's id, one experiment per `name`."""
    unique, place = np.unique(units, return_inverse=True)
    experiment = Experiment(name=name, holdout_share=HOLDOUT_SHARE)
    treated: Bools = ~groups(experiment, Strings.of(ids(prefix, unique, 6).to_pylist()))[place]
    return treated


def read(
    seen: Lived,
    without: Lived,
    before: Lived,
    treated: Bools,
    known: Bools,
    seed: int,
    pairs: bool = False,
) -> Reading:
    """Measure one assignment in the weeks it was lived with.

    Parameters
    ----------
    seen, without : (n,) the weeks as they were lived, and the same without any offer
    before : (n,) the 91 days before the assignment
    treated, known : (n,) the groups; who was assigned
    pairs : the unit is the household: all its members count, those who came later too

    Returns
    -------
    Reading; its truth is all the offers changed, in either group, per treated unit.
    """
    unit = households(np.arange(len(known))) if pairs else np.arange(len(known))
    member = np.isin(unit, unit[known])
    n_units = int(unit.max()) + 1

    def per_unit(amount: Ints) -> Ints:
        return np.bincount(unit[member], weights=amount[member], minlength=n_units)

    lived = np.stack([per_unit(seen.profit), per_unit(seen.revenue)] * 2, axis=1) / 100
    bare = np.stack([per_unit(without.profit), per_unit(without.revenue)] * 2, axis=1) / 100
    past = np.stack([per_unit(before.margin), per_unit(before.revenue)], axis=1) / 100
    adjust = np.concatenate([0 * past, past], axis=1)  # a past that never varies adjusts nothing
    is_unit, in_treated = per_unit(known) > 0, per_unit(known & treated) > 0
    n_treated = int(in_treated.sum())
    used = is_unit & ((lived != 0) | (adjust != 0)).any(axis=1)
    effects = permutation_tests(
        lived[used],
        in_treated[used],
        n_treated,
        int(is_unit.sum()) - n_treated,
        seed=seed,
        n_permutations=N_PERMUTATIONS,
        before=adjust[used],
    )
    truth = (lived - bare).sum(axis=0) / n_treated
    measured = tuple(
        Measured(float(true), one.difference, one.low, one.high, one.verdict)
        for true, one in zip(truth, effects, strict=True)
    )
    return Reading(measured, *_naive(seen, known, treated))


def _naive(seen: Lived, known: Bools, treated: Bools) -> tuple[float, float]:
    written = known & (seen.messages > 0)
    other = known & ~written
    if not written.any() or not other.any():
        return 0.0, 0.0
    difference = float(seen.profit[written].mean() - seen.profit[other].mean()) / 100
    return difference, float(written.sum() / (known & treated).sum())
