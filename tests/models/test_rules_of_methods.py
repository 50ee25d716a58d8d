"""Whatever the shop: no method proposes a product outside its rules, and no chance depends on who else is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nextoffer.config import EngineSettings
from nextoffer.domain.arrays import Strings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.errors import TooLittleHistoryError
from nextoffer.features.build import build_features
from nextoffer.features.catalogue import Catalogue
from nextoffer.models.candidates import SOURCES, batch_of
from nextoffer.models.due import due_window, fit_due, p_due, plain_due
from nextoffer.models.families import in_price_units
from nextoffer.models.knowledge import Knowledge, learn
from nextoffer.models.people import what_alike_bought
from nextoffer.models.ranker import Ranker, fit_ranker, score_batch
from nextoffer.models.up_sell import ACTIVE_DAYS, LIVE_DAYS, UpSell, fit_up_sell, score_steps

AS_OF = datetime(2026, 4, 1, tzinfo=UTC)
COMBINED = Ranker(28, "combined", None, None)
POPULAR = UpSell(28, "popular", (), np.zeros(0), 0.0)


@dataclass(frozen=True)
class Little:
    """A shop of random lines; `late` of them come at `as_of` or later, `returned` send something back."""

    seed: int
    n_customers: int
    n_products: int
    n_orders: int
    days: int
    n_categories: int
    returned: float
    guests: float
    late: float


SHOPS = st.builds(
    Little,
    seed=st.integers(0, 2**32 - 1),
    n_customers=st.integers(1, 30),
    n_products=st.integers(1, 12),
    n_orders=st.integers(1, 120),
    days=st.integers(1, 500),
    n_categories=st.integers(0, 3),
    returned=st.sampled_from([0.0, 0.1, 0.5]),
    guests=st.sampled_from([0.0, 0.2]),
    late=st.sampled_from([0.0, 0.3]),
)


def write_history(folder: Path, shop: Little, rng: np.random.Generator) -> set[str]:
    """Canonical tables; returns the products sold before `as_of`."""
    order = np.repeat(np.arange(shop.n_orders), rng.integers(1, 6, shop.n_orders))
    n = len(order)
    who = rng.integers(0, shop.n_customers, shop.n_orders)[order]
    guest = (rng.random(shop.n_orders) < shop.guests)[order]
    hour = rng.integers(1, shop.days * 24 + 1, shop.n_orders)
    hour = np.where(rng.random(shop.n_orders) < shop.late, 1 - hour, hour)[order]
    product = rng.integers(0, shop.n_products, n)
    quantity = np.where(rng.random(n) < shop.returned, -1, 1) * rng.integers(1, 4, n)
    at = [AS_OF.replace(tzinfo=None) - timedelta(hours=int(h)) for h in hour]
    orders = pa.table(
        {
            "order_id": [f"o{o:03d}" for o in order],
            "customer_id": pa.array(
                [None if g else f"c{c:02d}" for c, g in zip(who, guest, strict=True)], pa.string()
            ),
            "product_id": [f"p{p:02d}" for p in product],
            "quantity": pa.array([Decimal(int(q)) for q in quantity], pa.decimal128(18, 3)),
            "ordered_at": pa.array(at, pa.timestamp("us")),
            "row": pa.array(range(1, n + 1), pa.int64()),
            "revenue": pa.array((quantity * rng.integers(1, 400, n)).tolist(), pa.int64()),
        }
    )
    pq.write_table(orders, folder / "orders.parquet")
    ids = [f"p{p:02d}" for p in range(shop.n_products)]
    pq.write_table(pa.table({"product_id": ids}), folder / "products.parquet")
    return {f"p{p:02d}" for p, h, q in zip(product, hour, quantity, strict=True) if h > 0 and q > 0}


def catalogue_of(shop: Little, rng: np.random.Generator) -> Catalogue:
    """Prices of which some are far apart or not known; categories of any size, one product among them."""
    n = shop.n_products
    ids = [f"p{p:02d}" for p in range(n)]
    price = np.where(rng.random(n) < 0.1, 0, np.round(200 * 1.2 ** rng.integers(0, 30, n))).astype(np.int64)
    category = [f"k{rng.integers(0, shop.n_categories)}" if shop.n_categories else None for _ in ids]
    unknown, no = np.full(n, np.nan, np.float32), np.zeros(n, bool)
    texts = (Strings.of(ids), Strings.of([f"thing {p}" for p in ids]), *[Strings.of([None] * n)] * 2)
    return Catalogue(
        "EUR", 2, *texts, Strings.of(category), Strings.of([None] * n), price, price // 2, unknown, unknown,
        no, no, no,
    )  # fmt: skip


@contextmanager
def learned(shop: Little) -> Iterator[tuple[Knowledge, np.ndarray] | None]:
    """Knowledge, and which products were sold before `as_of`; None where nobody kept anything."""
    rng = np.random.default_rng(shop.seed)
    with TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "history").mkdir()
        sold = write_history(folder / "history", shop, rng)
        catalogue = catalogue_of(shop, rng)
        try:
            with DuckDBEngine(EngineSettings(threads=1), folder) as engine:
                features = build_features(engine, folder / "history", folder / "out", AS_OF)
        except TooLittleHistoryError:
            yield None
            return
        knowledge = learn(features, catalogue, 28, seed=shop.seed % 1000)
        yield knowledge, np.array([product in sold for product in catalogue.ids])


@dataclass(frozen=True)
class Taught:
    """Models taught by a shop large enough, which any shop may be scored with: as a stored ranker is."""

    rankers: tuple[Ranker, ...]
    steps: tuple[UpSell, ...]
    dues: tuple[Any, ...]


@pytest.fixture(scope="module")
def taught(small_shop_learned: Any) -> Taught:
    lessons = [small_shop_learned.cut.lesson, small_shop_learned.earlier.lesson]
    ranker = fit_ranker(lessons[:1], 28, seed=0)
    assert ranker.step == "mixture"
    return Taught(
        (COMBINED, ranker),
        (POPULAR, fit_up_sell(lessons, 28, seed=0)),
        (plain_due(28), fit_due(lessons, 28, seed=0)),
    )


@settings(max_examples=20)
@given(shop=SHOPS, split=st.integers(1, 5))
def test_no_method_leaves_its_rules_whatever_the_shop(taught: Taught, shop: Little, split: int) -> None:
    with learned(shop) as found:
        if found is None:
            return
        knowledge, sold = found
        rows = np.arange(len(knowledge.customers))
        bought = bought_before(knowledge)
        for name in SOURCES:
            check_source(name, knowledge, bought, sold)
        for ranker in taught.rankers:
            check_chances(ranker, knowledge, sold, rows, split)
        for steps in taught.steps:
            check_steps(steps, knowledge, bought, rows)
        for due in taught.dues:
            check_due(due, knowledge)
        check_neighbours(knowledge)
        check_people(knowledge, rows)


def bought_before(knowledge: Knowledge) -> np.ndarray:
    """(n_customers, n_products) bool."""
    bought = np.zeros((len(knowledge.customers), len(knowledge.products)), bool)
    bought[knowledge.pairs.customer(), knowledge.pairs.product] = True
    return bought


def check_source(name: str, knowledge: Knowledge, bought: np.ndarray, sold: np.ndarray) -> None:
    rows = np.arange(len(bought))
    found, opinion = SOURCES[name](knowledge, batch_of(knowledge, rows))

    assert not bought[found.position, found.product].any(), name
    assert sold[found.product].all(), name
    assert (np.isfinite(found.score) & (found.score > 0)).all(), name
    assert (np.diff(found.position) >= 0).all(), name
    for row in rows:
        mine = found.position == row
        assert found.rank[mine].tolist() == list(range(mine.sum())), name
        assert (np.diff(found.score[mine]) <= 0).all(), name
        assert len(np.unique(found.product[mine])) == mine.sum(), name
    because = found.because >= 0
    assert bought[found.position[because], found.because[because]].all(), name
    if opinion is not None:
        everything = np.indices(bought.shape).reshape(2, -1)
        assert np.isfinite(opinion(*everything)).all(), name


def check_chances(
    ranker: Ranker, knowledge: Knowledge, sold: np.ndarray, rows: np.ndarray, split: int
) -> None:
    together = score_batch(ranker, knowledge, rows)

    assert np.isfinite(together.p_buy).all()
    assert ((together.p_buy > 0) & (together.p_buy < 1)).all()
    assert sold[together.product].all()
    for part in np.array_split(rows[::-1], split):
        alone = score_batch(ranker, knowledge, part)
        keys = part[alone.position] * len(sold) + alone.product if len(part) else np.zeros(0, int)
        here = np.isin(together.position, part)
        order = np.argsort(keys)
        assert keys[order].tolist() == (together.position * len(sold) + together.product)[here].tolist()
        assert alone.p_buy[order].tobytes() == together.p_buy[here].tobytes()


def check_steps(up_sell: UpSell, knowledge: Knowledge, bought: np.ndarray, rows: np.ndarray) -> None:
    steps = score_steps(up_sell, knowledge, rows)
    family, price = knowledge.ladder.family, in_price_units(knowledge.ladder.price)
    age = np.full(bought.shape, 10**6)
    age[knowledge.pairs.customer(), knowledge.pairs.product] = knowledge.pairs.last_age_days

    assert (np.isfinite(steps.p_buy) & (steps.p_buy > 0) & (steps.p_buy < 1)).all()
    assert not bought[steps.position, steps.product].any()
    assert (age[steps.position, steps.anchor] < ACTIVE_DAYS).all()
    assert (family[steps.product] == family[steps.anchor]).all() and (family[steps.product] >= 0).all()
    assert (10 * price[steps.product] >= 11 * price[steps.anchor]).all()
    assert (10 * price[steps.product] <= 16 * price[steps.anchor]).all()
    assert (knowledge.products.last_age_days[steps.product] < LIVE_DAYS).all()


def check_due(due: Any, knowledge: Knowledge) -> None:
    pair = np.arange(len(knowledge.pairs.product))
    chance = p_due(due, knowledge, pair)
    start, end, within = due_window(due, knowledge, pair)

    assert (np.isfinite(chance) & (chance >= 0) & (chance <= 1)).all()
    assert (np.isfinite(start) & np.isfinite(end) & (start >= 0) & (start <= end)).all()
    assert ((within >= 0) & (within <= 1)).all()


def check_neighbours(knowledge: Knowledge) -> None:
    for neighbours in (knowledge.similar, knowledge.companions, knowledge.ladder):
        this = np.repeat(np.arange(len(knowledge.products)), np.diff(neighbours.indptr))
        assert (this != neighbours.product).all()
        assert np.isfinite(neighbours.score).all()
    for weights in (knowledge.next_basket, knowledge.ease):
        assert np.isfinite(weights.weight).all()
    assert not np.diag(knowledge.ease.weight).any()
    assert np.isfinite(knowledge.factors.customer).all() and np.isfinite(knowledge.factors.product).all()


def check_people(knowledge: Knowledge, rows: np.ndarray) -> None:
    """What only one customer bought is no one else's advice to them."""
    scores = what_alike_bought(knowledge.people, rows, batch_of(knowledge, rows).recent).toarray()
    bought = bought_before(knowledge)
    only = bought & (bought.sum(axis=0) == 1)

    assert np.isfinite(scores).all() and (scores >= 0).all()
    assert not scores[only].any()
