"""Up-sell: which step up the price ladder a customer takes next, with a probability for each.

An opportunity is a family the customer bought from in the last 180 days; its anchor is their last product of
it, of several bought that day the dearest, so that no step leads below what they took. The steps are the live
products of the family at 1.10 to 1.60 times the anchor's price that the customer never bought.

Few steps are taken (on Online Retail some 400 of 70,000 in four weeks), so the logistic regression learns
from all of the family, dearer or cheaper, where ten times as many purchases are seen, with a feature of its
own for steps up that sets their scale.

Chosen on Online Retail at four cuts from 2011-07-22 to 2011-10-14, mean NDCG@5: logistic on whole families
.396, on steps alone .384; additive curves .378; boosted trees .378, on steps alone .357; 28-day popularity
.309, popularity .246. User neighbours, transitions within the family, last-basket companions, likeness of the
titles and age added nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from nextoffer.domain.arrays import Bools, Floats, Ints, best_first, place_in_run, ranges
from nextoffer.models.candidates import bought_matrix
from nextoffer.models.collaborative import contains
from nextoffer.models.families import in_price_units
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.ranker import Lesson

ACTIVE_DAYS = 180  # a family counts if the customer bought from it so lately
LIVE_DAYS = 91  # a product counts if anybody bought it so lately
RIDGE = 10.0
MIN_POSITIVES = 100  # fewer purchases within families teach less than popularity knows
MAX_ROWS = 100_000  # rows of a lesson that are learned from, besides its purchases
BLOCK = 1_000  # customers at a time
FAR = 1.5  # log price ratios within a family are cut there: a price that jumped says no more than that

FEATURES = (
    "log_share_28",
    "log_share_all",
    "trend",
    "log_new_28",
    "rebuy_share",
    "log_share_of_family",
    "is_step",
    "log_price_ratio",
    "log_companion",
    "taste",
    "taste_cosine",
    "like_anchor",
    "logit_customer",
    "log_recency",
    "log_n_products",
    "log_n_of_family",
)


@dataclass(frozen=True, slots=True, eq=False)
class UpSell:
    """Log-odds of a step = intercept + features · slope; `step` tells what it stands on.

    Parameters
    ----------
    step : `logistic`, or `popular` where too little was bought to learn from: 28-day popularity
    features : names, in column order; none where `popular`
    slope : (n_features,) float64
    """

    horizon_days: int
    step: str
    features: tuple[str, ...]
    slope: Floats
    intercept: float


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Steps up, by customer, then likeliest first; (n,) each.

    Parameters
    ----------
    position : int64 place of the customer in the batch
    anchor, product : int32 what they have, and the dearer product of its family
    p_buy : float32 probability that they buy it within the horizon
    rank : int32 0 for the customer's likeliest
    """

    position: Ints
    anchor: Ints
    product: Ints
    p_buy: Floats
    rank: Ints


def can_score(up_sell: UpSell) -> bool:
    """Whether a stored model knows the features of this version."""
    return up_sell.step == "popular" or up_sell.features == FEATURES


def score_steps(up_sell: UpSell, knowledge: Knowledge, rows: Ints, n: int | None = None) -> Steps:
    """Every step up open to the customers at `rows`, or the likeliest `n` of each.

    Pure; the same for any split into batches. Ties go to the lower product.
    """
    rows = np.asarray(rows, dtype=np.int64)
    shelf = _Shelf.of(knowledge)
    parts = []
    for start in range(0, max(len(rows), 1), BLOCK):
        found = _family_rows(knowledge, shelf, rows[start : start + BLOCK], steps_only=True)
        p_buy = _p_buy(up_sell, knowledge, shelf, found)
        order = best_first(found.position, found.product, p_buy)
        place = place_in_run(found.position[order])
        top = place < (len(place) if n is None else n)
        order = order[top]
        parts.append(
            (
                found.position[order] + start,
                found.anchor[order],
                found.product[order],
                p_buy[order],
                place[top],
            )
        )
    position, anchor, product, p_buy, rank = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Steps(position, anchor.astype(np.int32), product.astype(np.int32), p_buy, rank.astype(np.int32))


def fit_up_sell(lessons: Sequence[Lesson], horizon_days: int, seed: int) -> UpSell:
    """Learn from what customers bought of their families in the horizon after each of one or more moments."""
    popular = UpSell(horizon_days, "popular", (), np.zeros(0), 0.0)
    rng = np.random.default_rng([seed, horizon_days])
    parts = [part for lesson in lessons for part in _examples(lesson, rng)]
    if not parts:
        return popular
    x, bought, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    if bought.sum() < MIN_POSITIVES or bought.all():
        return popular
    mean, spread = x.mean(axis=0), np.maximum(x.std(axis=0), 1e-6)
    slope, intercept = _logistic((x - mean) / spread, bought, weight)
    slope = slope / spread
    return UpSell(horizon_days, "logistic", FEATURES, slope, intercept - float((mean * slope).sum()))


def _logistic(x: Floats, bought: Bools, weight: Floats) -> tuple[Floats, float]:
    """Slopes and intercept of a penalised logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    model = LogisticRegression(C=1.0 / RIDGE, solver="newton-cholesky", max_iter=50)
    with threadpool_limits(1, "blas"):  # sums in one order, whatever the number of cores
        model.fit(x, bought, sample_weight=weight)
    return model.coef_[0], float(model.intercept_[0])


@dataclass(frozen=True, slots=True, eq=False)
class _Shelf:
    """Live products by family, then price: those of a family between two prices stand side by side.

    Parameters
    ----------
    row : (n,) products; key : (n,) rising, family × `most` + price
    price : (n_products,) in units of in_price_units, 0 = unknown; `most` exceeds any price looked up
    share : (n_products,) share of its family's recent buyers, log
    """

    row: Ints
    key: Ints
    price: Ints
    most: int
    share: Floats

    @classmethod
    def of(cls, knowledge: Knowledge) -> _Shelf:
        family, products = knowledge.ladder.family, knowledge.products
        price = in_price_units(knowledge.ladder.price)
        row = np.flatnonzero((products.last_age_days < LIVE_DAYS) & (family >= 0) & (price > 0))
        row = row[np.lexsort((row, price[row], family[row]))]
        most = 2 * int(price.max(initial=0)) + 2
        recent = np.exp(products.log_share_28.astype(np.float64))
        total = np.bincount(family[row], recent[row], minlength=int(family.max(initial=0)) + 1)
        share = np.log(recent / np.maximum(total[np.maximum(family, 0)], 1e-12))
        return cls(row, family[row].astype(np.int64) * most + price[row], price, most, share)

    def between(self, family: Ints, low: Ints, high: Ints) -> tuple[Ints, Ints]:
        """Where the products of each family at `low` to `high` begin, and how many there are."""
        base = family.astype(np.int64) * self.most
        first = np.searchsorted(self.key, base + low, side="left")
        return first, np.searchsorted(self.key, base + np.minimum(high, self.most - 1), side="right") - first


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Never-bought products of the families of customers, by customer.

    `n_of_family` products of the family the customer has; `is_step` where the product is one step up.
    """

    position: Ints
    customer: Ints
    anchor: Ints
    product: Ints
    n_of_family: Ints
    is_step: Bools

    def at(self, chosen: Ints | Bools) -> _Rows:
        return _Rows(*(getattr(self, name)[chosen] for name in _Rows.__slots__))


def _family_rows(knowledge: Knowledge, shelf: _Shelf, rows: Ints, steps_only: bool) -> _Rows:
    """Steps up open to the customers, or with them all live products of the families that they lack."""
    position, anchor, n_of_family = _anchors(knowledge, shelf, rows)
    family, price = knowledge.ladder.family[anchor], shelf.price[anchor]
    low, high = -(-11 * price // 10), 16 * price // 10
    bounds = (low, high) if steps_only else (np.zeros_like(price), np.full_like(price, shelf.most - 1))
    first, counts = shelf.between(family, *bounds)
    of = np.repeat(np.arange(len(anchor)), counts)
    product = shelf.row[ranges(first, counts)]
    is_step = (shelf.price[product] >= low[of]) & (shelf.price[product] <= high[of])
    found = _Rows(position[of], rows[position[of]], anchor[of], product, n_of_family[of], is_step)
    return found.at(~contains(bought_matrix(knowledge, rows), found.position, product))


def _anchors(knowledge: Knowledge, shelf: _Shelf, rows: Ints) -> tuple[Ints, Ints, Ints]:
    """Position, last product of each family lately bought, and how many of the family the customer has."""
    pairs, family = knowledge.pairs, knowledge.ladder.family
    counts = pairs.indptr[rows + 1] - pairs.indptr[rows]
    at = ranges(pairs.indptr[rows], counts)
    position = np.repeat(np.arange(len(rows)), counts)
    product = pairs.product[at].astype(np.int64)
    on = (family[product] >= 0) & (shelf.price[product] > 0)
    position, product, age = position[on], product[on], pairs.last_age_days[at[on]]
    order = np.lexsort((product, -shelf.price[product], age, family[product], position))
    position, product, age = position[order], product[order], age[order]
    group = position * (int(family.max(initial=0)) + 1) + family[product]
    first = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, np.int64)
    has = np.diff(np.append(first, len(group)))
    lately = age[first] < ACTIVE_DAYS
    return position[first[lately]], product[first[lately]], has[lately]


def _examples(lesson: Lesson, rng: np.random.Generator) -> Iterator[tuple[Floats, Bools, Floats]]:
    """Features, labels and weights of a lesson, block by block: every purchase, of the rest a sample."""
    knowledge = lesson.knowledge
    shelf, n = _Shelf.of(knowledge), len(knowledge.products)
    truth = np.unique(lesson.bought_customer.astype(np.int64) * n + lesson.bought_product)
    everyone = np.arange(len(knowledge.customers))
    blocks = np.split(everyone, np.arange(BLOCK, len(everyone), BLOCK))
    most = sum(_n_family_rows(knowledge, shelf, rows) for rows in blocks)
    rate = min(1.0, MAX_ROWS / max(most, 1))
    for rows in blocks:
        found = _family_rows(knowledge, shelf, rows, steps_only=False)
        bought = np.isin(found.customer * n + found.product, truth)
        chosen = bought | (rng.random(len(bought)) < rate)
        x, bought = _features(knowledge, shelf, found.at(chosen)), bought[chosen]
        yield x, bought, np.where(bought, 1.0, 1.0 / rate)


def _n_family_rows(knowledge: Knowledge, shelf: _Shelf, rows: Ints) -> int:
    """At most so many products are open to the customers."""
    _, anchor, _ = _anchors(knowledge, shelf, rows)
    everything = np.zeros_like(anchor), np.full_like(anchor, shelf.most - 1)
    return int(shelf.between(knowledge.ladder.family[anchor], *everything)[1].sum())


def _p_buy(up_sell: UpSell, knowledge: Knowledge, shelf: _Shelf, found: _Rows) -> Floats:
    """(n,) float32; where `popular`, P(customer orders) × the product's share of recent buyers."""
    if up_sell.step == "popular":
        share = np.exp(knowledge.products.log_share_28[found.product])
        odds = knowledge.customers.p_buy[found.customer] * share
        return np.asarray(np.minimum(odds, 0.5), dtype=np.float32)
    x = _features(knowledge, shelf, found)
    log_odds = np.full(len(x), up_sell.intercept)
    for column, slope in zip(x.T, up_sell.slope, strict=True):  # one by one: the same for any batch
        log_odds += slope * column
    return np.asarray(1.0 / (1.0 + np.exp(-log_odds)), dtype=np.float32)


def _features(knowledge: Knowledge, shelf: _Shelf, found: _Rows) -> Floats:
    """(n, features) float64, in the order of FEATURES."""
    products, customers, factors = knowledge.products, knowledge.customers, knowledge.factors
    customer, anchor, product = found.customer, found.anchor, found.product
    of_customer, of_product, of_anchor = (
        factors.customer[customer],
        factors.product[product],
        factors.product[anchor],
    )
    taste = _inner(of_customer, of_product)
    size = _inner(of_product, of_product)
    ratio = np.log(shelf.price[product] / shelf.price[anchor])
    p_order = np.clip(customers.p_buy[customer].astype(np.float64), 1e-6, 1 - 1e-6)
    columns = (
        products.log_share_28[product],
        products.log_share_all[product],
        products.trend[product],
        products.log_new_28[product],
        products.rebuy_share[product],
        shelf.share[product],
        found.is_step,
        np.clip(ratio, -FAR, FAR),
        np.log(_companionship(knowledge, found) + 0.02),
        taste,
        taste / np.sqrt(np.maximum(size * _inner(of_customer, of_customer), 1e-12)),
        _inner(of_anchor, of_product) / np.sqrt(np.maximum(size * _inner(of_anchor, of_anchor), 1e-12)),
        np.log(p_order / (1 - p_order)),
        np.log1p(customers.recency_days[customer]),
        np.log(knowledge.pairs.indptr[customer + 1] - knowledge.pairs.indptr[customer]),
        np.log(found.n_of_family),
    )
    return np.stack([np.asarray(column, dtype=np.float64) for column in columns], axis=1)


def _inner(a: Floats, b: Floats) -> Floats:
    return np.asarray((a * b).sum(axis=1), dtype=np.float64)


def _companionship(knowledge: Knowledge, found: _Rows) -> Floats:
    """(n,) how strongly the customer's products, by decayed orders, bring the product into a basket."""
    customer, place = np.unique(found.customer, return_inverse=True)
    pairs, n = knowledge.pairs, len(knowledge.products)
    counts = pairs.indptr[customer + 1] - pairs.indptr[customer]
    at = ranges(pairs.indptr[customer], counts)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    history = sp.csr_matrix((np.sqrt(pairs.weight[at]), pairs.product[at], indptr), shape=(len(customer), n))
    together = (history @ knowledge.companions.matrix()).tocsr()
    together.sort_indices()
    keys = np.repeat(np.arange(len(customer)), np.diff(together.indptr)) * n + together.indices
    wanted = place * n + found.product
    where = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    if not len(keys):
        return np.zeros(len(wanted))
    return np.where(keys[where] == wanted, together.data[where], 0.0)
