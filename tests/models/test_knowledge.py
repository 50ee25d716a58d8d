"""Knowledge of a moment: nothing after it is looked at, and what is said of products is what was sold."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from nextoffer.domain.arrays import Strings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import build_features
from nextoffer.models.knowledge import learn
from nextoffer.models.ranker import fit_ranker, score_batch
from nextoffer.models.recipe import Before, Cut, Past, learn_all
from nextoffer.models.segments import LastNight, settled_codes


def same_bytes(left: Any, right: Any, where: str = "") -> None:
    """Every array of two values of one type is byte-equal."""
    assert type(left) is type(right), where
    if is_dataclass(left):
        for part in fields(left):
            same_bytes(getattr(left, part.name), getattr(right, part.name), f"{where}.{part.name}")
    elif isinstance(left, np.ndarray):
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes(), where
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            same_bytes(left[key], right[key], f"{where}[{key}]")
    else:
        assert left == right, where


def without_later(table: pa.Table, as_of: Any) -> pa.Table:
    return table.filter(pc.less(table["ordered_at"], as_of))


def with_later_shuffled(table: pa.Table, as_of: Any) -> pa.Table:
    """Lines at or after the cut swap their customers, products, quantities and prices; some change sign."""
    rng = np.random.default_rng(0)
    later = pc.greater_equal(table["ordered_at"], as_of)
    early, late = table.filter(pc.invert(later)), table.filter(later)
    for name in ("customer_id", "product_id", "quantity", "revenue"):
        swapped = late[name].take(pa.array(rng.permutation(len(late))))
        late = late.set_column(late.column_names.index(name), late.schema.field(name), swapped)
    return pa.concat_tables([early, late])


@pytest.mark.parametrize("change", [without_later, with_later_shuffled])
def test_nothing_at_or_after_the_cut_is_looked_at(
    change: Any, small_shop_learned: Any, tmp_path: Path
) -> None:
    shop = small_shop_learned
    history, cut = shop.kitchen.history, shop.cut
    moment = pa.scalar(cut.as_of.replace(tzinfo=None), pa.timestamp("us"))
    other = tmp_path / "history"
    other.mkdir()
    for path in history.glob("*.parquet"):
        table = pq.read_table(path)
        pq.write_table(change(table, moment) if path.stem == "orders" else table, other / path.name)
    with DuckDBEngine(shop.settings.engine, tmp_path) as engine:
        engine.tables(other)
        kitchen = replace(shop.kitchen, engine=engine, history=other, scratch=tmp_path)
        again = replace(shop.past, kitchen=kitchen, cuts={}).cut(cut.as_of)

    same_bytes(again.customer_ids, cut.customer_ids)
    again_known, known = again.lesson.knowledge, cut.lesson.knowledge
    same_bytes(again_known, known)
    ranker = fit_ranker([shop.earlier.lesson], 28, seed=0)
    rows = np.arange(len(cut.customer_ids))
    same_bytes(score_batch(ranker, again_known, rows), score_batch(ranker, known, rows))


def test_learning_twice_gives_the_same_bytes(small_shop_learned: Any, tmp_path: Path) -> None:
    shop = small_shop_learned
    past: Past = replace(shop.past, kitchen=replace(shop.kitchen, scratch=tmp_path), cuts={})
    again = past.cut(shop.cut.as_of)

    same_bytes(again, shop.cut)
    same_bytes(fit_ranker([again.lesson], 28, seed=4), fit_ranker([shop.cut.lesson], 28, seed=4))


def test_a_cut_notes_what_was_bought_in_the_horizon_after_it(small_shop_learned: Any) -> None:
    shop = small_shop_learned
    cut: Cut = shop.cut
    orders = pq.read_table(shop.kitchen.history / "orders.parquet")
    start = cut.as_of.replace(tzinfo=None)
    end = shop.as_of.replace(tzinfo=None)
    total: dict[tuple[str, str], float] = {}
    columns = (orders[name].to_pylist() for name in ("customer_id", "product_id", "quantity", "ordered_at"))
    for customer, product, quantity, at in zip(*columns, strict=True):
        if (
            customer is not None
            and start <= at.replace(tzinfo=None) < end
            and cut.customer_ids.find(customer) >= 0
        ):
            total[customer, product] = total.get((customer, product), 0) + float(quantity)

    products: Strings = shop.kitchen.catalogue.ids
    noted = {
        (cut.customer_ids.text(customer), products.text(product))
        for customer, product in zip(
            cut.lesson.bought_customer.tolist(), cut.lesson.bought_product.tolist(), strict=True
        )
    }
    assert noted == {pair for pair, quantity in total.items() if quantity > 0}


def test_a_product_nobody_has_bought_yet_is_on_no_ladder(small_shop_learned: Any) -> None:
    for knowledge in (small_shop_learned.earlier.lesson.knowledge, small_shop_learned.bundle.knowledge):
        unsold = np.flatnonzero(knowledge.products.n_orders == 0)
        ladder = knowledge.ladder.matrix()
        assert not np.isin(ladder.indices, unsold).any()
        assert not np.diff(ladder.indptr)[unsold].any()


def test_shares_of_products_are_of_the_customers_who_bought_lately(small_shop_learned: Any) -> None:
    knowledge = small_shop_learned.bundle.knowledge
    pairs, products = knowledge.pairs, knowledge.products
    lately = (knowledge.customers.recency_days < 28).sum()
    buyers = np.bincount(pairs.product[pairs.last_age_days < 28], minlength=len(products))

    np.testing.assert_allclose(products.share_28, buyers / lately, rtol=1e-6)
    np.testing.assert_allclose(np.exp(products.log_share_28), (buyers + 0.5) / lately, rtol=1e-5)
    assert products.n_customers.tolist() == np.bincount(pairs.product, minlength=len(products)).tolist()


def test_customers_are_described_in_currency_and_as_probabilities(small_shop_learned: Any) -> None:
    knowledge = small_shop_learned.bundle.knowledge
    customers, pairs = knowledge.customers, knowledge.pairs
    revenue = np.bincount(pairs.customer(), pairs.revenue, minlength=len(customers)) / 100

    np.testing.assert_allclose(customers.monetary, revenue, rtol=1e-9)
    for name in ("p_buy", "p_order", "p_buy_28", "p_buy_90", "p_lapsed"):
        chance = getattr(customers, name)
        assert ((chance >= 0) & (chance <= 1)).all(), name
    assert (customers.p_buy_90 >= customers.p_buy_28).all()
    np.testing.assert_array_equal(customers.p_order, customers.p_buy_28)  # the horizon is 28 days
    assert (customers.p_lapsed <= 1 - customers.p_buy_90 + 1e-6).all()


def test_what_the_ranker_looks_at_is_the_same_in_teaching_and_scoring(small_shop_learned: Any) -> None:
    """Only what is published is calibrated: a cut and tonight tell the ranker of customers alike."""
    shop = small_shop_learned
    features = build_features(
        shop.kitchen.engine, shop.kitchen.history, shop.kitchen.scratch / "x", shop.as_of
    )
    plain = learn(features, shop.kitchen.catalogue, 28, shop.kitchen.seed).customers
    published = shop.bundle.knowledge.customers

    for name in ("p_buy", "segment_candidate", "expected_value"):
        np.testing.assert_array_equal(getattr(published, name), getattr(plain, name))
    assert not np.array_equal(published.p_order, plain.p_order)


def test_tonight_goes_on_from_the_names_of_last_night(small_shop_learned: Any, tmp_path: Path) -> None:
    """Who was called something else last night, and is not clearly that any more, keeps last night's name."""
    shop = small_shop_learned
    customers, ids = shop.bundle.knowledge.customers, shop.bundle.customer_ids.ids
    other = np.where(customers.segment == 1, 2, 1).astype(np.int8)
    kitchen = replace(shop.kitchen, scratch=tmp_path)

    same = Before(shop.bundle.knowledge.segments, ids, customers.segment, customers.segment_candidate)
    learned = learn_all(kitchen, shop.as_of, same)
    assert learned.knowledge.customers.segment.tolist() == customers.segment.tolist()

    changed = learn_all(kitchen, shop.as_of, replace(same, segment=other, segment_candidate=other))
    columns = (customers.recency_days, customers.frequency, customers.monetary)
    expected = settled_codes(
        shop.bundle.knowledge.segments, customers.segment_candidate, LastNight(other, other), *columns
    )
    assert changed.knowledge.customers.segment.tolist() == expected.tolist()
    assert (expected == other).any() and (expected != other).any()
