"""What was left behind: against the raw tables, and live."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from nextoffer.bundle.bundle import Bundle
from nextoffer.domain.offers import KIND, REASONS, Candidates
from nextoffer.features.diary import Diary
from nextoffer.offers.abandoned import NEWEST, candidates, from_seen
from nextoffer.offers.batch import PER_KIND, KindSettings, make_batch

Key = tuple[str, str]


@pytest.fixture(scope="module")
def found(shop_bundle: Bundle) -> Candidates:
    rows = np.arange(len(shop_bundle.knowledge.customers))
    return candidates(make_batch(shop_bundle, rows), shop_bundle, KindSettings(shop_bundle.as_of.date()))


def named(bundle: Bundle, found: Candidates) -> list[tuple[Key, str]]:
    ids, products = bundle.customer_ids.ids, bundle.catalogue.ids
    return [
        ((ids.text(who), products.text(what)), REASONS[why])
        for who, what, why in zip(found.customer, found.product, found.reason, strict=True)
    ]


@pytest.fixture(scope="module")
def left_behind(small_shop_learned: Any) -> dict[Key, tuple[datetime, bool]]:
    """(customer, product) -> when it was last seen and whether it is in the cart; let alone, and not bought since."""
    history, as_of = small_shop_learned.kitchen.history, small_shop_learned.as_of.replace(tzinfo=None)
    events = pq.read_table(history / "interactions.parquet").to_pylist()
    lines = pq.read_table(history / "orders.parquet").to_pylist()
    bought = defaultdict(list)
    for line in lines:
        if line["quantity"] > 0 and line["ordered_at"] < as_of:
            bought[line["customer_id"], line["product_id"]].append(line["ordered_at"])
    seen: dict[Key, tuple[datetime, bool]] = {}
    for event in sorted(events, key=lambda event: event["occurred_at"]):
        key, at = (event["customer_id"], event["product_id"]), event["occurred_at"]
        if as_of - timedelta(days=14) <= at < as_of:
            seen[key] = at, event["event"] == "add-to-cart" or seen.get(key, (at, False))[1]
    return {
        key: (at, carted)
        for key, (at, carted) in seen.items()
        if at <= as_of - timedelta(hours=24)
        and not any(when >= at - timedelta(days=1) for when in bought[key])
    }


def test_what_was_seen_let_alone_and_not_bought_is_offered_with_its_true_reason(
    found: Candidates, shop_bundle: Bundle, left_behind: dict[Key, tuple[datetime, bool]]
) -> None:
    known = {shop_bundle.customer_ids.ids.text(row) for row in range(len(shop_bundle.customer_ids.ids))}
    per_customer: dict[str, list[Key]] = defaultdict(list)
    for key, _ in sorted(left_behind.items(), key=lambda item: (-item[1][0].timestamp(), item[0][1])):
        per_customer[key[0]].append(key)
    expected = {
        key: "left-in-cart" if left_behind[key][1] else "viewed-not-bought"
        for who, keys in per_customer.items()
        for key in keys[:NEWEST]
        if who in known and len(keys) <= PER_KIND
    }
    offered = dict(named(shop_bundle, found))

    assert {key: why for key, why in offered.items() if len(per_customer[key[0]]) <= PER_KIND} == expected
    assert set(offered) <= set(left_behind) and len(set(expected.values())) == 2


def test_the_window_is_the_shops_to_choose(shop_bundle: Bundle) -> None:
    batch = make_batch(shop_bundle, np.arange(len(shop_bundle.knowledge.customers)))
    today = shop_bundle.as_of.date()

    sizes = [
        len(candidates(batch, shop_bundle, KindSettings(today, abandoned_hours=hours, abandoned_days=days)))
        for hours, days in ((0, 14), (24, 14), (24, 3), (24 * 14, 14), (24, 1))
    ]

    assert sizes[0] > sizes[1] > sizes[2] > sizes[4] >= 0
    assert sizes[3] == 0


def test_what_was_in_the_cart_is_likelier_than_what_was_only_seen(shop_bundle: Bundle) -> None:
    interest = shop_bundle.diary.interest
    row, product = int(interest.customer[0]), int(interest.product[0])
    carted, viewed = (from_seen(shop_bundle, row, [(product, cart, 30.0)]) for cart in (True, False))

    assert interest.carted_share > interest.viewed_share
    assert carted.p_buy[0] > viewed.p_buy[0]
    assert [REASONS[one.reason[0]] for one in (carted, viewed)] == ["left-in-cart", "viewed-not-bought"]


def test_live_views_count_from_their_last_moment_and_within_the_window(shop_bundle: Bundle) -> None:
    in_cart_then_looked_at = [(3, True, 100.0), (3, False, 30.0)]
    looked_at_again = [(7, True, 100.0), (7, False, 5.0)]
    edges = [(4, True, 23.9), (5, False, 24.0), (6, True, 24 * 14 + 0.1)]

    for row in (-1, 0):
        found = from_seen(shop_bundle, row, in_cart_then_looked_at + looked_at_again + edges)
        reasons = [REASONS[one] for one in found.reason]
        assert dict(zip(found.product.tolist(), reasons, strict=True)) == {
            3: "left-in-cart",
            5: "viewed-not-bought",
        }
        assert found.customer.tolist() == [0, 0] and (found.kind == KIND["abandoned"]).all()


def test_a_live_view_of_something_offered_tonight_stands_on_tonights_chance(
    found: Candidates, shop_bundle: Bundle
) -> None:
    stored = shop_bundle.candidates
    at = int(np.flatnonzero(stored.kind == KIND["for_you"])[0])
    row = int(np.searchsorted(stored.indptr, at, "right")) - 1
    live = from_seen(shop_bundle, row, [(int(stored.product[at]), False, 48.0)])

    share = shop_bundle.diary.interest.viewed_share
    mine = stored.batch(np.array([row]))
    p = mine.p_buy[(mine.product == stored.product[at]) & (mine.kind != KIND["abandoned"])].max()
    assert live.p_buy.tolist() == pytest.approx([1 - (1 - float(p)) * (1 - share)], rel=1e-6)


def test_a_shop_without_interactions_has_nothing_abandoned(shop_bundle: Bundle) -> None:
    batch = make_batch(shop_bundle, np.arange(20))

    none = candidates(batch, replace(shop_bundle, diary=Diary()), KindSettings(shop_bundle.as_of.date()))

    assert len(none) == 0
