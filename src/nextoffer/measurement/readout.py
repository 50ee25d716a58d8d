"""One look at one experiment: who was compared, what offers caused, for whom, and what is merely put down to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nextoffer.domain.kinds import KINDS
from nextoffer.domain.money import minor_digits
from nextoffer.domain.wording import kind_name, segment_name
from nextoffer.measurement.attribution import Attributed, attributed, naive_difference
from nextoffer.measurement.checks import Checks, check
from nextoffer.measurement.crosscheck import SecondOpinion
from nextoffer.measurement.effect import Effect
from nextoffer.measurement.judging import Judge, Parts, Question, alpha_of, anytime_of, comparable
from nextoffer.measurement.kpi import Filter, roi_incremental
from nextoffer.measurement.looks import Anytime
from nextoffer.measurement.outcomes import OF_A_CATEGORY, Look, Observed, observe
from nextoffer.measurement.records import Records
from nextoffer.texts import Said, listed, said

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
DECISIVE = ("profit", "margin")  # the first that is known
TRIGGERED = ("profit", "revenue", "orders", "conversion")
Effects = tuple[tuple[str, Effect], ...]


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
class Caused:
    """What the comparison of the groups says; see `Readout`."""

    decides: str
    effects: Effects = ()
    triggered: Effects = ()
    segments: Parts = ()
    kinds: Parts = ()
    anytime: Anytime | None = None
    second_opinion: SecondOpinion | None = None
    left_out: tuple[Said, ...] = ()


NOTHING = Caused("profit")


@dataclass(frozen=True, slots=True)
class Readout:
    """One experiment's answer. `effects` (intention to treat), `triggered` and the parts are caused; `attributed` and
    `naive` are not. Without an answer (`checks.blocked`) there are no effects.

    Parameters
    ----------
    triggered : the same among those who were offered something, or would have been
    segments, kinds : families of effects on what decides; each is called only if its q is 5 % or less
    decides : the metric the answer rests on: profit, or margin where costs cannot be told apart
    anytime : an interval for it that holds however often one looks
    second_opinion : what tea-tasting says of it, where half is held out
    naive : revenue of the treated who met an offer minus those who did not, per customer: what proves nothing
    """

    question: Question
    checks: Checks
    caused: Caused
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

    @property
    def effects(self) -> Effects:
        """All of them."""
        return self.caused.effects

    @property
    def settled(self) -> bool:
        """Whether the verdict may be acted upon. A question that is open is asked again and again: then only what
        the interval for any number of looks says too."""
        effect, anytime = self.effect(self.caused.decides), self.caused.anytime
        if effect is None or effect.verdict not in ("win", "loss") or not self.question.is_open:
            return True
        return anytime is not None and (anytime.low > 0 or anytime.high < 0)


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
    judge = Judge(question, n_permutations)
    seen, unlike = _part(judge, everybody, filter)
    caused = NOTHING
    if checks.blocked is None and unlike is None and comparable(seen):
        caused = _caused(judge, checks, seen)
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
        caused,
        put_down,
        naive_difference(seen),
        _roi(dict(caused.effects), put_down, records.currency),
        everybody.excluded,
        (*everybody.notes, *caused.left_out, *([unlike] if unlike is not None else [])),
    )


def _part(judge: Judge, everybody: Observed, filter: Filter) -> tuple[Observed, Said | None]:
    """The customers asked about, and why their groups cannot be compared, if they cannot."""
    seen = everybody if filter.segment is None else everybody.segment(filter.segment)
    if filter.kind is None:
        return seen, None
    seen = seen.triggered(filter.kind)
    return seen, None if judge.alike(seen) else _unlike((filter.kind,))


def _caused(judge: Judge, checks: Checks, seen: Observed) -> Caused:
    """All effects, those of the exposed, by segment and by kind, and the interval that holds at any time."""
    question, alpha = judge.question, alpha_of(judge.question)
    metrics = OF_A_CATEGORY if question.look.category else METRICS
    compared = dict(zip(metrics, judge.compare(seen, metrics, "all"), strict=True))
    effects = [(name, each.effect(alpha)) for name, each in compared.items()]
    effects.append(("average_order", judge.average_order(seen).effect(alpha)))
    met = seen.triggered()
    triggered: Effects = ()
    if checks.triggered_blocked is None and comparable(met):
        wanted = [name for name in TRIGGERED if name in metrics]
        again = judge.compare(met, wanted, "triggered")
        triggered = tuple((name, each.effect(alpha)) for name, each in zip(wanted, again, strict=True))
    of = next(name for name in DECISIVE if name in metrics)
    segments, _ = judge.family(of, {name: seen.segment(name) for name in seen.strata if name}, segment_name)
    kinds, unlike = judge.family(of, {kind: seen.triggered(kind) for kind in KINDS}, kind_name)
    return Caused(
        of,
        tuple(effects),
        triggered,
        segments,
        kinds,
        anytime_of(question, compared[of]),
        judge.second_opinion(seen, of),
        (_unlike(unlike),) if unlike else (),
    )


def _unlike(kinds: tuple[str, ...]) -> Said:
    """Why some kinds are left out."""
    return said(
        "of those offered {kinds} on their first day another share is held out than was drawn: not compared",
        kinds=listed([kind_name(kind) for kind in kinds]),
    )


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
