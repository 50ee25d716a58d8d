"""How one look is judged: which permutations, at what error, and which parts of the customers may be compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from nextoffer.measurement.checks import RATIO_P, ratio_p
from nextoffer.measurement.compare import Compared, compare, compare_ratio
from nextoffer.measurement.crosscheck import SecondOpinion, second_opinion
from nextoffer.measurement.effect import ALPHA, Effect
from nextoffer.measurement.experiment import seed_of
from nextoffer.measurement.families import family
from nextoffer.measurement.groups import Groups
from nextoffer.measurement.looks import Anytime, always_valid_p, anytime, mixture_alpha, nominal_alphas
from nextoffer.measurement.outcomes import Look, Observed
from nextoffer.measurement.records import naive
from nextoffer.texts import Said

FEW_DRAWS = 1_999  # enough where so many customers have a value that 9,999 would take minutes
MANY = 200_000
AMPLE = 10_000  # buyers held out, from which their mean is normal whatever they spend
QUARTER = timedelta(days=91)  # when nothing is planned, the anytime interval is narrowest after so long
EVEN = (0.45, 0.55)  # shares held out at which the usual test is right too, and stands beside ours


@dataclass(frozen=True, slots=True)
class Question:
    """What to look at: an experiment's version, whom its groups were drawn from and how, and how often one looks.

    Parameters
    ----------
    what : what is kept back, in words
    exact : groups were drawn inside strata
    nth_look, n_looks : this look of so many planned ones; 0 before the first of them, or where nothing is planned
    lasts : how long it was meant to last, where that was said
    is_open : nobody has said when it is judged, or that day has not come: whoever looks daily looks often
    programme : what the loyalty programme costs in that time, minor units
    n_altered : assignments that are not what was drawn; what the ledger found
    """

    look: Look
    holdout_share: float
    what: Said
    exact: bool = False
    nth_look: int = 0
    n_looks: int = 1
    lasts: timedelta | None = None
    is_open: bool = False
    programme: int = 0
    n_altered: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """The effect on some of the customers: of a segment, or offered a kind on the day they were assigned."""

    key: str
    name: str
    effect: Effect


Parts = tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Judge:
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

    def family(
        self, metric: str, parts: Mapping[str, Observed], name: Callable[[str], str]
    ) -> tuple[Parts, tuple[str, ...]]:
        """One metric of several parts of the customers, judged together, and the keys of those left out: as many of a
        part must be held out as of all, or its groups are not alike. Parts with nobody to compare are no parts."""
        there = {key: part for key, part in parts.items() if comparable(part)}
        alike = {key: part for key, part in there.items() if self.alike(part, len(there))}
        compared = [self.compare(part, (metric,), key)[0] for key, part in alike.items()]
        effects = family(compared)
        found = tuple(Part(key, name(key), effect) for key, effect in zip(alike, effects, strict=True))
        return found, tuple(key for key in there if key not in alike)

    def alike(self, seen: Observed, n_parts: int = 1) -> bool:
        """Whether as large a share of these customers is held out as was drawn."""
        p = ratio_p(seen.n_treated, seen.n_holdout, self.question.holdout_share)
        return p is None or p * n_parts >= RATIO_P

    def second_opinion(self, seen: Observed, metric: str) -> SecondOpinion | None:
        """What tea-tasting says, where half is held out; None elsewhere, and where it is not installed."""
        low, high = EVEN
        if not low <= seen.n_holdout / (seen.n_holdout + seen.n_treated) <= high:
            return None
        sizes = seen.n_treated, seen.n_holdout
        return second_opinion(seen.values[metric], seen.treated, *sizes, before=seen.before.get(metric))

    def _groups(self, seen: Observed) -> Groups:
        sizes = (seen.stratum, seen.sizes) if self.question.exact else (None, None)
        return Groups.of(seen.treated, seen.n_treated, seen.n_holdout, *sizes)

    def _draws(self, seen: Observed) -> int:
        return min(self.n_permutations, FEW_DRAWS) if len(seen.treated) > MANY else self.n_permutations

    def _seed(self, which: str) -> int:
        asked = self.question.look
        span = f"{naive(asked.start).isoformat()}/{naive(asked.end).isoformat()}"
        return seed_of(asked.name, asked.version, span if which == "all" else f"{span}/{which}")


def comparable(seen: Observed) -> bool:
    """Whether each group has somebody."""
    return min(seen.n_treated, seen.n_holdout) >= 2


def alpha_of(question: Question) -> float:
    """The one-sided error of this look: all of it where one look is planned."""
    if question.n_looks == 1:
        return ALPHA
    if question.nth_look == 0:
        return nominal_alphas([1 / question.n_looks])[0]
    return nominal_alphas([look / question.n_looks for look in range(1, question.nth_look + 1)])[-1]


def anytime_of(question: Question, compared: Compared) -> Anytime | None:
    """The interval that holds however often one looks; None with too few buyers.

    By the permutations, which keep its error where few are held out; with very many buyers their mean is normal, and
    fewer permutations are drawn than so small an error would need.
    """
    if compared.p is None or compared.money is None:
        return None
    fraction = (question.look.end - question.look.start) / (question.lasts or QUARTER)
    difference, stderr = compared.money.estimate, compared.money.stderr
    if min(arm.n_buyers for arm in compared.arms) >= AMPLE and stderr > 0:
        return anytime(difference, stderr, stderr * math.sqrt(fraction))
    effect = compared.effect(mixture_alpha(fraction))
    if effect.low is None or effect.high is None:
        return None
    return Anytime(effect.low, effect.high, always_valid_p(compared.p, fraction))
