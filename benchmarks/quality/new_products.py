"""New products only: what a user of tafeng_dnntsp buys in the hidden basket and never bought before.

Judged are the test users whose hidden basket holds such a product; every method lists never-bought products
only. The gate holds against the best of EASE, recent popularity and ALS, each as published or as tuned.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.peers import panel
from benchmarks.quality.lines import Line, against, best_peer, say
from benchmarks.quality.next_basket import ours
from benchmarks.quality.splits import per_user, tafeng_dnntsp

TARGET, GATE = 0.097, 1.20
GATED = ("EASE", "EASE decayed", "recent popularity", "ALS", "ALS tuned")


def lines(data: Path) -> list[Line]:
    """Recall@10 beside every peer."""
    baskets, (_, new) = tafeng_dnntsp(data), ours("tafeng_dnntsp", data)
    say("new_products: peers")
    truth = baskets.truth(new_only=True)
    mine = per_user(truth, new)["recall@10"]
    peers = {peer: per_user(truth, lists)["recall@10"] for peer, lists in panel.new_products(baskets).items()}
    gates = {best_peer(peers, GATED): GATE}
    return against("new products", baskets.name, "recall@10", mine, peers, target=TARGET, gates=gates)
