"""The tasks: what is predicted and for whom, by nextoffer and by each baseline. One function each.

A task that ranks products gives `Ranked`, one that answers yes or no gives `Answered`; metrics and intervals
see only these. To change how nextoffer does a task, change the line of its function named nextoffer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from nextoffer.backtest import baselines
from nextoffer.backtest.metrics import list_metrics
from nextoffer.domain.arrays import Bools, Floats, Ints
from nextoffer.models.candidates import bought_matrix
from nextoffer.models.collaborative import contains
from nextoffer.models.due import p_due
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.ranker import Lesson, Ranker, score_batch
from nextoffer.models.recipe import Cut, calibrated_p_order
from nextoffer.models.reorder import p_reorder
from nextoffer.models.taught import Taught
from nextoffer.models.up_sell import score_steps

K = 10
K_UP_SELL = 5
BLOCK = 5_000
POPULATION_DAYS = 365


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One cut-off: models taught before it, what was known, and what was bought in the horizon after it.

    Parameters
    ----------
    p_order : (n_customers,) P(any order in that horizon), calibrated on the orders before it
    buyers : (m,) ascending rows of the customers who bought something after it
    fitted : method -> (m, K) its lists for them of everything, and of what they never bought
    """

    taught: Taught
    lesson: Lesson
    p_order: Floats
    buyers: Ints
    fitted: Mapping[str, tuple[Ints, Ints]]

    @classmethod
    def of(cls, taught: Taught, cut: Cut, seed: int) -> Case:
        """Fit and rank once what several tasks share."""
        lesson, knowledge, products = cut.lesson, cut.lesson.knowledge, cut.lesson.knowledge.products
        buyers = np.unique(lesson.bought_customer)
        orders = knowledge.pairs.matrix(knowledge.pairs.n_orders.astype(np.float32), len(products))
        fitted = {
            "nextoffer": our_lists(taught.ranker, knowledge, buyers),
            "als": baselines.als(orders, buyers, K, seed),
            "item_item": baselines.item_item(orders, buyers, K),
        }
        p_order = calibrated_p_order(cut, taught.ranker.horizon_days, seed)
        return cls(taught, lesson, p_order, buyers, fitted)


@dataclass(frozen=True, slots=True, eq=False)
class Ranked:
    """Ranked lists for customers, and which products they bought.

    Parameters
    ----------
    customer : (m,) ascending rows of customers; everyone bought something that counts
    lists : method -> (m, k) product rows, best first, −1 where a list ends early
    position, product : (n,) what was bought; position is a place in `customer`
    """

    customer: Ints
    lists: Mapping[str, Ints]
    position: Ints
    product: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Scores of rows that came true or not.

    Parameters
    ----------
    customer : (n,) row of the customer each row is of
    happened : (n,)
    scores : method -> (n,) higher = likelier
    probabilities : methods whose score is a probability
    """

    customer: Ints
    happened: Bools
    scores: Mapping[str, Floats]
    probabilities: tuple[str, ...]


def next_purchase(ranker: Ranker, lesson: Lesson) -> dict[str, float]:
    """How one ranker alone does on `next_purchase`, for the gate to hold against another."""
    buyers = np.unique(lesson.bought_customer)
    ranked, _ = our_lists(ranker, lesson.knowledge, buyers)
    customer = np.searchsorted(buyers, lesson.bought_customer)
    values = list_metrics(ranked, customer, lesson.bought_product, len(lesson.knowledge.products))
    return {name: float(value.mean()) for name, value in values.items()} if len(buyers) else {}


def rank_next_purchase(case: Case) -> Ranked:
    """What a customer buys next, of everything."""
    knowledge, buyers = case.lesson.knowledge, case.buyers
    lists = {
        "nextoffer": case.fitted["nextoffer"][0],
        "popularity": baselines.popularity(knowledge, buyers, K, new_only=False),
        "trending": baselines.trending(knowledge, buyers, K, new_only=False),
        "last_basket": baselines.last_basket(knowledge, buyers, K),
        "personal_frequency": baselines.personal_frequency(knowledge, buyers, K),
        "als": case.fitted["als"][0],
        "item_item": case.fitted["item_item"][0],
    }
    return _ranked(case, lists, np.ones(len(case.lesson.bought_product), dtype=bool))


def rank_new_products(case: Case) -> Ranked:
    """What a customer buys for the first time."""
    knowledge, buyers = case.lesson.knowledge, case.buyers
    lists = {
        "nextoffer": case.fitted["nextoffer"][1],
        "popularity": baselines.popularity(knowledge, buyers, K, new_only=True),
        "trending": baselines.trending(knowledge, buyers, K, new_only=True),
        "als": case.fitted["als"][1],
        "item_item": case.fitted["item_item"][1],
    }
    new = ~was_bought(knowledge, case.lesson.bought_customer, case.lesson.bought_product)
    return _ranked(case, lists, new)


def rank_steps_up(case: Case) -> Ranked:
    """Which dearer product of a family a customer takes, among all steps up open to them, in one list.

    Judged are the customers who took one of them.
    """
    knowledge, products = case.lesson.knowledge, case.lesson.knowledge.products
    steps = score_steps(case.taught.up_sell, knowledge, case.buyers)
    n = len(products)
    bought = np.asarray(case.lesson.bought_customer, dtype=np.int64) * n + case.lesson.bought_product
    taken = np.isin(case.buyers[steps.position] * n + steps.product, bought)
    customer = case.buyers[np.unique(steps.position[taken])]
    here = np.isin(case.buyers[steps.position], customer)
    position = np.searchsorted(customer, case.buyers[steps.position[here]])
    product, taken = steps.product[here], taken[here]
    share = products.share_28[product].astype(np.float64)
    by_all = products.n_customers[product].astype(np.float64)
    by_28 = share + 1e-9 * by_all
    scores = {
        "nextoffer": steps.p_buy[here],
        "popularity": by_all,
        "popularity_28": by_28,
    }
    lists = {
        method: baselines.lists_of(position, product, score, len(customer), K_UP_SELL)
        for method, score in scores.items()
    }
    return Ranked(customer, lists, position[taken], product[taken])


def answer_replenishment(case: Case) -> Answered:
    """Which of the products a customer bought in the last year they buy again within the horizon."""
    lesson, horizon_days = case.lesson, case.taught.due.choice.horizon_days
    knowledge, pairs = lesson.knowledge, lesson.knowledge.pairs
    recent = np.flatnonzero(pairs.last_age_days < POPULATION_DAYS)
    owner, product = pairs.customer()[recent].astype(np.int64), pairs.product[recent]
    n = len(knowledge.products)
    truth = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    days = pairs.n_days[recent], pairs.first_age_days[recent], pairs.last_age_days[recent]
    scores = {
        "nextoffer": p_due(case.taught.due, knowledge, recent),
        "poisson_gamma": p_reorder(knowledge.reorder, product, *days, horizon_days),
        "personal_frequency": pairs.n_orders[recent] / (1.0 + pairs.first_age_days[recent]),
        "mean_gap": baselines.mean_gap_score(knowledge, horizon_days)[recent],
    }
    again: Bools = np.isin(owner * n + product, truth)
    return Answered(owner, again, scores, ("nextoffer", "poisson_gamma"))


def answer_lapse(case: Case) -> Answered:
    """Which customers order nothing within the horizon."""
    customers = case.lesson.knowledge.customers
    silent: Bools = np.ones(len(customers), dtype=bool)
    silent[case.lesson.bought_customer] = False
    scores = {
        "nextoffer": 1.0 - case.p_order.astype(np.float64),
        "recency": customers.recency_days.astype(np.float64),
    }
    return Answered(np.arange(len(customers)), silent, scores, ("nextoffer",))


TASKS: dict[str, Callable[[Case], Ranked | Answered]] = {
    "next_purchase": rank_next_purchase,
    "explore": rank_new_products,
    "up_sell": rank_steps_up,
    "replenishment": answer_replenishment,
    "lapse": answer_lapse,
}


def our_lists(ranker: Ranker, knowledge: Knowledge, rows: Ints) -> tuple[Ints, Ints]:
    """Our lists by p_buy, no caps: of all products, and of those the customer never bought."""
    everything, new = [np.zeros((0, K), np.int32)], [np.zeros((0, K), np.int32)]
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        scored = score_batch(ranker, knowledge, block)
        for parts, mask in ((everything, np.ones_like(scored.repeat)), (new, ~scored.repeat)):
            columns = (scored.position[mask], scored.product[mask], scored.p_buy[mask])
            parts.append(baselines.lists_of(*columns, len(block), K))
    return np.concatenate(everything), np.concatenate(new)


def was_bought(knowledge: Knowledge, customer: Ints, product: Ints) -> Bools:
    """Whether each (customer, product) is a pair of the history before the cut-off."""
    rows, position = np.unique(customer, return_inverse=True)
    return contains(bought_matrix(knowledge, rows), position, product)


def _ranked(case: Case, lists: Mapping[str, Ints], counts: Bools) -> Ranked:
    """The lists of those who bought something that counts."""
    lesson = case.lesson
    customer = np.unique(lesson.bought_customer[counts])
    rows = np.searchsorted(case.buyers, customer)
    position = np.searchsorted(customer, lesson.bought_customer[counts])
    chosen = {method: ranked[rows] for method, ranked in lists.items()}
    return Ranked(customer, chosen, position, lesson.bought_product[counts])
