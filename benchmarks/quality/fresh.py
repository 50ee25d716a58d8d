"""Fresh context: a newcomer to Online Retail who has looked at two products, or has two in the cart.

Newcomers are made of the customers of the 28 days after the cut: the first two lines of their first order are what
they viewed, or hold in the cart; what else that order holds is to be foretold, and all else they buy in the 28 days.
Nothing personal is known of anyone. The weights of `models/fresh.py` were chosen on the cuts of CHOSEN_ON.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from benchmarks.peers.collaborative import _alike
from benchmarks.peers.lists import Lists, best
from benchmarks.quality.lines import Line, against, say
from benchmarks.quality.splits import Ints, kitchen_of_orders, per_user

from nextoffer.backtest.baselines import lists_of
from nextoffer.models.fresh import Moment, shares, suggest
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.recipe import Cut, Kitchen, Past

HORIZON_DAYS = 28
CHOSEN_ON = (datetime(2011, 8, 19, tzinfo=UTC), datetime(2011, 9, 16, tzinfo=UTC))
CUT = datetime(2011, 10, 14, tzinfo=UTC)
METRICS = {"hit@10": "Hit@10", "ndcg@10": "NDCG@10"}
N_POPULAR = 30
N_CONTEXT = 2
NOTHING: npt.NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class Newcomers:
    """Made of customers: (m, 2) products seen, newest first; (m, n_products) 1 where bought; (m,) truly new ones."""

    seen: npt.NDArray[np.int64]
    order: sp.csr_matrix
    later: sp.csr_matrix
    unknown: npt.NDArray[np.bool_]


def lines(data: Path) -> list[Line]:
    """Hit@10 and NDCG@10 of two views and of a cart of two, beside every peer."""
    with kitchen_of_orders(data, HORIZON_DAYS) as (kitchen, _, first_order_at):
        say("fresh: learning Online Retail")
        cut = Past(kitchen, first_order_at, stride=1, n_cuts=1).cut(CUT)
        made = newcomers(kitchen, cut)
    return judged(cut.lesson.knowledge, made)


def judged(knowledge: Knowledge, made: Newcomers) -> list[Line]:
    """Ours beside the peers: rest of the first order by all and by the truly new, everything of the 28 days."""
    others = peers(knowledge, made.seen)
    everyone = np.arange(len(made.seen))
    truths = {
        "rest of the order": (made.order, everyone),
        "rest of the order, never seen before": (made.order, np.flatnonzero(made.unknown)),
        "28 days": (made.later, everyone),
    }
    found = []
    for origin in ("viewed", "cart"):
        ours = np.stack([listed(knowledge, moment_of(row, origin)) for row in made.seen])
        for name, (truth, rows) in truths.items():
            mine = per_user(truth[rows], ours[rows])
            theirs = {peer: per_user(truth[rows], lists[rows]) for peer, lists in others.items()}
            for metric, title in METRICS.items():
                values = {peer: value[metric] for peer, value in theirs.items()}
                split = f"online_retail, 2 {origin}, {name}"
                found += against("fresh context", split, title, mine[metric], values)
    return found


def moment_of(seen: Ints, origin: str) -> Moment:
    """The products seen as views, or as a cart."""
    return Moment.of(*(seen if origin == name else NOTHING for name in ("cart", "viewed", "bought")))


def listed(knowledge: Knowledge, moment: Moment, k: int = 10) -> Ints:
    """(k,) what a visitor is suggested and what is popular, by their shares; nothing they have seen."""
    found = suggest(knowledge, moment)
    popular = np.setdiff1d(knowledge.products.popular(N_POPULAR), found.product)
    share = np.append(found.share, shares(knowledge, moment, popular)[0])
    product = np.append(found.product, popular)
    free = ~np.isin(product, np.append(moment.taken, moment.viewed))
    return lists_of(np.zeros(int(free.sum()), np.int64), product[free], share[free], 1, k)[0]


def peers(knowledge: Knowledge, seen: Ints, k: int = 10) -> dict[str, Lists]:
    """Popularity, item-item cosine with few and many neighbours, and P(in the same order) summed; none of the seen."""
    from implicit.nearest_neighbours import normalize

    m, n = len(seen), len(knowledge.products)
    shape, every = (m, n), np.arange(m)
    held = sp.csr_matrix((np.ones(seen.size), (np.repeat(every, seen.shape[1]), seen.ravel())), shape=shape)
    pairs = knowledge.pairs
    counts = pairs.matrix(pairs.n_orders.astype(np.float64), n)
    columns = normalize(counts.T).T.tocsr()

    def without_seen(scores: npt.NDArray[np.float64]) -> Lists:
        scores[every[:, None], seen] = 0.0
        return best(scores, k)

    popular = np.exp(knowledge.products.log_share_28.astype(np.float64))
    together = np.asarray((held @ knowledge.companions.matrix()).todense(), dtype=np.float64)
    return {
        "popularity 28 d": without_seen(np.tile(popular, (m, 1))),
        "item-item cosine": _alike(held, every, k, True, columns, 20, None),
        "item-item cosine, 200 neighbours": _alike(held, every, k, True, columns, 200, None),
        "companions alone": without_seen(together),
    }


def newcomers(kitchen: Kitchen, cut: Cut) -> Newcomers:
    """Customers of the horizon after the cut whose first order holds three products sold before it, or more."""
    start = cut.as_of.astimezone(UTC).replace(tzinfo=None)
    until = start + timedelta(days=HORIZON_DAYS)
    table = kitchen.engine.arrow(
        "SELECT customer_id, order_id, product_id FROM orders "
        f"WHERE ordered_at >= TIMESTAMP '{start}' AND ordered_at < TIMESTAMP '{until}' "
        "AND quantity > 0 AND customer_id IS NOT NULL "
        'ORDER BY customer_id, ordered_at, order_id, "row"'
    ).to_pandas()
    ids, sold = kitchen.catalogue.ids, cut.lesson.knowledge.products.n_orders > 0
    row = {ids.text(at): at for at in np.flatnonzero(sold).tolist()}
    table["product"] = table["product_id"].map(row)
    table = table.dropna(subset=["product"]).astype({"product": np.int64})
    first_id = table.groupby("customer_id")["order_id"].transform("first")
    in_first = (table["order_id"] == first_id).to_numpy()
    table = table.assign(in_first=in_first).drop_duplicates(["customer_id", "product"])
    place = table.groupby("customer_id").cumcount().to_numpy()
    size = table.groupby("customer_id")["in_first"].transform("sum").to_numpy()
    table, place = table[size > N_CONTEXT], place[size > N_CONTEXT]
    customers, owner = np.unique(table["customer_id"].to_numpy(dtype=str), return_inverse=True)
    product, held = table["product"].to_numpy(), table["in_first"].to_numpy()
    seen = product[place < N_CONTEXT].reshape(-1, N_CONTEXT)[:, ::-1]

    def truth(which: npt.NDArray[np.bool_]) -> sp.csr_matrix:
        cells = (np.ones(int(which.sum())), (owner[which], product[which]))
        return sp.csr_matrix(cells, shape=(len(customers), len(sold)))

    later = place >= N_CONTEXT
    unknown = np.array([cut.customer_ids.find(customer) < 0 for customer in customers.tolist()])
    return Newcomers(np.ascontiguousarray(seen), truth(held & later), truth(later), unknown)
