"""Next basket on the published splits: the ten products likeliest in each judged user's hidden last basket.

Ours is the nightly recipe on the split written as a shop's history: a ranker taught by each user's own earlier
baskets, never by a hidden one. NDCG's ideal is cut at k, as DNNTSP's is.

References
----------
Yu et al. (2020), Predicting Temporal Sets with Deep Neural Networks, KDD: tafeng_dnntsp, dunnhumby_carbo_dnntsp.
Li, Jullien, Ariannezhad & de Rijke (2023), A Next Basket Recommendation Reality Check, TOIS 41(4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.peers import panel
from benchmarks.peers.lists import Lists
from benchmarks.quality import splits
from benchmarks.quality.lines import Floats, Line, against, best_peer, say
from benchmarks.quality.splits import Baskets, kitchen_of, per_user, ranker_of

from nextoffer.backtest.tasks import our_lists
from nextoffer.models.recipe import Past

METRICS = {"recall@10": "recall@10", "ndcg@10": "NDCG@10", "hit@10": "PHR@10"}
BETTER_TIFU = "the better TIFU-KNN"


@dataclass(frozen=True, slots=True)
class Bars:
    """Metric -> figure hoped for; metric -> peer -> least ratio that passes."""

    targets: dict[str, float]
    gates: dict[str, dict[str, float]]


SPLITS: dict[str, tuple[Callable[[Path], Baskets], Bars]] = {
    "tafeng_dnntsp": (
        splits.tafeng_dnntsp,
        Bars(
            {"recall@10": 0.186, "ndcg@10": 0.168, "hit@10": 0.500},
            {"recall@10": {"TIFU-KNN": 1.35, "GP-TopFreq": 1.25}},
        ),
    ),
    "dunnhumby_carbo_dnntsp": (
        splits.dunnhumby_carbo_dnntsp,
        Bars(
            {"recall@10": 0.497, "ndcg@10": 0.364},
            {"recall@10": {BETTER_TIFU: 1.03}, "ndcg@10": {"UP-CF@r": 1.05}},
        ),
    ),
    "tafeng_reality_check": (
        splits.tafeng_reality_check,
        Bars({"recall@10": 0.171, "hit@10": 0.488}, {"recall@10": {"GP-TopFreq": 1.20}}),
    ),
}


def lines(data: Path) -> list[Line]:
    """Recall, NDCG and PHR at 10 of each split, beside every peer."""
    return [line for name in SPLITS for line in judged(name, data)]


def judged(name: str, data: Path) -> list[Line]:
    """Lines of one split."""
    load, bars = SPLITS[name]
    baskets, (everything, _) = load(data), ours(name, data)
    say(f"next_basket: peers on {name}")
    truth = baskets.truth()
    mine = per_user(truth, everything)
    values = {peer: per_user(truth, lists) for peer, lists in panel.next_basket(baskets).items()}
    found = []
    for metric, title in METRICS.items():
        peers = {peer: value[metric] for peer, value in values.items()}
        gates = named(bars.gates.get(metric, {}), peers)
        target = bars.targets.get(metric)
        found += against("next basket", name, title, mine[metric], peers, target=target, gates=gates)
    return found


def named(gates: dict[str, float], peers: dict[str, Floats]) -> dict[str, float]:
    """The gates with BETTER_TIFU, chosen on the judged users themselves in the peer's favour, by its name."""
    tifu = best_peer(peers, ("TIFU-KNN", "TIFU-KNN tuned"))
    return {tifu if peer == BETTER_TIFU else peer: gate for peer, gate in gates.items()}


@cache
def ours(name: str, data: Path) -> tuple[Lists, Lists]:
    """(m, 10) lists of the judged users by p_buy: of everything, and of what they never bought."""
    baskets = SPLITS[name][0](data)
    with kitchen_of(baskets) as (kitchen, as_of, first_order_at):
        past = Past.of(kitchen, first_order_at, as_of)
        say(f"teaching on {name}")
        ranker = ranker_of(past, as_of)
        say(f"learning {name}")
        knowledge = past.cut(as_of).lesson.knowledge
    found = len(knowledge.customers), len(knowledge.products)
    if found != (baskets.n_users, baskets.n_known):
        raise ValueError(f"{name}: customers and products {found} are not the split's")
    say(f"scoring {name}")
    return our_lists(ranker, knowledge, baskets.judged)
