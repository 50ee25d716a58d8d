"""The tasks: what is predicted, for whom, and how nextoffer and each baseline did after the cut."""

from __future__ import annotations

import numpy as np

from nextoffer.backtest import baselines
from nextoffer.backtest.metrics import list_metrics, yes_no_metrics
from nextoffer.domain.arrays import Bools, Ints
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.ranker import Lesson, Ranker, score_batch, score_pairs
from nextoffer.models.reorder import p_reorder

Metrics = dict[str, dict[str, float]]
K = 10
K_UP_SELL = 5
BLOCK = 5_000
POPULATION_DAYS = 365


def run_tasks(ranker: Ranker, lesson: Lesson, seed: int) -> dict[str, Metrics]:
    """task -> method -> metric, for the customers of the cut who bought something after it.

    `lapse` and `replenishment` judge every customer and every pair, whether or not they bought.
    """
    knowledge = lesson.knowledge
    buyers = np.unique(lesson.bought_customer)
    ours = _our_lists(ranker, knowledge, buyers)
    customer = np.searchsorted(buyers, lesson.bought_customer)
    product = lesson.bought_product
    old = _was_bought(knowledge, lesson.bought_customer, product)
    n = len(knowledge.products)
    counts = knowledge.pairs.matrix(knowledge.pairs.n_orders.astype(np.float32), n)
    tasks: dict[str, Metrics] = {}
    for task, new_only, chosen in (
        ("next_purchase", False, np.ones(len(old), bool)),
        ("explore", True, ~old),
    ):
        lists = {
            "nextoffer": ours[task],
            "popularity": baselines.popularity(knowledge, buyers, K, new_only),
            "als": baselines.als(counts, buyers, K, new_only, seed),
            "item_item": baselines.item_item(counts, buyers, K, new_only),
        }
        if not new_only:
            lists["personal_frequency"] = baselines.personal_frequency(knowledge, buyers, K)
        tasks[task] = {
            method: list_metrics(ranked, customer[chosen], product[chosen], n)
            for method, ranked in lists.items()
        }
    tasks["up_sell"] = _up_sell(ours, knowledge, buyers, lesson)
    tasks["replenishment"] = _replenishment(ranker, lesson)
    tasks["lapse"] = _lapse(lesson)
    return tasks


def next_purchase(ranker: Ranker, lesson: Lesson) -> dict[str, float]:
    """How one ranker alone does on `next_purchase`, for the gate to hold against another."""
    buyers = np.unique(lesson.bought_customer)
    ranked = _our_lists(ranker, lesson.knowledge, buyers)["next_purchase"]
    customer = np.searchsorted(buyers, lesson.bought_customer)
    return list_metrics(ranked, customer, lesson.bought_product, len(lesson.knowledge.products))


def _our_lists(ranker: Ranker, knowledge: Knowledge, rows: Ints) -> dict[str, Ints]:
    """Our ranked lists for each task, and the up-sell candidates: all products by p_buy, no caps."""
    parts: dict[str, list[Ints]] = {name: [] for name in ("next_purchase", "explore", "up_sell")}
    ladder: list[Ints] = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        scored = score_batch(ranker, knowledge, block)
        steps = scored.source["ladder"] >= 0
        chosen = {"next_purchase": np.ones(len(steps), bool), "explore": ~scored.repeat, "up_sell": steps}
        for name, mask in chosen.items():
            k = K_UP_SELL if name == "up_sell" else K
            columns = (scored.position[mask], scored.product[mask], scored.p_buy[mask])
            parts[name].append(baselines.lists_of(*columns, len(block), k))
        ladder.append(np.stack([scored.position[steps] + start, scored.product[steps]]))
    empty = np.zeros((0, K), np.int32)
    lists = {name: np.concatenate(found) if found else empty for name, found in parts.items()}
    lists["ladder"] = np.concatenate(ladder, axis=1) if ladder else np.zeros((2, 0), np.int64)
    return lists


def _up_sell(ours: dict[str, Ints], knowledge: Knowledge, buyers: Ints, lesson: Lesson) -> Metrics:
    """Which step up was bought, among all steps up from what the customer bought in the last 180 days."""
    n = len(knowledge.products)
    position, product = ours["ladder"]
    bought = buyers.searchsorted(lesson.bought_customer) * n + lesson.bought_product
    taken = np.isin(position * n + product, bought)
    by_share = knowledge.products.share_28[product] + 1e-9 * knowledge.products.n_customers[product]
    by_all = knowledge.products.n_customers[product].astype(np.float64)
    lists = {
        "nextoffer": ours["up_sell"],
        "popularity": baselines.lists_of(position, product, by_all, len(buyers), K_UP_SELL),
        "popularity_28": baselines.lists_of(position, product, by_share, len(buyers), K_UP_SELL),
    }
    return {
        method: list_metrics(ranked, position[taken], product[taken], n) for method, ranked in lists.items()
    }


def _replenishment(ranker: Ranker, lesson: Lesson) -> Metrics:
    """Which of the products a customer bought in the last year they buy again within the horizon."""
    knowledge, pairs = lesson.knowledge, lesson.knowledge.pairs
    recent = np.flatnonzero(pairs.last_age_days < POPULATION_DAYS)
    owner = pairs.customer()[recent].astype(np.int64)
    n = len(knowledge.products)
    truth = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    again: Bools = np.isin(owner * n + pairs.product[recent], truth)
    days = pairs.n_days[recent], pairs.first_age_days[recent], pairs.last_age_days[recent]
    plain = p_reorder(knowledge.reorder, pairs.product[recent], *days, ranker.horizon_days)
    frequency = pairs.n_orders[recent] / (1.0 + pairs.first_age_days[recent])
    return {
        "nextoffer": yes_no_metrics(score_pairs(ranker, knowledge)[recent], again, probability=True),
        "poisson_gamma": yes_no_metrics(plain, again, probability=True),
        "personal_frequency": yes_no_metrics(frequency, again, probability=False),
        "mean_gap": yes_no_metrics(
            baselines.mean_gap_score(knowledge, ranker.horizon_days)[recent], again, probability=False
        ),
    }


def _lapse(lesson: Lesson) -> Metrics:
    """Which customers order nothing within the horizon."""
    customers = lesson.knowledge.customers
    silent: Bools = np.ones(len(customers), dtype=bool)
    silent[lesson.bought_customer] = False
    return {
        "nextoffer": yes_no_metrics(1.0 - customers.p_buy.astype(np.float64), silent, probability=True),
        "recency": yes_no_metrics(customers.recency_days.astype(np.float64), silent, probability=False),
    }


def _was_bought(knowledge: Knowledge, customer: Ints, product: Ints) -> Bools:
    """Whether each (customer, product) is a pair of the history before the cut."""
    n = len(knowledge.products)
    have = knowledge.pairs.customer().astype(np.int64) * n + knowledge.pairs.product
    return np.isin(np.asarray(customer, dtype=np.int64) * n + product, have)
