"""p_buy: the probability that a customer buys a product within the horizon, with no offer made.

Two views, one scale: products the customer bought before (*repeat*) and products they never bought
(*explore*). Each view is additive curves and boosted trees (mixture.py), taught by what was bought in the
horizons after moments of the past, so its probabilities are comparable across views and customers. A shop too
small to teach them falls back to Poisson-Gamma and to agreement of the sources.

What they look at: views.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints, best_first
from nextoffer.models.candidates import SOURCES
from nextoffer.models.curves import sampled
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.mixture import Mixture, fit_mixture, probability
from nextoffer.models.reorder import p_reorder
from nextoffer.models.views import (
    EXPLORE_FEATURES,
    REPEAT_FEATURES,
    Rows,
    explore_features,
    repeat_features,
    rows_of,
)

BLOCK = 1_000  # customers looked at together: their scores of all products are held at a time
MIN_POSITIVES = 100
MAX_NEGATIVES = (
    400_000  # explore rows kept that were not bought; a share, carrying the inverse as their weight
)
N_EXPLORED = 120  # explore rows a customer has, about
RIDGE = 10.0
TILT = 0.25  # chosen on Online Retail, cuts 2011-09-16 and 10-14: ndcg@10 +0.7 %


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Every product a batch of customers might buy, sorted by customer then product.

    Parameters
    ----------
    position : (n,) position in the batch; product : (n,) int32
    p_buy : (n,) float32; repeat : (n,) bool, bought before
    pair : (n,) int64 row of `knowledge.pairs` for repeats, −1 otherwise
    source : name -> (n,) int32 rank the source gave it (0 best, −1 not proposed)
    because : name -> (n,) int32 product that gave rise to it under that source, −1 if none
    """

    position: Ints
    product: Ints
    p_buy: Floats
    repeat: Bools
    pair: Ints
    source: Mapping[str, Ints]
    because: Mapping[str, Ints]


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """Knowledge of one moment and what its customers bought in the horizon after it.

    Parameters
    ----------
    bought_customer, bought_product : (n,) rows of distinct pairs
    """

    knowledge: Knowledge
    bought_customer: Ints
    bought_product: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Ranker:
    """Both views, and the step of the fallback ladder they stand on (`mixture` or `combined`)."""

    horizon_days: int
    step: str
    repeat: Mixture | None
    explore: Mixture | None


def can_score(ranker: Ranker) -> bool:
    """Whether a stored ranker knows the features of this version; one of another version may not."""
    known = {"repeat": REPEAT_FEATURES, "explore": EXPLORE_FEATURES}
    views = {view: getattr(ranker, view) for view in known}
    return all(mixture is None or mixture.trees.features == known[view] for view, mixture in views.items())


def score_batch(ranker: Ranker, knowledge: Knowledge, rows: Ints) -> Scored:
    """p_buy of everything the customers at `rows` might buy. Pure; the same for any split into batches."""
    rows = np.asarray(rows, dtype=np.int64)
    parts = [_score_block(ranker, knowledge, rows[at : at + BLOCK], at) for at in range(0, len(rows), BLOCK)]
    if not parts:
        parts = [_score_block(ranker, knowledge, rows, 0)]
    if len(parts) == 1:
        return parts[0]
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("position", "product", "p_buy", "repeat", "pair")
    }
    ranks, reasons = (
        {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in SOURCES}
        for field in ("source", "because")
    )
    return Scored(**columns, source=ranks, because=reasons)


def _score_block(ranker: Ranker, knowledge: Knowledge, rows: Ints, start: int) -> Scored:
    again, fresh = rows_of(knowledge, rows)
    p_again = _p_repeat(ranker, knowledge, again)
    p_fresh = _p_explore(ranker, knowledge, fresh)
    position = np.concatenate([again.position, fresh.position])
    product = np.concatenate([again.product, fresh.product])
    order = best_first(position, product)
    absent = np.full(len(again.position), -1, dtype=np.int32)

    def ordered(column: Ints) -> Ints:
        return np.concatenate([absent, column])[order]

    return Scored(
        position[order] + start,
        product[order].astype(np.int32),
        np.concatenate([p_again, p_fresh])[order].astype(np.float32),
        order < len(again.position),
        np.concatenate([again.pair, fresh.pair])[order],
        {name: ordered(fresh.rank[name]) for name in SOURCES},
        {name: ordered(fresh.because[name]) for name in SOURCES},
    )


def fit_ranker(lessons: Sequence[Lesson], horizon_days: int, seed: int) -> Ranker:
    """Learn both views from what customers bought in the horizon after each of one or more moments."""
    rng = np.random.default_rng([seed, horizon_days])
    views: dict[str, list[tuple[Floats, Bools]]] = {"repeat": [], "explore": []}
    n_customers = sum(len(lesson.knowledge.customers) for lesson in lessons)
    share = min(MAX_NEGATIVES / max(n_customers * N_EXPLORED, 1), 1.0)
    for lesson in lessons:
        for again, fresh in _lesson_rows(lesson):
            views["repeat"].append(again)
            kept = fresh[1] | (rng.random(len(fresh[1])) < share)
            views["explore"].append((fresh[0][kept], fresh[1][kept]))
    repeat = _fit_view(views["repeat"], REPEAT_FEATURES, 1.0, rng, seed)
    explore = _fit_view(views["explore"], EXPLORE_FEATURES, share, rng, seed)
    step = "mixture" if repeat is not None and explore is not None else "combined"
    return Ranker(horizon_days, step, repeat, explore)


def _fit_view(
    parts: Sequence[tuple[Floats, Bools]],
    names: tuple[str, ...],
    share: float,
    rng: np.random.Generator,
    seed: int,
) -> Mixture | None:
    """What is learned of one view; `share` of the negatives are there. None where there is too little to learn from."""
    if not parts:
        return None
    x, y = (np.concatenate(column) for column in zip(*parts, strict=True))
    if y.sum() < MIN_POSITIVES or (~y).sum() < MIN_POSITIVES:
        return None
    x, y, weight = sampled(x, y, rng)
    weight = np.where(y, weight, weight / share)
    tilt = {name: TILT for name in names if name == "log_n_orders"}
    return fit_mixture(x, y, weight, names, seed=seed, ridge=RIDGE, tilt=tilt)


def _lesson_rows(lesson: Lesson) -> Iterator[tuple[tuple[Floats, Bools], tuple[Floats, Bools]]]:
    """Features and labels of both views, block by block of customers."""
    knowledge = lesson.knowledge
    label = PairSet(lesson.bought_customer, lesson.bought_product, len(knowledge.products))
    for start in range(0, len(knowledge.customers), BLOCK):
        again, fresh = rows_of(knowledge, np.arange(start, min(start + BLOCK, len(knowledge.customers))))
        yield (
            (repeat_features(knowledge, again), label.has(again.customer, again.product)),
            (explore_features(knowledge, fresh), label.has(fresh.customer, fresh.product)),
        )


def _p_repeat(ranker: Ranker, knowledge: Knowledge, rows: Rows) -> Floats:
    if ranker.repeat is not None:
        return probability(ranker.repeat, repeat_features(knowledge, rows))
    pairs, pair = knowledge.pairs, rows.pair
    return p_reorder(
        knowledge.reorder,
        rows.product,
        pairs.n_days[pair],
        pairs.first_age_days[pair],
        pairs.last_age_days[pair],
        knowledge.horizon_days,
    )


def _p_explore(ranker: Ranker, knowledge: Knowledge, rows: Rows) -> Floats:
    """The mixture, else P(customer orders) × the product's share of buyers, doubled by each agreeing source."""
    if ranker.explore is not None:
        return probability(ranker.explore, explore_features(knowledge, rows))
    share = np.exp(knowledge.products.log_share_28[rows.product])
    agreeing = np.sum([rows.rank[name] >= 0 for name in SOURCES], axis=0)
    odds = knowledge.customers.p_buy[rows.customer] * share * 2.0 ** (agreeing - 1)
    return np.asarray(odds / (1.0 + 2.0 * odds), dtype=np.float32)  # below one half, and never a tie at it


class PairSet:
    """Which (customer, product) pairs are in a set, whole columns at a time."""

    def __init__(self, position: Ints, product: Ints, n_products: int) -> None:
        self.n = n_products
        self.keys = np.unique(np.asarray(position, dtype=np.int64) * n_products + product)

    def has(self, position: Ints, product: Ints) -> Bools:
        return np.isin(np.asarray(position, dtype=np.int64) * self.n + product, self.keys)
