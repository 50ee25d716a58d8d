"""No leak: whatever is done to what happens from the cut-off on, nothing learned before it changes by a bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from nextoffer.config import parse_settings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import build_features, known_catalogue
from nextoffer.models.ranker import score_batch
from nextoffer.models.recipe import Kitchen, Past, calibrated_p_order
from nextoffer.sources.load import load_history

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE_DAYS, AFTER_DAYS, HORIZON_DAYS, PRODUCTS = 120, 40, 28, 60
COLUMNS = "order_id customer_id product_id quantity unit_price ordered_at"


@dataclass(frozen=True)
class Lines:
    """Order lines as columns; `day` counts from the cut-off, below 0 before it."""

    order: np.ndarray
    customer: np.ndarray
    product: np.ndarray
    quantity: np.ndarray
    price: np.ndarray
    day: np.ndarray

    def at(self, chosen: np.ndarray) -> Lines:
        return Lines(*(getattr(self, field.name)[chosen] for field in fields(self)))

    def and_(self, other: Lines) -> Lines:
        both = ((getattr(self, field.name), getattr(other, field.name)) for field in fields(self))
        return Lines(*(np.concatenate(pair) for pair in both))


def shop_lines(seed: int = 0, n_customers: int = 250, n_products: int = PRODUCTS) -> Lines:
    """Everybody buys a few favourites again and again, two lines an order; prices rise; some send things back."""
    rng = np.random.default_rng(seed)
    weight = 1.0 / np.arange(1, n_products + 1)
    own = rng.choice(n_products, (n_customers, 4), p=weight / weight.sum())
    customer = np.repeat(rng.integers(0, n_customers, 2_500), 2)
    n = len(customer)
    product = own[customer, rng.integers(0, 4, n)]
    product = np.where(rng.random(n) < 0.5, rng.choice(n_products, n, p=weight / weight.sum()), product)
    day = np.repeat(rng.integers(-BEFORE_DAYS, AFTER_DAYS, n // 2), 2)
    quantity = np.where(rng.random(n) < 0.05, -1, rng.integers(1, 4, n))
    price = np.round((2 + product % 7) * (1.0 + 0.002 * (day + BEFORE_DAYS)), 2)
    order = np.repeat(np.arange(n // 2), 2)
    return Lines(
        np.array([f"o{o:05d}" for o in order]),
        np.array([f"c{c:03d}" for c in customer]),
        np.array([f"p{p:02d}" for p in product]),
        quantity,
        price,
        day,
    )


def spoilt(lines: Lines, seed: int, new_products: bool) -> Lines:
    """From the cut-off on: everything swapped, dates moved, prices changed, lines lost, strangers let in."""
    rng = np.random.default_rng(seed)
    early, late = lines.at(lines.day < 0), lines.at(lines.day >= 0)
    late = late.at(rng.random(len(late.day)) < 0.8)
    n = len(late.day)
    strange = rng.random(n) < 0.2
    late = Lines(
        np.array([f"x{o:05d}" for o in rng.permutation(n)]),
        np.where(
            strange, np.array([f"c{c:03d}x" for c in rng.integers(0, 150, n)]), rng.permutation(late.customer)
        ),
        rng.permutation(late.product),
        rng.permutation(late.quantity),
        np.round(late.price * rng.uniform(0.1, 10.0, n), 2),
        rng.integers(0, AFTER_DAYS, n),
    )
    if new_products:
        new = np.array([f"p{p:02d}x" for p in rng.integers(0, PRODUCTS, n)])
        late = replace(late, product=np.where(rng.random(n) < 0.3, new, late.product))
    together = early.and_(late)
    return together.at(np.argsort(together.day, kind="stable"))


def written(folder: Path, lines: Lines, given: bool) -> Any:
    """The shop's files; `given` with a table of products, which also holds some never sold before."""
    moments = np.datetime64(AS_OF.replace(tzinfo=None), "s") + lines.day.astype("timedelta64[D]")
    columns = (lines.order, lines.customer, lines.product, lines.quantity, lines.price, moments)
    rows = [COLUMNS.replace(" ", ","), *(",".join(map(str, row)) for row in zip(*columns, strict=True))]
    (folder / "orders.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    history: dict[str, Any] = {"orders": {"path": "orders.csv", "columns": {c: c for c in COLUMNS.split()}}}
    if given:
        table = [f"p{p:02d}{x},thing {p % 6} no {p},{2 + p % 7}" for p in range(PRODUCTS) for x in ("", "x")]
        text = "\n".join(["product_id,title,price", *table])
        (folder / "products.csv").write_text(text + "\n", encoding="utf-8")
        names = ("product_id", "title", "price")
        history["products"] = {"path": "products.csv", "columns": {c: c for c in names}}
    return parse_settings({"currency": "EUR", "history": history, "seed": 1}, "nextoffer.toml", folder)


@contextmanager
def past_of(lines: Lines, given: bool) -> Iterator[Past]:
    """What the nightly job would learn from, from the raw files on."""
    with TemporaryDirectory() as made:
        folder = Path(made)
        shop = written(folder, lines, given)
        history = load_history(shop, folder / "history")
        with DuckDBEngine(shop.engine, folder) as engine:
            engine.tables(history.folder)

            def known(moment: datetime) -> Any:
                return known_catalogue(engine, folder, moment, "EUR", 0.3, not given)

            place = engine, history.folder, folder, known(AS_OF)
            kitchen = Kitchen(*place, HORIZON_DAYS, shop.seed, catalogue_at=known)
            past = Past.of(kitchen, history.first_order_at, AS_OF)
            yield replace(past, n_cuts=1)


def learned(lines: Lines, given: bool) -> dict[str, Any]:
    """Features, knowledge, models and scores as of the cut-off."""
    with past_of(lines, given) as past:
        kitchen = past.kitchen
        features = build_features(kitchen.engine, kitchen.history, kitchen.scratch / "f", AS_OF)
        cut, taught = past.cut(AS_OF), past.taught(AS_OF)
        lessons = {moment: at.lesson for moment, at in past.cuts.items() if moment < AS_OF}
        knowledge = cut.lesson.knowledge
        scored = score_batch(taught.ranker, knowledge, np.arange(len(knowledge.customers)))
        known = {"stride": past.stride, "catalogue": kitchen.known(AS_OF)}
        return (
            known
            | {"features": features, "lessons": lessons, "knowledge": knowledge}
            | {
                "taught": taught,
                "scored": scored,
                "log": cut.log,
                "p_order": calibrated_p_order(cut, HORIZON_DAYS, seed=1),
            }
        )


def differing(left: Any, right: Any, where: str = "") -> Iterator[str]:
    """Where two values of one type are not equal byte by byte."""
    if type(left) is not type(right):
        yield where
    elif is_dataclass(left):
        for part in fields(left):
            yield from differing(getattr(left, part.name), getattr(right, part.name), f"{where}.{part.name}")
    elif isinstance(left, np.ndarray):
        if left.dtype != right.dtype or left.tobytes() != right.tobytes():
            yield where
    elif isinstance(left, dict):
        if left.keys() != right.keys():
            yield where
        for key in left.keys() & right.keys():
            yield from differing(left[key], right[key], f"{where}[{key}]")
    elif left != right:
        yield where


@cache
def untouched(given: bool) -> dict[str, Any]:
    return learned(shop_lines(), given)


@settings(max_examples=2, deadline=None, phases=[Phase.generate])  # a smaller seed explains nothing
@given(st.integers(0, 2**32 - 1), st.booleans())
def test_nothing_from_the_cut_off_on_changes_a_feature_an_array_or_the_ranker(seed: int, given: bool) -> None:
    again = learned(spoilt(shop_lines(), seed, new_products=given), given)

    assert untouched(given)["taught"].ranker.repeat is not None
    assert list(differing(untouched(given), again)) == []


def test_products_that_appear_later_change_no_figure_of_those_known() -> None:
    """Where the table of products is read from the lines, later products are rows in it that nobody bought."""
    known, again = untouched(False), learned(spoilt(shop_lines(), 5, new_products=True), given=False)
    ids = list(again["catalogue"].ids)
    old = np.array([not product.endswith("x") for product in ids])
    before, after = known["knowledge"], again["knowledge"]

    assert [product for product in ids if not product.endswith("x")] == list(known["catalogue"].ids)
    assert list(differing(before.customers, after.customers)) == []
    for name in before.products.__slots__:
        assert getattr(after.products, name)[old].tobytes() == getattr(before.products, name).tobytes(), name
    assert (np.cumsum(old) - 1)[after.pairs.product].tolist() == before.pairs.product.tolist()
    assert after.reorder.rate[old].tobytes() == before.reorder.rate.tobytes()
    assert after.ladder.price[old].tobytes() == before.ladder.price.tobytes()
    assert not after.products.n_orders[~old].any() and np.isnan(after.ladder.price[~old]).all()
