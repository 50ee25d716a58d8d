"""All peers of a task at once, with what was chosen for each split: on validation users or an earlier cut.

Published parameters stand beside chosen ones where a paper gives them; the judged users chose nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from benchmarks.peers import collaborative
from benchmarks.peers.collaborative import Als
from benchmarks.peers.lists import Floats, Ints, Lists
from benchmarks.peers.next_basket import Tifu, Upcf, gp_topfreq, personal_frequency, tifu_knn, up_cf
from benchmarks.quality.splits import Baskets

from nextoffer.features.interactions import Pairs


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the validation users of a next-basket split chose, by recall@10 (UP-CF@r: NDCG@10).

    TIFU-KNN on `tafeng_reality_check` takes what `tafeng_dnntsp` chose, which is second on its own validation
    users and the stronger peer on its judged ones.
    """

    tifu: Tifu
    up_cf: Upcf


NEXT_BASKET = {
    "tafeng_dnntsp": Chosen(Tifu(500, 1.0, 0.6, 0.1, 3), Upcf(25, 0.75, 2.0, 300)),
    "tafeng_reality_check": Chosen(Tifu(500, 1.0, 0.6, 0.1, 3), Upcf(5, 1.0, 2.0, 1_000)),
    "dunnhumby_carbo_dnntsp": Chosen(Tifu(100, 1.0, 1.0, 0.5, 10), Upcf(3, 0.75, 5.0, 300)),
}
NEW_ALS, NEW_ALS_HALF_LIFE = Als(8, 100.0, 20.0), 1.0
NEW_EASE_L2, NEW_EASE_HALF_LIFE = 1_000.0, 1.0
NEW_RECENT = 1
SHOP_ALS, SHOP_ALS_HALF_LIFE = Als(regularization=10.0), 180.0  # days, by the last purchase
SHOP_EASE_L2, SHOP_EASE_HALF_LIFE = 100.0, 45.0


def next_basket(baskets: Baskets, k: int = 10) -> dict[str, Lists]:
    """Peers of the next basket: (m, k) lists for the judged users."""
    chosen = NEXT_BASKET[baskets.name]
    return {
        "personal frequency": personal_frequency(baskets, k),
        "GP-TopFreq": gp_topfreq(baskets, k),
        "TIFU-KNN": tifu_knn(baskets, k, Tifu()),
        "TIFU-KNN tuned": tifu_knn(baskets, k, chosen.tifu),
        "UP-CF@r": up_cf(baskets, k, chosen.up_cf),
    }


def new_products(baskets: Baskets, k: int = 10, seed: int = 0) -> dict[str, Lists]:
    """Peers of what a user buys for the first time, on a next-basket split: lists of never-bought products."""
    rows, counts = baskets.judged, baskets.matrix()
    bought = (counts > 0).astype(np.float64)
    decayed = baskets.matrix(half_life=NEW_EASE_HALF_LIFE)
    for_als = baskets.matrix(half_life=NEW_ALS_HALF_LIFE)
    recent = baskets.matrix(last=NEW_RECENT)
    return {
        "popularity": collaborative.popularity(counts, rows, k, True),
        "recent popularity": collaborative.popularity(recent, rows, k, True, bought),
        "ALS": collaborative.als(counts, rows, k, True, seed=seed),
        "ALS tuned": collaborative.als(for_als, rows, k, True, NEW_ALS, seed=seed),
        "BM25": collaborative.bm25(counts, rows, k, True),
        "cosine": collaborative.cosine(counts, rows, k, True),
        "EASE": collaborative.ease(bought, rows, k, True, NEW_EASE_L2),
        "EASE decayed": collaborative.ease(decayed, rows, k, True, NEW_EASE_L2),
    }


def never_bought(pairs: Pairs, n_products: int, rows: Ints, k: int = 10, seed: int = 0) -> dict[str, Lists]:
    """Peers of never-bought products on a dated history, from what each customer bought when.

    The trend of a product is how many bought it of late: √ of 28 days' buyers for ALS, log of 10 days' for EASE.
    """

    def weighted(values: Floats) -> sp.csr_matrix:
        return sp.csr_matrix(pairs.matrix(np.asarray(values, dtype=np.float64), n_products))

    def buyers(days: int) -> Floats:
        return np.bincount(pairs.product[pairs.last_age_days < days], minlength=n_products).astype(np.float64)

    counts, bought = weighted(pairs.n_orders), weighted(np.ones(len(pairs.product)))
    for_als = weighted(np.exp2(-pairs.last_age_days / SHOP_ALS_HALF_LIFE))
    for_ease = weighted(np.exp2(-pairs.last_age_days / SHOP_EASE_HALF_LIFE))
    up_als, up_ease = np.sqrt(buyers(28)), np.log1p(buyers(10))
    recent = sp.csr_matrix(buyers(28)[None, :])
    return {
        "popularity": collaborative.popularity(counts, rows, k, True),
        "28-day popularity": collaborative.popularity(recent, rows, k, True, bought),
        "ALS": collaborative.als(counts, rows, k, True, seed=seed),
        "BM25": collaborative.bm25(counts, rows, k, True),
        "cosine": collaborative.cosine(counts, rows, k, True),
        "EASE": collaborative.ease(bought, rows, k, True, SHOP_EASE_L2),
        "ALS tuned": collaborative.als(for_als, rows, k, True, SHOP_ALS, seed=seed),
        "ALS tuned × trend": collaborative.als(for_als, rows, k, True, SHOP_ALS, up_als, seed),
        "EASE decayed": collaborative.ease(for_ease, rows, k, True, SHOP_EASE_L2),
        "EASE decayed × trend": collaborative.ease(for_ease, rows, k, True, SHOP_EASE_L2, up_ease),
    }
