"""What the past says of a product a customer bought before: the features of (customer, product) pairs."""

from __future__ import annotations

import numpy as np

from nextoffer.domain.arrays import Floats, Ints
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.reorder import expected_gap_days, p_reorder

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
"""Features whose curves stay flat in the tails."""

HABIT_FEATURES = (
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
"""`log_weight` is the kernel: the pair's past purchases, each halved for every 90 days of its age."""


def habit_features(knowledge: Knowledge, pair: Ints) -> Floats:
    """(n, features) float32 of the rows `pair` of `knowledge.pairs`: each row by itself."""
    pairs, products, customers = knowledge.pairs, knowledge.products, knowledge.customers
    customer = pair_customer(knowledge, pair)
    product = pairs.product[pair]
    n_days, last, first = pairs.n_days[pair], pairs.last_age_days[pair], pairs.first_age_days[pair]
    p = p_reorder(knowledge.reorder, product, n_days, first, last, knowledge.horizon_days)
    gap = expected_gap_days(knowledge.reorder, product, n_days, first, last)
    frequency = customers.frequency[customer]
    n_products = pairs.indptr[customer + 1] - pairs.indptr[customer]
    columns = (
        log_odds_of(p),
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
        log_odds_of(customers.p_buy[customer]),
        np.log(frequency),
        np.log1p(customers.recency_days[customer]),
        np.log(customers.n_lines[customer] / frequency),
        products.log_again_28[product],
        products.log_new_28[product],
        customers.log_again_28[customer],
        np.log(customers.n_lines[customer] / n_products),
        products.log_unit_price[product] - customers.log_unit_price[customer],
        np.log1p(np.maximum(pairs.revenue[pair], 0)),
        _log_own_gap_ratio(n_days, first, last),
        np.log1p(first),
    )
    return np.stack([np.asarray(column, dtype=np.float32) for column in columns], axis=1)


def pair_customer(knowledge: Knowledge, pair: Ints) -> Ints:
    """(n,) customer row of the rows `pair` of `knowledge.pairs`."""
    return np.searchsorted(knowledge.pairs.indptr, pair, side="right") - 1


def log_odds_of(p: Floats) -> Floats:
    """Log-odds of probabilities, kept finite at 0 and 1."""
    p = np.clip(p, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(p / (1 - p)))


def _log_own_gap_ratio(n_days: Ints, first: Ints, last: Ints) -> Floats:
    """Log of the time since the last purchase in units of the pair's mean gap; 0 after one purchase."""
    gap = np.maximum((first - last) / np.maximum(n_days - 1, 1), 1.0)
    return np.where(n_days > 1, np.log((last + 1.0) / gap), 0.0)
