"""Views beside accuracy: which products are found, how various the lists are, and for whom nextoffer is worst."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nextoffer.backtest.judging import OURS, Judged
from nextoffer.backtest.metrics import list_metrics
from nextoffer.backtest.resample import FEW, Sample, differences
from nextoffer.backtest.tasks import Case, Ranked, was_bought
from nextoffer.domain.arrays import Ints
from nextoffer.domain.tables import SEGMENTS
from nextoffer.models.knowledge import Customers, Knowledge

BANDS = ("head", "middle", "tail")
BAND_EDGES = (0.2, 0.8)  # of all sales: the products that make the first 20 %, the next 60 %, the last 20 %
ORDERS = ("1", "2–3", "4–9", "10+")
ORDER_EDGES = (2, 4, 10)
PRICES = ("low", "middle", "high")
WORST = 10


def sales_bands(knowledge: Knowledge) -> Ints:
    """(n_products,) 0, 1, 2 as in BANDS: products that make the first 20 % of all orders, the next 60 %, the rest."""
    sold = knowledge.products.n_orders.astype(np.float64)
    best = np.argsort(-sold, kind="stable")
    before = np.cumsum(sold[best]) - sold[best]
    band = np.empty(len(sold), dtype=np.int64)
    band[best] = np.searchsorted(np.array(BAND_EDGES) * max(sold.sum(), 1.0), before, side="right")
    return band


def by_popularity(outcome: Ranked, bands: Ints) -> dict[str, Judged]:
    """Band -> the task judged on the purchases of that band only: the share of them the same lists find."""
    found = {}
    for code, name in enumerate(BANDS):
        inside = bands[outcome.product] == code
        position, product = outcome.position[inside], outcome.product[inside]
        values, who = {}, np.unique(position)
        for method, ranked in outcome.lists.items():
            metrics = list_metrics(ranked, position, product, len(bands))
            values[method] = {m: value[who] for m, value in metrics.items() if m.startswith("recall")}
        found[name] = Judged(outcome.customer[who], values)
    return found


def variety(case: Case, outcome: Ranked) -> dict[str, dict[str, float]]:
    """How much of the catalogue the lists show, and how unlike their products are: method -> measure.

    coverage : share of the products sold before the cut-off that stand in some list
    full_lists : share of customers whose list has all its places filled
    diversity : families in a list ÷ products in it, mean over customers
    gini : of how often each of those products is listed; 0 = all alike, 1 = one product for all
    novelty : mean −log2 of the share of customers who had bought the product
    new_share : share of listed products the customer had never bought

    References
    ----------
    Castells, Hurley & Vargas (2022), Recommender Systems Handbook, 3rd ed., chapter 16.
    """
    if not len(outcome.customer):
        return {method: {} for method in outcome.lists}
    return {method: _variety_of(case, outcome.customer, ranked) for method, ranked in outcome.lists.items()}


def _variety_of(case: Case, customer: Ints, ranked: Ints) -> dict[str, float]:
    knowledge, products = case.lesson.knowledge, case.lesson.knowledge.products
    sold = products.n_orders > 0
    filled = ranked >= 0
    listed = ranked[filled]
    length = np.maximum(filled.sum(axis=1), 1)
    shown = np.sort(np.bincount(listed, minlength=len(sold))[sold])
    n = len(shown)
    alone = knowledge.ladder.family < 0
    family = np.where(alone, len(sold) + np.arange(len(sold)), knowledge.ladder.family)
    kinds = np.sort(np.where(filled, family[ranked], -1), axis=1)
    first = np.diff(kinds, axis=1, prepend=-1) != 0
    known = (products.n_customers[listed] + 0.5) / (len(knowledge.customers) + 1.0)
    owner = customer[np.nonzero(filled)[0]]
    weight = 2 * np.arange(1, n + 1) - n - 1
    return {
        "coverage": float((shown > 0).mean()),
        "full_lists": float(filled.all(axis=1).mean()),
        "diversity": float((first.sum(axis=1) / length)[filled.any(axis=1)].mean()) if len(listed) else 0.0,
        "gini": float(weight @ shown / max(n * shown.sum(), 1)),
        "novelty": float(-np.log2(known).mean()) if len(listed) else 0.0,
        "new_share": float(1.0 - was_bought(knowledge, owner, listed).mean()) if len(listed) else 0.0,
    }


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """Groups of customers, each customer in one of each kind: (n,) code into `names` per kind."""

    kinds: tuple[Ints, ...]

    @classmethod
    def of(cls, customers: Customers) -> Strata:
        """Segment × number of orders, and segment × usual price (thirds of the shop's customers)."""
        segment = customers.segment.astype(np.int64)
        orders = np.searchsorted(ORDER_EDGES, customers.frequency, side="right")
        thirds = np.quantile(customers.log_unit_price, [1 / 3, 2 / 3]) if len(segment) else np.zeros(2)
        prices = np.searchsorted(thirds, customers.log_unit_price, side="left")
        return cls((segment * len(ORDERS) + orders, segment * len(PRICES) + prices))


def stratum(kind: int, code: int) -> dict[str, str | None]:
    """What a stratum is called."""
    parts = (ORDERS, PRICES)[kind]
    words = SEGMENTS[code // len(parts)], parts[code % len(parts)]
    return {
        "segment": words[0],
        "orders": words[1] if kind == 0 else None,
        "prices": words[1] if kind else None,
    }


def worst(one: Judged, strata: Strata, metric: str, seed: int) -> list[dict[str, Any]]:
    """The strata where nextoffer is furthest behind the baseline that is best there, worst first.

    Not listed are strata of fewer than 30 customers. The baseline is chosen by the same figures it is judged
    by, which flatters it.

    Parameters
    ----------
    one : a task; strata : of the same customers, place by place
    """
    rows: list[tuple[float, int, int, str, Sample]] = []
    for kind, codes in enumerate(strata.kinds):
        for code in np.unique(codes).tolist():
            inside = np.flatnonzero(codes == code)
            if len(np.unique(one.customer[inside])) < FEW:
                continue
            means = {m: float(v[metric][inside].mean()) for m, v in one.values.items() if m != OURS}
            best = max(means, key=lambda name: means[name])
            behind = one.values[OURS][metric][inside] - one.values[best][metric][inside]
            sample = Sample(one.customer[inside], behind)
            rows.append((float(behind.mean()), kind, code, best, sample))
    rows = sorted(rows, key=lambda row: row[:3])[:WORST]
    found = differences([row[-1] for row in rows], seed)
    return [
        stratum(kind, code)
        | {"n": of.n, "baseline": best, "metric": metric}
        | {"difference": of.difference, "low": of.low, "high": of.high}
        for (_, kind, code, best, _), of in zip(rows, found, strict=True)
    ]


def mean_over(
    parts: list[Mapping[str, Mapping[str, float]]], weights: list[int]
) -> dict[str, dict[str, float]]:
    """Method -> measure, averaged over cut-offs by their number of customers."""
    full = [(part, weight) for part, weight in zip(parts, weights, strict=True) if weight]
    total = sum(weight for _, weight in full)
    if not full:
        return {method: {} for method in parts[0]}
    return {
        method: {name: sum(part[method][name] * weight for part, weight in full) / total for name in measures}
        for method, measures in full[0][0].items()
    }
