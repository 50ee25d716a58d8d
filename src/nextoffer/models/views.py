"""What the ranker looks at: the (customer, product) rows of its two views, and their features.

*Repeat* rows are the products a customer bought before; *explore* rows what the sources propose of the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nextoffer.domain.arrays import Floats, Ints, ranges
from nextoffer.models.candidates import SOURCES, Batch, Opinion, Proposals, batch_of
from nextoffer.models.habits import HABIT_FEATURES, habit_features, log_odds_of
from nextoffer.models.knowledge import Knowledge

UNRANKED = 60  # stands for the rank of what a source does not propose
VOICES = ("next_basket", "ease", "people", "factors", "similar")
"""The sources that score any product, those bought before among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """(customer, product) rows of one view, before they are scored; `voice` are the VOICES' scores, relative
    to the best product new to the customer."""

    position: Ints
    customer: Ints
    product: Ints
    pair: Ints
    rank: Mapping[str, Ints]
    score: Mapping[str, Floats]
    because: Mapping[str, Ints]
    voice: Mapping[str, Floats]
    chance: Mapping[str, Floats]


def rows_of(knowledge: Knowledge, rows: Ints) -> tuple[Rows, Rows]:
    """Repeat and explore rows of the customers at `rows`."""
    batch = batch_of(knowledge, rows)
    found = {name: source(knowledge, batch) for name, source in SOURCES.items()}
    proposals = {name: proposed for name, (proposed, _) in found.items()}
    opinions = {name: opinion for name, (_, opinion) in found.items() if opinion is not None}
    return _repeat_rows(knowledge, batch, proposals, opinions), _explore_rows(
        knowledge, batch, proposals, opinions
    )


def _repeat_rows(
    knowledge: Knowledge, batch: Batch, proposals: Mapping[str, Proposals], opinions: Mapping[str, Opinion]
) -> Rows:
    pairs = knowledge.pairs
    counts = pairs.indptr[batch.rows + 1] - pairs.indptr[batch.rows]
    pair = ranges(pairs.indptr[batch.rows], counts)
    position = np.repeat(np.arange(len(batch.rows)), counts)
    product = pairs.product[pair]
    voices = _voices(position, product, len(batch.rows), proposals, opinions)
    return Rows(position, batch.rows[position], product, pair, {}, {}, {}, *voices)


def _explore_rows(
    knowledge: Knowledge, batch: Batch, proposals: Mapping[str, Proposals], opinions: Mapping[str, Opinion]
) -> Rows:
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
    voices = _voices(position, product, len(batch.rows), proposals, opinions)
    return Rows(position, batch.rows[position], product, pair, rank, score, because, *voices)


def _voices(
    position: Ints,
    product: Ints,
    n_customers: int,
    proposals: Mapping[str, Proposals],
    opinions: Mapping[str, Opinion],
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Each source's score of the rows: as a share of its best new product's, and as it is."""
    relative: dict[str, Floats] = {}
    plain: dict[str, Floats] = {}
    for name in VOICES:
        proposal = proposals[name]
        best = np.zeros(n_customers, np.float32)
        first = proposal.rank == 0
        best[proposal.position[first]] = proposal.score[first]
        plain[name] = np.asarray(opinions[name](position, product), dtype=np.float32)
        # a source with little to say of what is new may have much more to say of what is not: bounded
        relative[name] = np.minimum(plain[name] / np.maximum(best[position], 1e-6), 10.0).astype(np.float32)
    return relative, plain


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


REPEAT_FEATURES = (
    *HABIT_FEATURES,
    "log_step_weight",
    *(f"relative_{name}" for name in VOICES),
    "score_next_basket",
    "score_people",
)


def repeat_features(knowledge: Knowledge, rows: Rows) -> Floats:
    """(n, len(REPEAT_FEATURES)) float32."""
    habits = habit_features(knowledge, rows.pair)
    others = _columns(
        np.log(knowledge.pairs.step_weight[rows.pair] + 1e-3),
        *(rows.voice[name] for name in VOICES),
        rows.chance["next_basket"],
        rows.chance["people"],
    )
    return np.concatenate([habits, others], axis=1)


EXPLORE_FEATURES = (
    *(f"log_rank_{name}" for name in SOURCES),
    *(f"relative_{name}" for name in SOURCES if name not in VOICES),
    *(f"relative_{name}" for name in VOICES),
    "score_next_basket",
    "score_people",
    "n_sources",
    "log_share_28",
    "log_share_all",
    "trend",
    "log_product_age",
    "log_product_last_age",
    "rebuy_share",
    "log_product_new_28",
    "log_price_ratio",
    "logit_customer",
    "log_frequency",
    "log_recency",
    "log_basket_size",
    "log_customer_again_28",
    "log_lines_per_product",
)


def explore_features(knowledge: Knowledge, rows: Rows) -> Floats:
    """(n, len(EXPLORE_FEATURES)) float32."""
    products, product = knowledge.products, rows.product
    ranks = [np.log2(np.where(rows.rank[name] < 0, UNRANKED, rows.rank[name]) + 1.0) for name in SOURCES]
    proposed = np.asarray(np.sum([rows.rank[name] >= 0 for name in SOURCES], axis=0))
    usual = knowledge.customers.log_unit_price[rows.customer]
    return _columns(
        *ranks,
        *(rows.score[name] for name in SOURCES if name not in VOICES),
        *(rows.voice[name] for name in VOICES),
        rows.chance["next_basket"],
        rows.chance["people"],
        proposed,
        products.log_share_28[product],
        products.log_share_all[product],
        products.trend[product],
        products.log_age[product],
        products.log_last_age[product],
        products.rebuy_share[product],
        products.log_new_28[product],
        products.log_unit_price[product] - usual,
        *_customer_features(knowledge, rows.customer),
    )


def _customer_features(knowledge: Knowledge, customer: Ints) -> tuple[Floats, ...]:
    customers = knowledge.customers
    n_products = np.diff(knowledge.pairs.indptr)[customer]
    return (
        log_odds_of(customers.p_buy[customer]),
        np.log(customers.frequency[customer]),
        np.log1p(customers.recency_days[customer]),
        np.log(customers.n_lines[customer] / customers.frequency[customer]),
        customers.log_again_28[customer],
        np.log(customers.n_lines[customer] / n_products),
    )


def _columns(*columns: Floats | Ints) -> Floats:
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)
