"""The written history: independent of chunks and workers, and true to its own truth tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nextoffer.simulation.columns import SHOP_VERSION
from nextoffer.simulation.facts import read_lines
from nextoffer.simulation.history import write_chunks
from nextoffer.simulation.life import State
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop

TINY = ShopSettings(customers=600, products=200, weeks=20)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


def in_order(orders: pa.Table) -> pa.Table:
    return orders.sort_by([(name, "ascending") for name in orders.column_names])


def by_chunks(folder: Path, chunk: int, workers: int = 1) -> tuple[pa.Table, State, dict[str, bytes]]:
    folder.mkdir()
    ends = list(write_chunks(Shop(TINY).world, folder, workers, chunk))
    return in_order(pq.read_table(folder)), State.concat([end.state for end in ends]), files(folder)


def test_chunks_and_workers_change_nothing(tmp_path: Path) -> None:
    whole, whole_state, _ = by_chunks(tmp_path / "one", 600)
    parts, parts_state, one_worker = by_chunks(tmp_path / "four", 170)
    _, _, two_workers = by_chunks(tmp_path / "two-workers", 170, workers=2)

    assert whole.num_rows > 500 and whole.equals(parts)
    assert len(one_worker) == 4 and one_worker == two_workers
    for name in State.__slots__:
        assert np.array_equal(getattr(whole_state, name), getattr(parts_state, name)), name


def test_the_same_seeds_write_the_same_bytes_and_others_do_not(tmp_path: Path, write_shop: Any) -> None:
    first = files(write_shop(tmp_path / "a", TINY).paths.folder)
    again = files(write_shop(tmp_path / "b", TINY).paths.folder)
    other_luck = files(write_shop(tmp_path / "c", TINY, luck_seed=8).paths.folder)

    assert first == again
    assert other_luck["orders/part-000000000.parquet"] != first["orders/part-000000000.parquet"]
    assert other_luck["truth/products.parquet"] == first["truth/products.parquet"]


def test_orders_are_exact_utc_and_carry_the_shop_version(small_shop: Any) -> None:
    file = next(small_shop.paths.orders.glob("*.parquet"))
    orders = small_shop.table("orders")

    assert pq.read_metadata(file).metadata[b"shop_version"].decode() == SHOP_VERSION
    assert orders.schema.field("unit_price").type == pa.decimal128(12, 2)
    assert orders.schema.field("ordered_at").type == pa.timestamp("us", tz="UTC")
    assert orders.num_rows == small_shop.paths.order_lines
    moments = pc.min_max(orders["ordered_at"]).as_py()
    assert small_shop.shop.start <= moments["min"] and moments["max"] < small_shop.shop.end
    assert pc.min(orders["unit_price"]).as_py() > 0
    assert pc.all(pc.less(orders["unit_cost"], orders["unit_price"])).as_py() is not None


def test_every_order_has_one_customer_one_moment_and_no_product_twice(small_shop: Any) -> None:
    orders = small_shop.table("orders")
    sold = orders.filter(pc.greater(orders["quantity"], 0))

    assert sold.group_by(["order_id", "product_id"]).aggregate([]).num_rows == sold.num_rows
    per_order = sold.group_by("order_id").aggregate(
        [("customer_id", "count_distinct"), ("ordered_at", "count_distinct")]
    )
    assert pc.max(per_order["customer_id_count_distinct"]).as_py() == 1
    assert pc.max(per_order["ordered_at_count_distinct"]).as_py() == 1


def test_a_return_gives_back_a_line_of_its_order_three_to_twenty_three_days_later(
    small_shop: Any,
) -> None:
    orders = small_shop.table("orders")
    keys = ["order_id", "product_id"]
    sold = orders.filter(pc.greater(orders["quantity"], 0))
    back = orders.filter(pc.less(orders["quantity"], 0))
    both = back.join(sold, keys, join_type="left outer", right_suffix="_sold")

    assert back.num_rows > 100
    assert both["quantity_sold"].null_count == 0
    assert pc.all(pc.equal(pc.negate(both["quantity"]), both["quantity_sold"])).as_py()
    assert pc.all(pc.equal(both["unit_price"], both["unit_price_sold"])).as_py()
    days = pc.divide(
        pc.subtract(both["ordered_at"], both["ordered_at_sold"]).cast(pa.int64()), 86_400_000_000
    )
    assert pc.min(days).as_py() >= 3 and pc.max(days).as_py() <= 23


def test_nothing_is_sold_before_its_launch_or_to_someone_unknown(small_shop: Any) -> None:
    orders, products = small_shop.table("orders"), small_shop.table("products")
    joined = orders.join(products.select(["product_id", "added_at"]), "product_id")

    assert pc.all(pc.less_equal(joined["added_at"], joined["ordered_at"])).as_py()
    known = set(small_shop.table("customers")["customer_id"].to_pylist())
    assert set(orders["customer_id"].drop_null().to_pylist()) <= known


def test_customers_and_products_are_fit_to_be_shown(small_shop: Any) -> None:
    customers, products = small_shop.table("customers"), small_shop.table("products")

    assert 0.64 < pc.mean(customers["consent_email"]).as_py() < 0.76
    assert 0.5 < 1 - customers["programme"].null_count / customers.num_rows < 0.7
    assert set(customers["locale"].to_pylist()) == {"en", "ru"}
    assert all(email.endswith("@example.com") for email in customers["email"].to_pylist())
    assert products.num_rows == 600 and products["title"].null_count == 0
    assert all(len(path.split(" > ")) == 2 for path in products["category"].to_pylist())
    assert all(url.startswith("https://shop.example/") for url in products["image_url"].to_pylist())


@pytest.mark.parametrize(
    ("off", "gone"),
    [
        ({"returns": False}, lambda t: pc.less(t["quantity"], 0)),
        ({"guests": 0.0}, lambda t: pc.is_null(t["customer_id"])),
    ],
)
def test_returns_and_guests_can_be_switched_off_and_change_nothing_else(
    tmp_path: Path, write_shop: Any, off: dict[str, object], gone: object
) -> None:
    with_it = write_shop(tmp_path / "on", TINY).table("orders")
    settings = ShopSettings(customers=600, products=200, weeks=20, **off)  # type: ignore[arg-type]
    without = write_shop(tmp_path / "off", settings).table("orders")

    assert in_order(with_it.filter(pc.invert(gone(with_it)))).equals(in_order(without))  # type: ignore[operator]


def test_a_lapsed_customer_buys_nothing_until_they_return(small_shop: Any) -> None:
    orders, lapses = small_shop.table("orders"), small_shop.table("truth/lapses")
    sold = orders.filter(pc.and_(pc.greater(orders["quantity"], 0), pc.is_valid(orders["customer_id"])))
    silent = sold.select(["customer_id", "ordered_at"]).join(lapses, "customer_id", join_type="inner")
    until = pc.fill_null(silent["returned_at"], small_shop.shop.end)
    inside = pc.and_(
        pc.greater_equal(silent["ordered_at"], silent["lapsed_at"]), pc.less(silent["ordered_at"], until)
    )

    assert lapses.num_rows > 300 and lapses["returned_at"].null_count < lapses.num_rows
    assert not pc.any(inside).as_py()
    assert set(lapses["cause"].drop_null().to_pylist()) == {"natural"}


def test_visible_refills_come_after_the_planted_cycle_and_follow_it(default_shop: Any) -> None:
    """A quarter of unmet needs a week are met elsewhere, so gaps are about twice the cycle, in its order."""
    refills = default_shop.table("truth/refills").to_pandas()
    often = refills[refills.visible_purchases >= 5]

    assert len(often) > 1_000
    assert 1.2 < (often.visible_interval_days / often.cycle_days).median() < 3.0
    assert often.visible_interval_days.corr(often.cycle_days, method="spearman") > 0.6


def test_planted_companions_are_bought_together(default_shop: Any) -> None:
    orders, pairs = default_shop.table("orders"), default_shop.table("truth/complements")
    lines = read_lines(orders)
    lines = lines.take(lines.quantity > 0)
    names = orders["product_id"].combine_chunks().dictionary_encode().dictionary
    n_orders = len(np.unique(lines.order))
    count = np.bincount(lines.product, minlength=len(names))
    left = np.asarray(pc.fill_null(pc.index_in(pairs["product_id"], value_set=names), -1))
    right = np.asarray(pc.fill_null(pc.index_in(pairs["companion_id"], value_set=names), -1))
    popular = np.flatnonzero((left >= 0) & (right >= 0) & (count[left] > 300) & (count[right] > 300))[:60]
    lifts = []
    for pair in popular:
        baskets = [lines.order[lines.product == product] for product in (left[pair], right[pair])]
        joint = len(np.intersect1d(*baskets))
        lifts.append(joint * n_orders / (count[left[pair]] * count[right[pair]]))

    assert len(lifts) >= 20
    assert np.median(lifts) >= 3


def test_views_and_carts_are_like_those_of_shops(tmp_path: Path, write_shop: Any) -> None:
    """About two thirds of what is put in a cart is not bought in that session."""
    settings = ShopSettings(customers=2_000, products=600, weeks=30, interactions=True)
    shop = write_shop(tmp_path, settings)
    seen = shop.table("interactions")
    carts = seen.filter(pc.equal(seen["event"], "add-to-cart"))
    sold = shop.table("orders").filter(pc.greater(shop.table("orders")["quantity"], 0))
    day = [table.append_column("day", pc.floor_temporal(table[at], unit="day")) for table, at in (
        (carts, "occurred_at"), (sold, "ordered_at"))]  # fmt: skip
    bought = day[0].join(day[1], ["customer_id", "product_id", "day"], join_type="inner").num_rows

    assert set(seen["event"].to_pylist()) == {"detail-page-view", "add-to-cart"}
    assert seen.num_rows > 5_000
    assert 0.55 < 1 - bought / carts.num_rows < 0.75
    plain = write_shop(tmp_path / "plain", ShopSettings(customers=2_000, products=600, weeks=30))
    assert plain.table("orders").equals(shop.table("orders"))
    assert plain.paths.interactions is None
