"""p_buy: the probability that a customer buys a product within the horizon, with no offer made.

Two views, one scale: products the customer bought before (*repeat*) and products they never bought
(*explore*). Each view is a sum of curves, one per feature, on the log-odds scale (a generalised additive
model with piecewise-linear curves): fitted by penalised logistic regression on what was bought in the last
horizon, so its probabilities are calibrated and comparable across views, stored as two small tables, and
evaluated column by column. A shop too small to fit it falls back to Poisson-Gamma and popularity.

The curves themselves: curves.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Bools, Floats, Ints, best_first, ranges
from nextoffer.models.candidates import SOURCES, Proposals, bought_matrix
from nextoffer.models.curves import Curves, evaluate, fit_curves
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.reorder import expected_gap_days, p_reorder

TILT = 0.5  # chosen on Online Retail, cut 2011-09-16: recall@10 +1.0 %, ndcg@10 +0.9 %


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
    """Both views, and the step of the fallback ladder they stand on (`curves` or `combined`)."""

    horizon_days: int
    step: str
    repeat: Curves | None
    explore: Curves | None


def can_score(ranker: Ranker) -> bool:
    """Whether a stored ranker knows the features of this version; one of another version may not."""
    known = {"repeat": REPEAT_FEATURES, "explore": EXPLORE_FEATURES}
    views = {view: getattr(ranker, view) for view in known}
    return all(curves is None or curves.features == known[view] for view, curves in views.items())


def score_batch(ranker: Ranker, knowledge: Knowledge, rows: Ints) -> Scored:
    """p_buy of everything the customers at `rows` might buy. Pure; the same for any split into batches."""
    rows = np.asarray(rows, dtype=np.int64)
    again = _repeat_rows(knowledge, rows)
    fresh = _explore_rows(knowledge, rows)
    p_again = _p_repeat(ranker, knowledge, again)
    p_fresh = _p_explore(ranker, knowledge, fresh)
    position = np.concatenate([again.position, fresh.position])
    product = np.concatenate([again.product, fresh.product])
    order = best_first(position, product)
    absent = np.full(len(again.position), -1, dtype=np.int32)

    def ordered(column: Ints) -> Ints:
        return np.concatenate([absent, column])[order]

    return Scored(
        position[order],
        product[order].astype(np.int32),
        np.concatenate([p_again, p_fresh])[order].astype(np.float32),
        order < len(again.position),
        np.concatenate([again.pair, np.full(len(fresh.position), -1, np.int64)])[order],
        {name: ordered(fresh.rank[name]) for name in SOURCES},
        {name: ordered(fresh.because[name]) for name in SOURCES},
    )


def score_pairs(ranker: Ranker, knowledge: Knowledge) -> Floats:
    """(n_pairs,) p_buy of every product a customer bought before."""
    n = len(knowledge.customers)
    blocks = (np.arange(start, min(start + 20_000, n)) for start in range(0, n, 20_000))
    parts = [_p_repeat(ranker, knowledge, _repeat_rows(knowledge, rows)) for rows in blocks]
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def fit_ranker(lessons: Sequence[Lesson], horizon_days: int, seed: int) -> Ranker:
    """Learn both views from what customers bought in the horizon after each of one or more moments."""
    views: dict[str, list[tuple[Floats, Bools]]] = {"repeat": [], "explore": []}
    for lesson in lessons:
        for view, rows in _lesson_rows(lesson):
            views[view].append(rows)
    rng = np.random.default_rng([seed, horizon_days])
    repeat = fit_curves(
        views["repeat"], REPEAT_FEATURES, rng, ridge=10.0, tilt={"log_n_orders": TILT}, flat=FLAT
    )
    explore = fit_curves(views["explore"], EXPLORE_FEATURES, rng, ridge=1.0, tilt={})
    step = "curves" if repeat is not None and explore is not None else "combined"
    return Ranker(horizon_days, step, repeat, explore)


def _lesson_rows(lesson: Lesson) -> Iterator[tuple[str, tuple[Floats, Bools]]]:
    """Features and labels of both views, block by block of customers."""
    knowledge = lesson.knowledge
    label = _PairSet(lesson.bought_customer, lesson.bought_product, len(knowledge.products))
    for start in range(0, len(knowledge.customers), 20_000):
        rows = np.arange(start, min(start + 20_000, len(knowledge.customers)))
        again, fresh = _repeat_rows(knowledge, rows), _explore_rows(knowledge, rows)
        yield "repeat", (_repeat_features(knowledge, again), label.has(again.customer, again.product))
        yield "explore", (_explore_features(knowledge, fresh), label.has(fresh.customer, fresh.product))


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """(customer, product) rows of one view, before they are scored."""

    position: Ints
    customer: Ints
    product: Ints
    pair: Ints
    rank: Mapping[str, Ints]
    score: Mapping[str, Floats]
    because: Mapping[str, Ints]


def _repeat_rows(knowledge: Knowledge, rows: Ints) -> _Rows:
    pairs = knowledge.pairs
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    pair = ranges(pairs.indptr[rows], counts)
    position = np.repeat(np.arange(len(rows)), counts)
    return _Rows(position, rows[position], pairs.product[pair], pair, {}, {}, {})


def _explore_rows(knowledge: Knowledge, rows: Ints) -> _Rows:
    bought = bought_matrix(knowledge, rows)
    proposals = {name: source(knowledge, rows, bought) for name, source in SOURCES.items()}
    n = len(knowledge.products)
    keys = {name: proposal.position * n + proposal.product for name, proposal in proposals.items()}
    union = _distinct_sorted(np.concatenate(list(keys.values())))
    position, product = union // n, (union % n).astype(np.int32)
    rank, score, because = {}, {}, {}
    for name, proposal in proposals.items():
        at = np.searchsorted(union, keys[name])
        rank[name] = _spread(at, proposal.rank, len(union), -1, np.int32)
        score[name] = _spread(at, _relative(proposal), len(union), 0.0, np.float32)
        because[name] = _spread(at, proposal.because, len(union), -1, np.int32)
    pair = np.full(len(union), -1, dtype=np.int64)
    return _Rows(position, rows[position], product, pair, rank, score, because)


def _distinct_sorted(keys: Ints) -> Ints:
    """np.unique by sorting, which is several times as fast as its hash table on keys like these."""
    keys = np.sort(keys)
    return keys[np.r_[True, keys[1:] != keys[:-1]]] if len(keys) else keys


def _spread(at: Ints, values: Ints | Floats, n: int, absent: float, dtype: type) -> np.ndarray:
    column: np.ndarray = np.full(n, absent, dtype=dtype)
    column[at] = values
    return column


def _relative(proposals: Proposals) -> Floats:
    """Each score as a share of the customer's best score from the same source."""
    if not len(proposals.score):
        return proposals.score
    starts = np.flatnonzero(proposals.rank == 0)
    lengths = np.diff(np.append(starts, len(proposals.score)))
    best = np.maximum(proposals.score[starts], 1e-9)  # two of a family may have nothing in common: 0
    return np.asarray(proposals.score / np.repeat(best, lengths))


FLAT = (
    "log_product_again_28",
    "log_product_new_28",
    "log_customer_again_28",
    "log_lines_per_product",
    "log_price_ratio_repeat",
    "log_revenue",
    "log_own_gap_ratio",
    "log_first_age",
)
REPEAT_FEATURES = (
    "logit_p_reorder",
    "log_n_orders",
    "log_last_age",
    "log_gap_ratio",
    "log_order_share",
    "in_last_orders",
    "log_weight",
    "log_share_28",
    "trend",
    "log_product_last_age",
    "rebuy_share",
    "logit_customer",
    "log_frequency",
    "log_recency",
    "log_basket_size",
    *FLAT,
)


def _repeat_features(knowledge: Knowledge, rows: _Rows) -> Floats:
    pairs, products, customers = knowledge.pairs, knowledge.products, knowledge.customers
    pair, product, customer = rows.pair, rows.product, rows.customer
    n_days, last, first = pairs.n_days[pair], pairs.last_age_days[pair], pairs.first_age_days[pair]
    p = p_reorder(knowledge.reorder, product, n_days, first, last, knowledge.horizon_days)
    gap = expected_gap_days(knowledge.reorder, product, n_days, first, last)
    frequency = customers.frequency[customer]
    return _columns(
        _logit(p),
        np.log(pairs.n_orders[pair]),
        np.log1p(last),
        np.log((last + 1.0) / np.maximum(gap, 1.0)),
        np.log(pairs.n_orders[pair] / np.maximum(frequency, 1)),
        pairs.in_last[pair] + pairs.n_last_3[pair],
        np.log(pairs.weight[pair] + 1e-3),
        products.log_share_28[product],
        products.trend[product],
        products.log_last_age[product],
        products.rebuy_share[product],
        *_customer_features(knowledge, customer),
        products.log_again_28[product],
        products.log_new_28[product],
        customers.log_again_28[customer],
        np.log(customers.n_lines[customer] / (pairs.indptr[customer + 1] - pairs.indptr[customer])),
        products.log_unit_price[product] - customers.log_unit_price[customer],
        np.log1p(np.maximum(pairs.revenue[pair], 0)),
        _log_own_gap_ratio(n_days, first, last),
        np.log1p(first),
    )


def _log_own_gap_ratio(n_days: Ints, first: Ints, last: Ints) -> Floats:
    """Log of the time since the last purchase in units of the pair's mean gap; 0 after one purchase."""
    gap = np.maximum((first - last) / np.maximum(n_days - 1, 1), 1.0)
    return np.where(n_days > 1, np.log((last + 1.0) / gap), 0.0)


EXPLORE_FEATURES = (
    *(f"log_rank_{name}" for name in SOURCES),
    *(f"relative_{name}" for name in SOURCES),
    "n_sources",
    "log_share_28",
    "log_share_all",
    "trend",
    "log_product_age",
    "log_product_last_age",
    "log_price_ratio",
    "logit_customer",
    "log_frequency",
    "log_recency",
    "log_basket_size",
)


def _explore_features(knowledge: Knowledge, rows: _Rows) -> Floats:
    products, product = knowledge.products, rows.product
    ranks = [np.log2(np.where(rows.rank[name] < 0, 40, rows.rank[name]) + 1.0) for name in SOURCES]
    proposed = np.asarray(np.sum([rows.rank[name] >= 0 for name in SOURCES], axis=0))
    usual = knowledge.customers.log_unit_price[rows.customer]
    return _columns(
        *ranks,
        *(rows.score[name] for name in SOURCES),
        proposed,
        products.log_share_28[product],
        products.log_share_all[product],
        products.trend[product],
        products.log_age[product],
        products.log_last_age[product],
        products.log_unit_price[product] - usual,
        *_customer_features(knowledge, rows.customer),
    )


def _customer_features(knowledge: Knowledge, customer: Ints) -> tuple[Floats, ...]:
    customers = knowledge.customers
    return (
        _logit(customers.p_buy[customer]),
        np.log(customers.frequency[customer]),
        np.log1p(customers.recency_days[customer]),
        np.log(customers.n_lines[customer] / customers.frequency[customer]),
    )


def _p_repeat(ranker: Ranker, knowledge: Knowledge, rows: _Rows) -> Floats:
    if ranker.repeat is not None:
        return evaluate(ranker.repeat, _repeat_features(knowledge, rows))
    pairs, pair = knowledge.pairs, rows.pair
    return p_reorder(
        knowledge.reorder,
        rows.product,
        pairs.n_days[pair],
        pairs.first_age_days[pair],
        pairs.last_age_days[pair],
        knowledge.horizon_days,
    )


def _p_explore(ranker: Ranker, knowledge: Knowledge, rows: _Rows) -> Floats:
    """Curves, else P(customer orders) × the product's share of buyers, doubled by each agreeing source."""
    if ranker.explore is not None:
        return evaluate(ranker.explore, _explore_features(knowledge, rows))
    share = np.exp(knowledge.products.log_share_28[rows.product])
    agreeing = np.sum([rows.rank[name] >= 0 for name in SOURCES], axis=0)
    odds = knowledge.customers.p_buy[rows.customer] * share * 2.0 ** (agreeing - 1)
    return np.asarray(np.minimum(odds, 0.5), dtype=np.float32)


class _PairSet:
    """Which (customer, product) pairs are in a set, whole columns at a time."""

    def __init__(self, position: Ints, product: Ints, n_products: int) -> None:
        self.n = n_products
        self.keys = np.unique(np.asarray(position, dtype=np.int64) * n_products + product)

    def has(self, position: Ints, product: Ints) -> Bools:
        return np.isin(np.asarray(position, dtype=np.int64) * self.n + product, self.keys)


def _columns(*columns: Floats | Ints) -> Floats:
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)


def _logit(p: Floats) -> Floats:
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
