"""Never-bought products on Online Retail: what known customers buy for the first time in its last 28 days.

Judged are the customers who bought such a product; the ranker is taught by the horizons before the cut.
NDCG's ideal is cut at k; products first sold after the cut count in the truth, though nobody can propose them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from benchmarks.peers import panel
from benchmarks.quality.lines import Line, against, best_peer, say
from benchmarks.quality.splits import Ints, kitchen_of_orders, per_user, ranker_of

from nextoffer.backtest.tasks import our_lists, was_bought
from nextoffer.models.ranker import Lesson
from nextoffer.models.recipe import Past

HORIZON_DAYS = 28
METRICS = {"ndcg@10": ("NDCG@10", 0.158), "hit@10": ("Hit@10", 0.60)}
DEFAULT, DEFAULT_GATE = "ALS", 1.70
WITH_TREND, WITH_TREND_GATE = ("ALS tuned × trend", "EASE decayed × trend"), 1.22


def lines(data: Path) -> list[Line]:
    """NDCG@10 and Hit@10 beside every peer."""
    with kitchen_of_orders(data, HORIZON_DAYS) as (kitchen, as_of, first_order_at):
        past = Past.of(kitchen, first_order_at, as_of)
        say("never_bought: teaching on Online Retail")
        ranker, lesson = ranker_of(past, as_of), past.cut(as_of).lesson
    knowledge = lesson.knowledge
    rows, truth = first_purchases(lesson)
    say("never_bought: scoring, peers")
    mine = per_user(truth, our_lists(ranker, knowledge, rows)[1])
    lists = panel.never_bought(knowledge.pairs, len(knowledge.products), rows)
    values = {peer: per_user(truth, listed) for peer, listed in lists.items()}
    found = []
    for metric, (title, target) in METRICS.items():
        peers = {peer: value[metric] for peer, value in values.items()}
        gates = {DEFAULT: DEFAULT_GATE, best_peer(peers, WITH_TREND): WITH_TREND_GATE}
        bars = {"target": target, "gates": gates if metric == "ndcg@10" else None}
        found += against("never bought", "online_retail", title, mine[metric], peers, **bars)
    return found


def first_purchases(lesson: Lesson) -> tuple[Ints, sp.csr_matrix]:
    """(m,) customers who bought what they never had, and (m, n_products) 1 where they did."""
    customer, product = lesson.bought_customer, lesson.bought_product
    new = ~was_bought(lesson.knowledge, customer, product)
    rows, place = np.unique(customer[new], return_inverse=True)
    shape = (len(rows), len(lesson.knowledge.products))
    return rows, sp.csr_matrix((np.ones(len(place)), (place, product[new])), shape=shape)
