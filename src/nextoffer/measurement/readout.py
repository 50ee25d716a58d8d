"""One look at one experiment: who was compared, what offers caused, for whom, and what is merely put down to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.domain.wording import kind_name, segment_name
from nextoffer.measurement.attribution import Attributed, attributed, naive_difference
from nextoffer.measurement.checks import Checks, check
from nextoffer.measurement.compare import Compared, compare, compare_ratio
from nextoffer.measurement.effect import ALPHA, Effect
from nextoffer.measurement.experiment import seed_of
from nextoffer.measurement.families import family
from nextoffer.measurement.groups import Groups
from nextoffer.measurement.kpi import Filter, roi_incremental
from nextoffer.measurement.looks import Anytime, always_valid_p, mixture_alpha, nominal_alphas
from nextoffer.measurement.outcomes import OF_A_CATEGORY, Look, Observed, observe
from nextoffer.measurement.records import Records, naive
from nextoffer.texts import Said

FEW_DRAWS = 1_999  # enough where so many customers have a value that 9,999 would take minutes
MANY = 200_000
QUARTER = timedelta(days=91)  # when nothing is planned, the anytime interval is narrowest after so long
METRICS = (
    "profit",
    "revenue",
    "margin",
    "orders",
    "conversion",
    "units",
    "repeat",
    "incentive_cost",
    "contact_cost",
)
TRIGGERED = ("profit", "revenue", "orders", "conversion")
Effects = tuple[tuple[str, Effect], ...]


@dataclass(frozen=True, slots=True)
class Question:
    """What to look at: an experiment's version, whom its groups were drawn from and how, and how often one looks.

    Parameters
    ----------
    what : what is kept back, in words
    exact : groups were drawn inside strata
    nth_look, n_looks : this look, from 1, of so many planned ones; 1 of 1 where nothing is planned
    lasts : how long it was meant to last, where that was said
    programme : what the loyalty programme costs in that time, minor units
    n_altered : assignments that are not what was drawn; what the ledger found
    """

    look: Look
    holdout_share: float
    what: Said
    exact: bool = False
    nth_look: int = 1
    n_looks: int = 1
    lasts: timedelta | None = None
    programme: int = 0
    n_altered: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """The effect on profit of some of the customers: a segment, or those who were offered a kind."""

    key: str
    name: str
    effect: Effect


Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Roi:
    """What a unit of cost brought back, in percent: what may be put down to offers, and what they caused.

    Attributed are only offers whose windows are closed and their costs; incremental is everything in the window, as
    is `cost` (minor units; None without an answer).
    """

    attributed_percent: float | None
    incremental_percent: float | None
    low: float | None
    high: float | None
    cost: int | None


@dataclass(frozen=True, slots=True)
class Readout:
    """One experiment's answer. `effects` (intention to treat), `triggered` and the parts are caused; `attributed` and
    `naive` are not. Without an answer (`checks.blocked`) there are no effects.

    Parameters
    ----------
    triggered : the same among those who were offered something, or would have been
    segments, kinds : families of effects on profit; each is called only if its q is 5 % or less
    anytime : an interval for profit that holds however often one looks
    naive : revenue of the treated who met an offer minus those who did not, per customer: what proves nothing
    """

    question: Question
    checks: Checks
    effects: tuple[tuple[str, Effect], ...]
    triggered: tuple[tuple[str, Effect], ...]
    segments: Parts
    kinds: Parts
    anytime: Anytime | None
    attributed: Attributed
    naive: float | None
    roi: Roi
    excluded: dict[str, int]
    notes: tuple[Said, ...]

    @property
    def look(self) -> Look:
        """What was asked."""
        return self.question.look

    def effect(self, name: str) -> Effect | None:
        """The effect on one metric; None without an answer."""
        return dict(self.effects).get(name)


def read_out(records: Records, question: Question, filter: Filter, n_permutations: int) -> Readout:
    """One look at one experiment.

    Parameters
    ----------
    filter : one segment at assignment, or one kind (those who were, or would have been, offered it on that day)
    n_permutations : at most; 1,999 are drawn where very many customers have a value
    """
    everybody = observe(records, question.look)
    checks = check(
        records, question.look, everybody, holdout_share=question.holdout_share, n_altered=question.n_altered
    )
    seen = everybody if filter.segment is None else everybody.segment(filter.segment)
    seen = seen if filter.kind is None else seen.triggered(filter.kind)
    found: tuple[Effects, Effects, Parts, Parts, Anytime | None] = ((), (), (), (), None)
    if checks.blocked is None and _comparable(seen):
        found = _caused(question, checks, seen, n_permutations)
    look = question.look
    put_down = attributed(
        records,
        look.start,
        look.end,
        programme=question.programme,
        kinds=look.kinds if filter.kind is None else (filter.kind,),
        campaigns=look.campaigns,
        segment=filter.segment,
        category=look.category,
    )
    return Readout(
        question,
        checks,
        *found,
        put_down,
        naive_difference(seen),
        _roi(dict(found[0]), put_down, records.currency),
        everybody.excluded,
        everybody.notes,
    )


def _caused(
    question: Question, checks: Checks, seen: Observed, n_permutations: int
) -> tuple[Effects, Effects, Parts, Parts, Anytime | None]:
    """All effects, those of the exposed, by segment and by kind, and the interval that holds at any time."""
    judge, alpha = _Judge(question, n_permutations), _alpha(question)
    metrics = OF_A_CATEGORY if question.look.category else METRICS
    compared = judge.compare(seen, metrics, "all")
    effects = [(name, each.effect(alpha)) for name, each in zip(metrics, compared, strict=True)]
    effects.append(("average_order", judge.average_order(seen).effect(alpha)))
    met = seen.triggered()
    triggered: Effects = ()
    if checks.triggered_blocked is None and _comparable(met):
        wanted = [name for name in TRIGGERED if name in metrics]
        again = judge.compare(met, wanted, "triggered")
        triggered = tuple((name, each.effect(alpha)) for name, each in zip(wanted, again, strict=True))
    of = metrics[0]
    segments = judge.family(of, {name: seen.segment(name) for name in seen.strata if name}, segment_name)
    kinds = judge.family(of, {kind: seen.triggered(kind) for kind in KINDS}, kind_name)
    return tuple(effects), triggered, segments, kinds, _anytime(question, compared[0])


@dataclass(frozen=True, slots=True)
class _Judge:
    """The permutation tests of one look; each has a seed of its own, the same whenever it is repeated."""

    question: Question
    n_permutations: int

    def compare(self, seen: Observed, metrics: Sequence[str], which: str) -> tuple[Compared, ...]:
        """Several metrics among the same permutations."""
        values = seen.matrix(metrics)
        before = seen.matrix_before(metrics)
        return compare(
            values, self._groups(seen), before, seed=self._seed(which), n_permutations=self._draws(seen)
        )

    def average_order(self, seen: Observed) -> Compared:
        """Revenue per order."""
        top, bottom = seen.values["revenue"], seen.values["orders"]
        seed, draws = self._seed("average_order"), self._draws(seen)
        return compare_ratio(top, bottom, self._groups(seen), seed=seed, n_permutations=draws)

    def family(self, metric: str, parts: Mapping[str, Observed], name: Callable[[str], str]) -> Parts:
        """One metric of several parts of the customers, judged together; parts with nobody to compare are left out."""
        there = {key: part for key, part in parts.items() if _comparable(part)}
        compared = [self.compare(part, (metric,), key)[0] for key, part in there.items()]
        effects = family(compared)
        return tuple(Part(key, name(key), effect) for key, effect in zip(there, effects, strict=True))

    def _groups(self, seen: Observed) -> Groups:
        sizes = (seen.stratum, seen.sizes) if self.question.exact else (None, None)
        return Groups.of(seen.treated, seen.n_treated, seen.n_holdout, *sizes)

    def _draws(self, seen: Observed) -> int:
        return min(self.n_permutations, FEW_DRAWS) if len(seen.treated) > MANY else self.n_permutations

    def _seed(self, which: str) -> int:
        asked = self.question.look
        span = f"{naive(asked.start).isoformat()}/{naive(asked.end).isoformat()}"
        return seed_of(asked.name, asked.version, span if which == "all" else f"{span}/{which}")


def _comparable(seen: Observed) -> bool:
    return min(seen.n_treated, seen.n_holdout) >= 2


def _alpha(question: Question) -> float:
    """The one-sided error of this look: all of it where one look is planned."""
    if question.n_looks == 1:
        return ALPHA
    return nominal_alphas([look / question.n_looks for look in range(1, question.nth_look + 1)])[-1]


def _anytime(question: Question, profit: Compared) -> Anytime | None:
    """The interval of the permutations that holds however often one looks; None with too few buyers."""
    if profit.p is None:
        return None
    fraction = (question.look.end - question.look.start) / (question.lasts or QUARTER)
    effect = profit.effect(mixture_alpha(fraction))
    if effect.low is None or effect.high is None:
        return None
    return Anytime(effect.low, effect.high, always_valid_p(profit.p, fraction))


def _roi(effects: Mapping[str, Effect], put_down: Attributed, currency: str) -> Roi:
    """Per unit of what offers and programme cost: what may be put down to them, and what they caused."""
    spent = [effects[name].treated.total for name in ("incentive_cost", "contact_cost") if name in effects]
    profit = effects.get("profit")
    if len(spent) < 2 or profit is None or profit.difference is None:
        return Roi(put_down.roi_percent, None, None, None, None)
    unit = 10 ** minor_digits(currency)
    programme = put_down.programme / unit
    cost = sum(spent) + programme
    n = profit.treated.n

    def total(end: float | None) -> float | None:
        return None if end is None or math.isinf(end) else end * n - programme

    caused = roi_incremental(profit.difference * n - programme, total(profit.low), total(profit.high), cost)
    size, low, high = (None if part is None else 100 * part for part in caused or (None, None, None))
    return Roi(put_down.roi_percent, size, low, high, round(cost * unit))
