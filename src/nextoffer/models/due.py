"""Which already-bought products are due: the best of four methods on the latest labelled cut-off.

`poisson-gamma` needs no labels (reorder.py). `kernel` is additive logistic curves on the time-decayed sum of
the pair's purchases, the Poisson-Gamma log-odds and how customer and product behave (habits.py); `boosting` is
trees on the same features; `both` the mean of their log-odds. Taught on earlier cuts, compared on the newest
labelled one by PR-AUC and Brier score, the winner is taught again on all of them. A method is only tried where
there is history enough for it. *Whether* is told, never a date: a window of days and its probability.

References
----------
Bhagat et al. (2018), Buy It Again, KDD, for the task. Hastie & Tibshirani (1990) and Friedman (2001) for the
learners. Bates & Granger (1969), The Combination of Forecasts, for `both`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.models.calibration import calibrate
from nextoffer.models.curves import Curves, evaluate, fit_rows
from nextoffer.models.habits import FLAT, HABIT_FEATURES, habit_features, log_odds_of, pair_customer
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.reorder import p_reorder, wait_law, window_of
from nextoffer.models.trees import Trees, fit_trees, log_odds

if TYPE_CHECKING:
    from nextoffer.models.ranker import Lesson

METHODS = ("poisson-gamma", "kernel", "boosting", "both")  # from the plainest
POPULATION_DAYS = 365  # pairs bought longer ago teach nothing
NEEDS = {"kernel": (56, 200), "boosting": (182, 1_000), "both": (182, 1_000)}  # days of history, purchases
LASTING = 0.5  # of what the newest cut shows amiss: chosen on ten earlier cuts of Online Retail
MAX_PAIRS = 500_000  # of a lesson that are looked at
MAX_ROWS = 100_000  # that are learned from, over all lessons
FOLD = 4  # with a single lesson, every fourth customer judges


@dataclass(frozen=True, slots=True)
class DueChoice:
    """Which method won, on what record; log-odds become probabilities by intercept + slope × log-odds.

    Parameters
    ----------
    judged, pr_auc, brier : the methods tried and their scores on the newest labelled cut; empty if none was
    """

    horizon_days: int
    method: str
    intercept: float
    slope: float
    judged: tuple[str, ...]
    pr_auc: tuple[float, ...]
    brier: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Due:
    """Three flat parts for a bundle; `kernel` and `boosting` are there where the method needs them."""

    choice: DueChoice
    kernel: Curves | None
    boosting: Trees | None


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Features, Poisson-Gamma probabilities, labels and customers of the pairs of one lesson."""

    x: Floats
    plain: Floats
    bought: Bools
    customer: Ints

    def where(self, chosen: Bools) -> _Rows:
        return _Rows(self.x[chosen], self.plain[chosen], self.bought[chosen], self.customer[chosen])


def plain_due(horizon_days: int) -> Due:
    """Poisson-Gamma as it is: what is left where nothing can be taught."""
    return Due(DueChoice(horizon_days, METHODS[0], 0.0, 1.0, (), (), ()), None, None)


def fit_due(lessons: Sequence[Lesson], horizon_days: int, seed: int) -> Due:
    """Choose, teach and calibrate.

    Parameters
    ----------
    lessons : newest first, each the knowledge of one cut and what was bought in the horizon after it. The newest
        judges; where it is the only one, every fourth customer of it does
    """
    rows = [_rows_of(lesson) for lesson in lessons]
    if not rows:
        return plain_due(horizon_days)
    judge, taught = rows[0], rows[1:]
    if not taught:
        fold = judge.customer % FOLD == 0
        judge, taught = judge.where(fold), [judge.where(~fold)]
    ages = lessons[0].knowledge.customers.first_age_days
    tried = _affordable(int(ages.max(initial=0)) + horizon_days, taught)
    if tried == METHODS[:1] or not 0 < judge.bought.sum() < len(judge.bought):
        return plain_due(horizon_days)
    models = _fit(tried[-1], taught, seed)
    odds = {method: _log_odds(method, *models, judge.x, judge.plain) for method in tried}
    record = {method: _record(odds[method], judge.bought) for method in tried}
    method = _winner(record)
    fix = calibrate(_probability(odds[method]), judge.bought)
    slope, intercept = 1.0 + LASTING * (fix.slope - 1.0), LASTING * fix.intercept
    judged, (pr_auc, brier) = tuple(record), zip(*record.values(), strict=True)
    choice = DueChoice(horizon_days, method, intercept, slope, judged, tuple(pr_auc), tuple(brier))
    return Due(choice, *_fit(method, rows, seed))


def p_due(due: Due, knowledge: Knowledge, pair: Ints) -> Floats:
    """(n,) float32 probability that each of the rows `pair` is bought again within the horizon.

    Pure; a row's probability does not depend on what else is asked for.
    """
    choice, plain = due.choice, _plain(knowledge, pair, due.choice.horizon_days)
    if choice.method == METHODS[0]:
        odds = log_odds_of(plain)
    else:
        x = habit_features(knowledge, pair)
        odds = _log_odds(choice.method, due.kernel, due.boosting, x, plain)
    return _probability(choice.intercept + choice.slope * odds).astype(np.float32)


def due_window(
    due: Due, knowledge: Knowledge, pair: Ints, supply_days: Floats | None = None, share: float = 0.5
) -> tuple[Floats, Floats, Floats]:
    """(from_days, until_days, probability) of each of the rows `pair`, days counted from now.

    The wait for the next purchase is Lomax with the pair's Poisson-Gamma shape, its scale such that the chance
    within the horizon is `p_due`; the window on it is `reorder.window_of`.
    """
    pairs = knowledge.pairs
    n_days, first, last = pairs.n_days[pair], pairs.first_age_days[pair], pairs.last_age_days[pair]
    shape, _ = wait_law(knowledge.reorder, pairs.product[pair], n_days, first)
    p = np.clip(p_due(due, knowledge, pair).astype(np.float64), 1e-9, 1.0 - 1e-9)
    scale = due.choice.horizon_days / np.expm1(-np.log1p(-p) / shape)
    return window_of(shape, scale, last, supply_days, share)


@dataclass(frozen=True, slots=True, eq=False)
class CategoryPairs:
    """Customer × category, sorted: what `reorder` learns from and tells of, one level up; (n,) each."""

    customer: Ints
    category: Ints
    n_days: Ints
    first_age_days: Ints
    last_age_days: Ints


def category_pairs(customer: Ints, product: Ints, age_days: Ints, category: Ints) -> CategoryPairs:
    """Purchase rows, in any order, by category: days on which anything of it was bought.

    Parameters
    ----------
    customer, product, age_days : (m,) one row per order × product
    category : (n_products,) category of each product, −1 where it has none
    """
    of = category[product]
    known = of >= 0
    days = np.unique(np.stack([customer[known], of[known], age_days[known]], axis=1), axis=0)
    first = np.ones(len(days), dtype=bool)
    first[1:] = (days[1:, :2] != days[:-1, :2]).any(axis=1)
    start = np.flatnonzero(first)
    end = np.append(start, len(days))[1:]
    return CategoryPairs(days[start, 0], days[start, 1], end - start, days[end - 1, 2], days[start, 2])


def _rows_of(lesson: Lesson) -> _Rows:
    """The pairs of the last year, and which of them were bought again; of many, those of an even share of customers."""
    knowledge = lesson.knowledge
    pair = np.flatnonzero(knowledge.pairs.last_age_days < POPULATION_DAYS)
    customer, n = pair_customer(knowledge, pair), len(knowledge.products)
    some = customer % max(-(-len(pair) // MAX_PAIRS), 1) == 0
    pair, customer = pair[some], customer[some]
    truth = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    bought = np.isin(customer * n + knowledge.pairs.product[pair], truth)
    plain = _plain(knowledge, pair, knowledge.horizon_days)
    return _Rows(habit_features(knowledge, pair), plain, bought, customer)


def _plain(knowledge: Knowledge, pair: Ints, horizon_days: int) -> Floats:
    pairs = knowledge.pairs
    days = pairs.n_days[pair], pairs.first_age_days[pair], pairs.last_age_days[pair]
    return p_reorder(knowledge.reorder, pairs.product[pair], *days, horizon_days)


def _affordable(history_days: int, taught: Sequence[_Rows]) -> tuple[str, ...]:
    """The methods there is history and labels enough for, from the plainest."""
    labels = [sum(int((rows.bought == value).sum()) for rows in taught) for value in (True, False)]
    return METHODS[:1] + tuple(
        method for method, (days, fewest) in NEEDS.items() if history_days >= days and min(labels) >= fewest
    )


def _fit(method: str, parts: Sequence[_Rows], seed: int) -> tuple[Curves | None, Trees | None]:
    """The models `method` needs, both from the same rows."""
    kernel, boosting = None, None
    if method == METHODS[0]:
        return kernel, boosting
    table = _sampled(parts, np.random.default_rng([seed, 0]))
    if method in ("kernel", "both"):
        kernel = fit_rows(*table, HABIT_FEATURES, ridge=10.0, flat=FLAT)
    if method in ("boosting", "both"):
        boosting = fit_trees(*table, HABIT_FEATURES, seed=seed, n_trees=60, n_leaves=15, min_rows=100)
    return kernel, boosting


def _sampled(parts: Sequence[_Rows], rng: np.random.Generator) -> tuple[Floats, Bools, Floats]:
    """Features, labels and weights: every purchase, of the rest a share that carries the inverse as weight."""
    x, bought = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "bought"))
    n_negatives = int((~bought).sum())
    share = min(max(MAX_ROWS - int(bought.sum()), MAX_ROWS // 2) / max(n_negatives, 1), 1.0)
    kept = bought | (rng.random(len(bought)) < share)
    return x[kept], bought[kept], np.where(bought[kept], 1.0, 1.0 / share)


def _log_odds(method: str, kernel: Curves | None, boosting: Trees | None, x: Floats, plain: Floats) -> Floats:
    found = []
    if kernel is not None and method in ("kernel", "both"):
        found.append(log_odds_of(evaluate(kernel, x)))
    if boosting is not None and method in ("boosting", "both"):
        found.append(log_odds(boosting, x))
    return np.asarray(sum(found) / len(found)) if found else log_odds_of(plain)


def _record(odds: Floats, bought: Bools) -> tuple[float, float]:
    """PR-AUC (average precision) and Brier score."""
    from sklearn.metrics import average_precision_score

    missed = _probability(odds) - bought
    return float(average_precision_score(bought, odds)), float(missed @ missed / len(bought))


def _winner(record: dict[str, tuple[float, float]]) -> str:
    """A method takes the place of a plainer one if its PR-AUC is higher and its Brier score no worse."""
    best = METHODS[0]
    for method, (pr_auc, brier) in record.items():
        if pr_auc > record[best][0] and brier <= record[best][1]:
            best = method
    return best


def _probability(odds: Floats) -> Floats:
    return np.asarray(1.0 / (1.0 + np.exp(-odds)))
