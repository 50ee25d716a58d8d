"""Up-sell on Online Retail: which dearer product of a family a customer takes in the next 28 days.

Opportunity = a family the customer bought from in the last 180 days; anchor = their last product of it, of
several bought that day the dearest; open = every product of the family at 1.10 to 1.60 times the anchor's
price, sold in the last 91 days, that the customer never bought: all of them, whatever any method would
propose. One list of five per customer, over all of their families.

- NDCG@5, mean over the customers who bought an open step; the ideal has min(5, steps bought) hits.
- Price uplift per 1,000 targeted customers: price of the step − price of its anchor, in pounds as they were
  known at the date, summed over the hits among the five, × 1,000 ÷ customers with any open step.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from benchmarks.peers.up_sell import PEERS
from benchmarks.quality.lines import Line, against
from benchmarks.quality.splits import kitchen_of_orders, per_user

from nextoffer.domain.arrays import place_in_run
from nextoffer.models.ranker import Lesson
from nextoffer.models.recipe import Past
from nextoffer.models.up_sell import Steps, fit_up_sell, score_steps

Floats = npt.NDArray[np.float64]
K = 5
HORIZON_DAYS = 28
TARGETS = {"NDCG@5": 0.250, "price uplift per 1,000": 185.0}
GATES = {"popularity": 1.6, "popularity, 28 days": 1.12}


def lines(data: Path) -> list[Line]:
    """Ours and its peers on the last 28 days, taught by the horizons before them."""
    with kitchen_of_orders(data, HORIZON_DAYS) as (kitchen, as_of, first_order_at):
        past = Past.of(kitchen, first_order_at, as_of)
        moments = [as_of - timedelta(days=HORIZON_DAYS * back) for back in range(1, past.n_cuts + 1)]
        up_sell = fit_up_sell([past.cut(moment).lesson for moment in moments], HORIZON_DAYS, kitchen.seed)
        lesson = past.cut(as_of).lesson
    knowledge = lesson.knowledge
    steps = score_steps(up_sell, knowledge, np.arange(len(knowledge.customers)))
    scores = {"nextoffer": steps.p_buy.astype(np.float64)}
    scores |= {name: peer(knowledge, steps) for name, peer in PEERS.items()}
    judged = {name: judge(lesson, steps, score) for name, score in scores.items()}
    found = []
    for at, (metric, target) in enumerate(TARGETS.items()):
        peers = {name: judged[name][at] for name in PEERS}
        gates = GATES if metric == "NDCG@5" else None
        found += against(
            "up-sell", "online_retail", metric, judged["nextoffer"][at], peers, target=target, gates=gates
        )
    return found


def judge(lesson: Lesson, steps: Steps, score: Floats) -> tuple[Floats, Floats]:
    """NDCG@5 of each customer with an event, and 1,000 × the price uplift of each targeted customer."""
    n, price = len(lesson.knowledge.products), lesson.knowledge.ladder.price
    targeted, place = np.unique(steps.position, return_inverse=True)
    order = np.lexsort((steps.product, -score, place))
    top = order[place_in_run(place[order]) < K]
    lists = np.full((len(targeted), K), -1, dtype=np.int64)
    lists[place[top], place_in_run(place[top])] = steps.product[top]
    bought = np.unique(np.asarray(lesson.bought_customer, dtype=np.int64) * n + lesson.bought_product)
    hit = np.isin(steps.position * n + steps.product, bought)
    truth = sp.csr_matrix((np.ones(hit.sum()), (place[hit], steps.product[hit])), shape=(len(targeted), n))
    gain = np.where(hit, price[steps.product] - price[steps.anchor], 0.0)[top]
    uplift = 1_000.0 * np.bincount(place[top], gain, minlength=len(targeted))
    return per_user(truth, lists, K)["ndcg@5"], uplift
