"""Splits as arrays, their metrics, and the same split as a shop's history."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from benchmarks.peers.next_basket import Tifu, gp_topfreq, tifu_knn
from benchmarks.quality.splits import (
    AS_OF,
    Baskets,
    dunnhumby_carbo_dnntsp,
    kitchen_of,
    per_user,
    tafeng_dnntsp,
)

from nextoffer.features.build import build_features, build_labels


def toy(seed: int = 0, n_users: int = 12, n_products: int = 9) -> Baskets:
    """Random baskets; the last product is sold in hidden baskets only."""
    rng = np.random.default_rng(seed)
    rows, hidden = [], []
    for user in range(n_users):
        for number in range(1, int(rng.integers(1, 9)) + 1):
            chosen = rng.choice(n_products - 1, size=int(rng.integers(1, 4)), replace=False)
            rows += [(user, number, product) for product in sorted(chosen)]
        hidden += [(user, product) for product in sorted(rng.choice(n_products, size=3, replace=False))]
    user, number, product = np.array(rows).T
    target_user, target_product = np.array(hidden).T
    part = np.arange(n_users) % 3
    judged = np.flatnonzero(part == 2)
    history = (user, number, product, target_user, target_product)
    return Baskets("toy", *history, part, judged, n_products, n_products - 1)


def test_metrics_are_those_counted_by_hand() -> None:
    baskets = replace(
        toy(), judged=np.array([0]), target_user=np.zeros(3, int), target_product=np.array([1, 4, 7])
    )
    lists = np.array([[4, 2, 7, -1]])
    dcg = 1.0 + 1.0 / np.log2(4)
    best = np.cumsum(1.0 / np.log2(np.arange(2, 12)))
    for ideal, size in (("cut", 2), ("whole", 3), ("k", 2)):
        found = per_user(baskets.truth(), lists, 2, ideal)
        assert found["recall@2"] == pytest.approx([1 / 3])
        assert found["hit@2"] == pytest.approx([1.0])
        assert found["ndcg@2"] == pytest.approx([1.0 / best[size - 1]])
    assert per_user(baskets.truth(), lists, 10)["ndcg@10"] == pytest.approx([dcg / best[2]])
    assert per_user(baskets.truth(), lists, 10, "k")["ndcg@10"] == pytest.approx([dcg / best[9]])


def test_new_products_only_drops_users_without_any() -> None:
    baskets = toy()
    truth = baskets.truth(new_only=True)
    for row, user in enumerate(baskets.judged):
        bought = set(baskets.product[baskets.user == user])
        hidden = set(baskets.target_product[baskets.target_user == user])
        assert set(truth[[row]].indices) == hidden - bought
    found = per_user(truth, np.zeros((len(baskets.judged), 10), int))
    assert len(found["recall@10"]) == int((np.diff(truth.indptr) > 0).sum())


def test_a_split_is_a_shop_whose_rows_are_its_own() -> None:
    baskets = toy()
    with kitchen_of(baskets) as (kitchen, as_of, first_order_at):
        features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "now", as_of)
        pairs = features.pairs
        seen = pairs.matrix(pairs.n_orders.astype(float), len(kitchen.catalogue.ids))
        longest = int(baskets.n_baskets().max())
        assert as_of == AS_OF
        assert as_of - first_order_at == timedelta(days=7 * longest, hours=-12)
        assert (seen.toarray() == baskets.matrix().toarray()).all()


def test_a_cut_one_step_earlier_is_labelled_by_everybodys_last_history_basket() -> None:
    baskets = toy()
    with kitchen_of(baskets) as (kitchen, as_of, _):
        then = as_of - timedelta(days=7)
        features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "then", then)
        customer, product = build_labels(kitchen.engine, kitchen.scratch / "then", then, as_of)
    before = baskets.one_step_back()
    known = np.array(sorted(set(before.user)))
    of_known = np.isin(before.target_user, known)
    wanted = zip(before.target_user[of_known], before.target_product[of_known], strict=True)
    assert set(zip(known[customer], product, strict=True)) == set(wanted)
    assert len(features.customers) == len(known)


def test_hidden_baskets_reach_the_shop_only_when_asked_for() -> None:
    baskets = toy()
    with kitchen_of(baskets) as (kitchen, as_of, _):
        build_features(kitchen.engine, kitchen.history, kitchen.scratch / "a", as_of)
        customer, _ = build_labels(kitchen.engine, kitchen.scratch / "a", as_of, as_of + timedelta(days=7))
        assert len(customer) == 0
    with kitchen_of(baskets, targets=True) as (kitchen, as_of, _):
        build_features(kitchen.engine, kitchen.history, kitchen.scratch / "b", as_of)
        found = build_labels(kitchen.engine, kitchen.scratch / "b", as_of, as_of + timedelta(days=7))
        hidden = set(zip(baskets.target_user, baskets.target_product, strict=True))
        assert set(zip(*found, strict=True)) == hidden


@pytest.mark.realdata
@pytest.mark.skipif("NEXTOFFER_REALDATA" not in os.environ, reason="NEXTOFFER_REALDATA is not set")
def test_peers_reproduce_the_published_figures() -> None:
    data = Path(os.environ["NEXTOFFER_REALDATA"])
    for baskets, published in (
        (tafeng_dnntsp(data), (0.145, 0.134, 0.433)),
        (dunnhumby_carbo_dnntsp(data), (0.455, 0.336, 0.552)),
    ):
        found = per_user(baskets.truth(), gp_topfreq(baskets, 10))
        means = [found[name].mean() for name in ("recall@10", "ndcg@10", "hit@10")]
        assert means == pytest.approx(published, abs=0.001)
    baskets = tafeng_dnntsp(data)
    found = per_user(baskets.truth(), tifu_knn(baskets, 10, Tifu()))
    means = [found[name].mean() for name in ("recall@10", "ndcg@10", "hit@10")]
    assert means == pytest.approx((0.134, 0.116, 0.411), abs=0.004)
