"""Metrics of the treated and of the holdout among random assignments of the same customers.

What is compared can still be judged at any error: alone at 2.5 % a side, at a planned look (`looks`), or as one of a
family (`families`). `experiment` is the short way to one effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import stdtrit

from nextoffer.domain.arrays import Bools, Floats
from nextoffer.errors import MeasurementError
from nextoffer.measurement.cuped import Adjusted, adjust
from nextoffer.measurement.draws import Columns, draw
from nextoffer.measurement.effect import ALPHA, MIN_BUYERS, Arm, Effect, more_for_buyers, more_for_lift
from nextoffer.measurement.groups import Groups
from nextoffer.measurement.permutation import (
    SAME,
    Moments,
    Statistic,
    difference,
    log_ratio,
    mean_moments,
    ratio_moments,
)
from nextoffer.texts import said

_AMPLE = 5  # times the least number of buyers: expected so many, no assignment falls short


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One metric seen once and drawn many times: what can be judged at any error.

    Parameters
    ----------
    money : the difference among its permutations; None where there are too few buyers
    relative : the logarithm of the ratio among them; None where a group's total is not above 0
    freedom : Welch's degrees of freedom
    """

    arms: tuple[Arm, Arm]
    money: Statistic | None
    relative: Statistic | None
    freedom: float
    adjusted: Adjusted | None
    shape_differs: bool
    min_buyers: int
    n_permutations: int
    seed: int

    @property
    def p(self) -> float | None:
        """Two-sided."""
        return None if self.money is None else min(1.0, 2 * min(self.money.p_win, self.money.p_loss))

    def effect(self, alpha: float = ALPHA, q: float | None = None) -> Effect:
        """The effect at a one-sided error, with its interval of 1 − 2 alpha."""
        if self.money is None:
            n_more = more_for_buyers(*self.arms, self.min_buyers)
            return Effect(*self.arms, "too few buyers", n_more=n_more, seed=self.seed, alpha=alpha)
        money, (low, high) = self.money, self.money.interval(alpha)
        welch = float(stdtrit(self.freedom, 1 - alpha)) * money.stderr if money.stderr > 0 else 0.0
        effect = Effect(
            *self.arms,
            money.verdict(alpha),
            difference=money.estimate,
            low=low,
            high=high,
            p=self.p,
            p_win=money.p_win,
            p_loss=money.p_loss,
            welch_low=money.estimate - welch,
            welch_high=money.estimate + welch,
            detectable=money.detectable(alpha),
            n_more=more_for_lift(self.arms, money.detectable(ALPHA)),
            shape_differs=self.shape_differs,
            n_permutations=self.n_permutations,
            seed=self.seed,
            alpha=alpha,
            theta=self.adjusted.theta if self.adjusted is not None else None,
            variance_cut=self.adjusted.variance_cut if self.adjusted is not None else None,
            q=q,
        )
        return _with_relative(effect, self.relative)


def _with_relative(effect: Effect, relative: Statistic | None) -> Effect:
    if relative is None:
        return replace(effect, relative_note=said("no relative size: a group's total is not above 0"))
    size = _expm1(relative.estimate)
    if relative.verdict(effect.alpha) != effect.verdict:
        return replace(effect, relative=size, relative_note=said("relative size not determined"))
    low, high = (_expm1(end) for end in relative.interval(effect.alpha))
    return replace(effect, relative=size, relative_low=low, relative_high=high)


def compare(
    values: Floats,
    groups: Groups,
    before: Floats | None = None,
    *,
    seed: int,
    n_permutations: int,
    min_buyers: int = MIN_BUYERS,
) -> tuple[Compared, ...]:
    """Each of (K, M) values among the same permutations; see `experiment.permutation_tests`."""
    table: Floats = np.asarray(values, dtype=np.float64)
    n_metrics = table.shape[-1]
    if before is not None:
        past = np.asarray(before, dtype=np.float64)
        if past.shape != table.shape:
            raise MeasurementError(f"{table.shape} values but {past.shape} before: there must be one each")
        table = np.hstack([table, past])
    table, groups = groups.of_valued(table)
    metrics = []
    for at in range(n_metrics):
        value = table[:, at]
        adjusted = None if before is None else adjust(value, table[:, n_metrics + at], groups.n)
        columns = [value] if adjusted is None else [value, adjusted.values]
        arms = _arms(value, value > 0, groups)
        metrics.append(_Metric(arms, columns, value, value > 0, min_buyers, adjusted))
    return _judged(metrics, groups, seed, n_permutations)


def compare_ratio(
    top: Floats,
    bottom: Floats,
    groups: Groups,
    *,
    seed: int,
    n_permutations: int,
    min_buyers: int = MIN_BUYERS,
) -> Compared:
    """A ratio of sums among its permutations; see `experiment.ratio_test`."""
    table, groups = groups.of_valued(np.column_stack([top, bottom]).astype(np.float64))
    top, bottom = table.T
    if (bottom < 0).any():
        raise MeasurementError(
            "what a ratio is divided by is below 0 for a customer: count it, do not net it"
        )
    arms = _arms(top, bottom > 0, groups, bottom)
    each = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    # a group without any bottom has no ratio, whatever number of buyers is asked for
    metric = _Metric(arms, [top, bottom], each, bottom > 0, max(1, min_buyers), is_ratio=True)
    (compared,) = _judged([metric], groups, seed, n_permutations)
    return compared


@dataclass(frozen=True, slots=True, eq=False)
class _Metric:
    """One metric before it is judged: `columns` are a value and what CUPED makes of it, or top and bottom."""

    arms: tuple[Arm, Arm]
    columns: Sequence[Floats]
    baskets: Floats
    bought: Bools
    min_buyers: int
    adjusted: Adjusted | None = None
    is_ratio: bool = False

    @property
    def enough(self) -> bool:
        return min(arm.n_buyers for arm in self.arms) >= self.min_buyers

    @property
    def tight(self) -> bool:
        """Whether another assignment might have left a group with too few buyers."""
        n, n_buyers = (sum(getattr(arm, name) for arm in self.arms) for name in ("n", "n_buyers"))
        return (
            self.min_buyers > 1 and n_buyers * min(arm.n for arm in self.arms) < _AMPLE * self.min_buyers * n
        )

    def moments(self, sums: Floats, start: int, n_columns: int, sizes: Floats) -> tuple[Moments, Moments]:
        """Of the values as they are, and of what is judged; its columns start here among all that were summed."""
        if self.is_ratio:
            top, bottom = start, start + 1
            products = [n_columns + top, 2 * n_columns, n_columns + bottom]
            ratio = ratio_moments(sums[..., [top, bottom, *products]], sizes)
            return ratio, ratio
        plain, judged = (
            mean_moments(sums[..., [at, n_columns + at]], sizes)
            for at in (start, start + len(self.columns) - 1)
        )
        return plain, judged


def _judged(
    metrics: Sequence[_Metric], groups: Groups, seed: int, n_permutations: int
) -> tuple[Compared, ...]:
    if int(ALPHA * (n_permutations + 1) + SAME) < 1:
        raise MeasurementError(
            f"{n_permutations} permutations cannot show an error of {ALPHA}: "
            f"use {math.ceil(1 / ALPHA)} or more"
        )
    judged = [metric for metric in metrics if metric.enough]
    statistics = iter(_statistics(judged, groups, seed, n_permutations) if judged else ())
    compared = []
    for metric in metrics:
        money, relative, freedom = next(statistics) if metric.enough else (None, None, 0.0)
        differs = _shape_differs(metric.baskets, groups.treated)
        options = (metric.adjusted, differs, metric.min_buyers, n_permutations, seed)
        compared.append(Compared(metric.arms, money, relative, freedom, *options))
    return tuple(compared)


def _statistics(
    metrics: Sequence[_Metric], groups: Groups, seed: int, n_permutations: int
) -> Iterator[tuple[Statistic, Statistic | None, float]]:
    """The difference, the ratio if there is one, and Welch's degrees of freedom of each metric."""
    tight = [metric.bought.astype(np.float64) for metric in metrics if metric.tight]
    values = np.column_stack([*(column for metric in metrics for column in metric.columns), *tight])
    columns = Columns(values, ((0, 1),) if metrics[0].is_ratio else ())
    seen = columns.by_group(groups.treated)
    drawn = draw(columns, groups.strata, groups.sizes, n_permutations, np.random.default_rng(seed))
    start, n_columns = 0, values.shape[1]
    bought = iter(range(n_columns - len(tight), n_columns))
    for metric in metrics:
        rivals = drawn
        if metric.tight:
            # A verdict is given only where both groups have enough buyers: it must be rare among the assignments
            # that would have had one too, or refusing those with few buyers held out hides the wins by chance.
            rivals = drawn[(drawn[..., next(bought)] >= metric.min_buyers - 0.5).all(axis=-1)]
        plain, judged = zip(
            *(metric.moments(sums, start, n_columns, groups.totals) for sums in (seen, rivals)), strict=True
        )
        relative = Statistic.of(*map(log_ratio, plain)) if plain[0][0].min() > 0 else None
        yield Statistic.of(*map(difference, judged)), relative, _freedom(judged[0][1], groups.totals)
        start += len(metric.columns)


def _freedom(variance: Floats, sizes: Floats) -> float:
    if not variance.any():
        return math.inf
    return float(variance.sum() ** 2 / (variance**2 / (sizes - 1)).sum())


def _arms(values: Floats, bought: Bools, groups: Groups, per: Floats | None = None) -> tuple[Arm, Arm]:
    treated, holdout = (
        Arm(
            int(size),
            int(np.count_nonzero(bought[group])),
            float(values[group].sum()),
            None if per is None else float(per[group].sum()),
        )
        for size, group in zip(groups.totals, (groups.treated, ~groups.treated), strict=True)
    )
    return treated, holdout


def _shape_differs(baskets: Floats, treated: Bools) -> bool:
    """Whether the spread of log-baskets differs by more than a fifth between the groups."""
    logs = [np.log(baskets[group & (baskets > 0)]) for group in (treated, ~treated)]
    if min(len(part) for part in logs) < 2:
        return False
    spreads = sorted(float(part.std(ddof=1)) for part in logs)
    return spreads[1] > 1.2 * spreads[0] + SAME


def _expm1(log_ratio: float) -> float:
    return math.expm1(log_ratio) if log_ratio < 700 else math.inf
