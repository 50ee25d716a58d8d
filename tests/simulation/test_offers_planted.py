"""Offers change orders by what they cause and by nothing else, and the truth says exactly what that is."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from nextoffer.errors import RequestError
from nextoffer.simulation.effect import planted
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop, StepRows

KINDS = ("cross_sell", "up_sell", "for_you", "replenishment", "win_back")
FIRST = 52


def offers_for(shop: Any, seed: int, share: float = 0.5, level: float = 0.1, rows: int = 1) -> pa.Table:
    """Random offers for a share of the customers known so far."""
    rng = np.random.default_rng(seed)
    known = shop.table("customers")["customer_id"].to_pylist()
    products = shop.table("products")["product_id"].to_pylist()
    chosen = np.repeat(np.flatnonzero(rng.random(len(known)) < share), rows)
    kinds = [KINDS[kind] for kind in rng.integers(0, len(KINDS), len(chosen))]
    return pa.table(
        {
            "customer_id": [known[row] for row in chosen],
            "kind": kinds,
            "product_id": [
                None if kind == "win_back" else products[rng.integers(len(products))] for kind in kinds
            ],
            "level": [level if kind == "win_back" else 0.0 for kind in kinds],
        }
    )


def order_ids(rows: StepRows) -> set[str]:
    sold = rows.orders.filter(pc.greater(rows.orders["quantity"], 0))
    return set(sold["order_id"].to_pylist())


def ids(table: pa.Table, column: str) -> set[str]:
    return set(table.filter(table[column])["customer_id"].to_pylist())


def test_without_effect_every_order_is_equal_under_any_offers(tmp_path: Path, write_shop: Any) -> None:
    shop = write_shop(tmp_path, ShopSettings(customers=500, products=200, weeks=12, offer_effect=0.0))
    alone = shop.shop.fork()
    for week in range(12, 15):
        offered = shop.shop.step(week, offers_for(shop, week, share=0.9, level=0.3, rows=2))
        nothing = alone.step(week)

        assert offered.exposures.num_rows > 100 and offered.clicks.num_rows > 10
        assert offered.orders.equals(nothing.orders)
        assert offered.redemptions.num_rows == 0


def test_offers_only_add_or_remove_the_orders_they_cause(small_shop: Any) -> None:
    treated, alone = small_shop.shop.fork(), small_shop.shop.fork()
    offers = offers_for(small_shop, 1)
    got, without = treated.step(FIRST, offers), alone.step(FIRST)
    caused, prevented = ids(got.truth, "caused"), ids(got.truth, "prevented")

    by_customer = dict(
        zip(got.orders["order_id"].to_pylist(), got.orders["customer_id"].to_pylist(), strict=True)
    ) | dict(
        zip(without.orders["order_id"].to_pylist(), without.orders["customer_id"].to_pylist(), strict=True)
    )
    assert len(caused) > 10
    assert {by_customer[order] for order in order_ids(got) - order_ids(without)} == caused
    assert {by_customer[order] for order in order_ids(without) - order_ids(got)} == prevented
    assert caused | prevented <= set(offers["customer_id"].to_pylist())


def test_customers_who_were_sent_nothing_live_exactly_as_before(small_shop: Any) -> None:
    treated, alone = small_shop.shop.fork(), small_shop.shop.fork()
    offers = offers_for(small_shop, 2, share=0.3)
    sent = offers["customer_id"].combine_chunks()
    for week in range(FIRST, FIRST + 6):
        rows = [shop.step(week, given).orders for shop, given in ((treated, offers), (alone, None))]
        untouched = [table.filter(pc.invert(pc.is_in(table["customer_id"], sent))) for table in rows]

        assert untouched[0].num_rows > 50 and untouched[0].equals(untouched[1])


def test_the_truth_of_a_first_week_is_the_paired_difference(small_shop: Any) -> None:
    treated, alone = small_shop.shop.fork(), small_shop.shop.fork()
    got, without = treated.step(FIRST, offers_for(small_shop, 3)), alone.step(FIRST)
    nets = [rows.orders.filter(pc.greater(rows.orders["quantity"], 0)) for rows in (got, without)]
    no_returns = [StepRows(net, got.exposures, got.clicks, got.redemptions, got.truth) for net in nets]
    difference = planted(no_returns[:1], no_returns[1:])
    truth = got.truth

    revenue = pc.sum(truth["revenue"]).as_py() - pc.sum(truth["baseline_revenue"]).as_py()
    margin = pc.sum(truth["margin"]).as_py() - pc.sum(truth["baseline_margin"]).as_py()
    orders = pc.sum(truth["caused"]).as_py() - pc.sum(truth["prevented"]).as_py()
    assert pc.sum(difference["revenue_caused"]).as_py() == pytest.approx(revenue / 100)
    assert pc.sum(difference["margin_caused"]).as_py() == pytest.approx(margin / 100)
    assert pc.sum(difference["orders_caused"]).as_py() == orders > 0


def test_a_deeper_discount_keeps_every_order_of_a_shallower_one(small_shop: Any) -> None:
    placed = []
    for level in (0.0, 0.1, 0.3):
        known = small_shop.table("customers")["customer_id"]
        offers = {"customer_id": known, "kind": ["win_back"] * len(known), "level": [level] * len(known)}
        placed.append(order_ids(small_shop.shop.fork().step(FIRST, pa.table(offers))))

    assert placed[0] < placed[1] < placed[2]


def test_an_offered_companion_or_refill_is_added_and_a_random_product_hardly_ever(small_shop: Any) -> None:
    """What is recommended matters: match is 1 for planted refills and 0 far from a customer's taste."""
    refills = small_shop.table("truth/refills").to_pandas().drop_duplicates("customer_id")
    products = small_shop.table("products")["product_id"].to_pylist()
    rng = np.random.default_rng(5)
    added = []
    for chosen in (list(refills.product_id), [products[i] for i in rng.integers(0, 600, len(refills))]):
        offers = {
            "customer_id": list(refills.customer_id),
            "kind": ["replenishment"] * len(refills),
            "product_id": chosen,
        }
        got = small_shop.shop.fork().step(FIRST, offers)
        sold = got.orders.select(["customer_id", "product_id"]).to_pandas()
        wanted = set(zip(refills.customer_id, chosen, strict=True))
        added.append(len(wanted & set(zip(sold.customer_id, sold.product_id, strict=True))))

    assert added[0] > 3 * max(added[1], 1)


def test_redeemed_incentives_are_what_was_taken_off_the_price(small_shop: Any) -> None:
    got = small_shop.shop.fork().step(FIRST, offers_for(small_shop, 6, share=0.9, level=0.2))

    assert got.redemptions.num_rows > 20
    assert set(got.redemptions["kind"].to_pylist()) == {"win_back"}
    off = float(pc.sum(got.redemptions["discount"]).as_py())
    assert off == pytest.approx(pc.sum(got.truth["incentive"]).as_py() / 100)
    assert set(got.redemptions["order_id"].to_pylist()) <= order_ids(got)
    opened = ids(got.truth, "opened")
    assert (
        set(got.redemptions["customer_id"].to_pylist())
        <= opened
        == set(got.clicks["customer_id"].to_pylist())
    )


def test_everything_happens_within_its_week_and_after_the_message(small_shop: Any) -> None:
    got = small_shop.shop.fork().step(FIRST, offers_for(small_shop, 7))
    begin = small_shop.shop.end
    sold = got.orders.filter(pc.greater(got.orders["quantity"], 0))
    opened = {row["customer_id"]: row["occurred_at"] for row in got.clicks.to_pylist()}

    moments = pc.min_max(sold["ordered_at"]).as_py()
    assert begin <= moments["min"] and (moments["max"] - begin).days < 7
    caused = ids(got.truth, "caused")
    for row in sold.filter(pc.is_in(sold["customer_id"], pa.array(sorted(caused)))).to_pylist():
        assert row["ordered_at"] > opened[row["customer_id"]]


def test_moved_orders_are_taken_from_those_to_come(small_shop: Any) -> None:
    shop = small_shop.shop.fork()
    moved = settled = 0
    for week in range(FIRST, FIRST + 8):
        offers = offers_for(small_shop, week, share=0.9) if week < FIRST + 3 else None
        truth = shop.step(week, offers).truth
        moved += pc.sum(truth["moved"]).as_py()
        settled += pc.sum(truth["settled"]).as_py()

    assert moved > 10 and 0 < settled <= moved


def test_returns_of_the_history_arrive_in_the_weeks_after(small_shop: Any) -> None:
    history = set(small_shop.table("orders")["order_id"].to_pylist())
    got = small_shop.shop.fork().step(FIRST)
    back = got.orders.filter(pc.less(got.orders["quantity"], 0))

    assert back.num_rows > 0
    assert len(set(back["order_id"].to_pylist()) & history) > 0


def test_a_fork_lives_on_alone(small_shop: Any) -> None:
    first, second = small_shop.shop.fork(), small_shop.shop.fork()
    first.step(FIRST, offers_for(small_shop, 9))
    first.step(FIRST + 1)

    assert second.week == FIRST
    assert second.step(FIRST).orders.equals(small_shop.shop.fork().step(FIRST).orders)


@pytest.mark.parametrize(
    ("offers", "says"),
    [
        ({"kind": ["for_you"]}, "lack the columns customer_id"),
        ({"customer_id": ["C999999"], "kind": ["for_you"]}, "unknown customer_id: 'C999999'"),
        ({"customer_id": ["C000001"], "kind": ["gift"]}, "unknown kind: 'gift'"),
        ({"customer_id": ["C000001"], "kind": ["for_you"], "product_id": ["X1"]}, "unknown product_id: 'X1'"),
        ({"customer_id": ["C000001"], "kind": ["for_you"], "level": [10.0]}, "a share of the price"),
        (
            {"customer_id": ["C000001"], "kind": ["for_you"], "sent_at": [datetime(2024, 1, 1, tzinfo=UTC)]},
            "within that week",
        ),
    ],
)
def test_offers_that_cannot_be_are_refused_by_name(
    small_shop: Any, offers: dict[str, Any], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        small_shop.shop.fork().step(FIRST, offers)


def test_weeks_are_lived_in_turn_and_after_the_history(small_shop: Any) -> None:
    with pytest.raises(RequestError, match="the next is 52, not 53"):
        small_shop.shop.fork().step(53)
    with pytest.raises(RequestError, match="call write_history first"):
        Shop(ShopSettings(customers=10, products=48, weeks=2)).step(2)
