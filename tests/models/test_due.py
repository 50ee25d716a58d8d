"""Due: planted habits are found, the plain law stands where nothing can be taught, windows keep their promise."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from nextoffer.bundle.parts import read_part, write_part
from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.catalogue import read_catalogue
from nextoffer.models import due as module
from nextoffer.models.curves import Curves
from nextoffer.models.due import (
    METHODS,
    Due,
    DueChoice,
    category_pairs,
    due_window,
    fit_due,
    p_due,
    plain_due,
)
from nextoffer.models.knowledge import Knowledge
from nextoffer.models.ranker import Lesson
from nextoffer.models.recipe import Kitchen, Past
from nextoffer.models.reorder import p_reorder, wait_law
from nextoffer.models.trees import Trees

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = 336
HORIZON = 14
PERIODIC = 20  # products from this one on are bought at steady intervals
Cut = Callable[[int], Lesson]

ORDERS = """
SELECT row_number() OVER () AS row, 'o' || customer || '-' || day || '-' || part AS order_id,
    printf('%06d', customer) AS customer_id, printf('%06d', product) AS product_id,
    CAST(1 AS DECIMAL(18, 3)) AS quantity, CAST(2 AS DECIMAL(18, 4)) AS unit_price,
    TIMESTAMP '2024-01-01' + to_days(CAST(day AS INTEGER)) AS ordered_at, NULL::BIGINT AS line_discount,
    NULL::BIGINT AS order_discount, NULL::DECIMAL(18, 4) AS unit_cost, NULL::VARCHAR AS promo_code,
    CAST(200 AS BIGINT) AS revenue, NULL::BIGINT AS cost
FROM lines ORDER BY customer, product, day, part
"""
PRODUCTS = """
SELECT DISTINCT product_id, 'thing ' || product_id AS title, NULL::VARCHAR AS url, NULL::VARCHAR AS image_url,
    NULL::VARCHAR AS category, NULL::VARCHAR AS brand, CAST(2 AS DECIMAL(18, 4)) AS price,
    NULL::DECIMAL(18, 4) AS unit_cost, NULL::DOUBLE AS stock, NULL::BOOLEAN AS repeatable,
    NULL::DOUBLE AS shelf_life_days, NULL::BOOLEAN AS restricted, NULL::BOOLEAN AS hidden,
    NULL::TIMESTAMP AS added_at
FROM orders
"""


@pytest.fixture(scope="module")
def shops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """lines (customer, product, day, part of the day), all at midnight -> the lesson of a cut on a day."""
    with ExitStack() as stack:

        def shop(customer: Any, product: Any, day: Any, part: Any = 0) -> Cut:
            folder: Path = tmp_path_factory.mktemp("shop")
            columns = np.broadcast_arrays(customer, product, day, part)
            lines = {name: column.copy() for name, column in zip("cpdk", columns, strict=True)}
            con = duckdb.connect()
            con.register("raw", lines)
            con.execute("CREATE TABLE lines AS SELECT c customer, p product, d AS day, k part FROM raw")
            con.execute(f"CREATE TABLE orders AS {ORDERS}")
            con.execute(f"COPY orders TO '{folder}/orders.parquet'")
            con.execute(f"COPY ({PRODUCTS}) TO '{folder}/products.parquet'")
            scratch = folder / "scratch"
            scratch.mkdir()
            engine = stack.enter_context(DuckDBEngine(EngineSettings(), scratch))
            engine.tables(folder)
            catalogue = read_catalogue(engine, "EUR", 0.3)
            past = Past(Kitchen(engine, folder, scratch, catalogue, HORIZON, 0), START, stride=1, n_cuts=1)
            return lambda at: past.cut(START + timedelta(days=at)).lesson

        yield shop


def habits(seed: int = 0, n_customers: int = 450) -> tuple[np.ndarray, ...]:
    """Products below PERIODIC are bought at Gamma-Poisson rates, those from it on every 20 to 60 days."""
    rng = np.random.default_rng(seed)
    rows = []
    for customer in range(n_customers):
        for product in rng.choice(2 * PERIODIC, 14, replace=False):
            if product < PERIODIC:
                rate = rng.gamma(0.7, 0.02 / 0.7)
                days = np.flatnonzero(rng.random(DAYS) < rate)
            else:
                period = rng.integers(20, 61)
                days = np.arange(rng.integers(0, period), DAYS, period) + rng.integers(-1, 2)
            rows += [(customer, product, day) for day in days if 0 <= day < DAYS]
    return tuple(np.array(rows).T)


@pytest.fixture(scope="module")
def shop(shops: Any) -> Cut:
    return shops(*habits())


@pytest.fixture(scope="module")
def taught(shop: Cut) -> Due:
    return fit_due([shop(DAYS - HORIZON * back) for back in (2, 3)], HORIZON, seed=0)


@pytest.fixture(scope="module")
def judged(shop: Cut) -> Lesson:
    return shop(DAYS - HORIZON)


def everything(knowledge: Knowledge) -> np.ndarray:
    return np.arange(len(knowledge.pairs.product))


def plain(knowledge: Knowledge) -> np.ndarray:
    pairs = knowledge.pairs
    days = pairs.n_days, pairs.first_age_days, pairs.last_age_days
    return p_reorder(knowledge.reorder, pairs.product, *days, HORIZON)


def again(lesson: Lesson) -> np.ndarray:
    pairs, n = lesson.knowledge.pairs, len(lesson.knowledge.products)
    truth = lesson.bought_customer.astype(np.int64) * n + lesson.bought_product
    return np.isin(pairs.customer().astype(np.int64) * n + pairs.product, truth)


def gap(p: np.ndarray, bought: np.ndarray) -> float:
    """Mean difference of promise and outcome over ten equally filled bins."""
    tenths = np.array_split(np.argsort(p, kind="stable"), 10)
    return float(np.mean([abs(float(p[rows].mean()) - bought[rows].mean()) for rows in tenths]))


def test_steady_habits_are_found_and_random_ones_no_worse_told_than_by_their_own_law(
    taught: Due, judged: Lesson
) -> None:
    knowledge, bought = judged.knowledge, again(judged)
    ours, law = p_due(taught, knowledge, everything(knowledge)), plain(knowledge)
    steady = knowledge.pairs.product >= PERIODIC

    assert taught.choice.method in METHODS[1:]
    assert set(taught.choice.judged) == set(METHODS)
    pr_auc = average_precision_score
    assert pr_auc(bought[steady], ours[steady]) > 1.5 * pr_auc(bought[steady], law[steady])
    assert pr_auc(bought[~steady], ours[~steady]) > 0.85 * pr_auc(bought[~steady], law[~steady])
    assert gap(ours, bought) < min(0.03, gap(law, bought))


def test_pairs_bought_often_and_lately_are_likelier(taught: Due, judged: Lesson) -> None:
    knowledge, pairs = judged.knowledge, judged.knowledge.pairs
    p = p_due(taught, knowledge, everything(knowledge))
    law = pairs.product < PERIODIC
    assert p[law & (pairs.n_days >= 8)].mean() > 2 * p[law & (pairs.n_days <= 2)].mean()
    assert p[law & (pairs.last_age_days < 30)].mean() > 2 * p[law & (pairs.last_age_days > 150)].mean()


@settings(max_examples=25)
@given(data=st.data())
def test_a_pair_is_told_the_same_in_any_batch(data: st.DataObject, taught: Due, judged: Lesson) -> None:
    knowledge = judged.knowledge
    rows = np.array(data.draw(st.lists(st.integers(0, len(knowledge.pairs.product) - 1), min_size=1)))
    for due in (taught, plain_due(HORIZON)):
        whole = p_due(due, knowledge, everything(knowledge))
        assert whole.dtype == np.float32 and np.all((whole >= 0) & (whole <= 1))
        assert p_due(due, knowledge, rows).tobytes() == whole[rows].tobytes()
        for all_of_them, mine in zip(
            due_window(due, knowledge, everything(knowledge)), due_window(due, knowledge, rows), strict=True
        ):
            assert mine.tobytes() == all_of_them[rows].tobytes()


def test_one_lesson_is_taught_and_judged_by_different_customers_the_same_way_twice(
    shop: Cut, judged: Lesson
) -> None:
    one, two = (fit_due([shop(DAYS - HORIZON * 2)], HORIZON, seed=0) for _ in range(2))
    pair = everything(judged.knowledge)
    p = p_due(one, judged.knowledge, pair)
    assert one.choice.method in METHODS[1:]
    assert p.mean() == pytest.approx(again(judged).mean(), rel=0.1)
    assert one.choice == two.choice
    assert p_due(two, judged.knowledge, pair).tobytes() == p.tobytes()


@pytest.mark.parametrize(
    ("history_days", "labels", "tried"),
    [(40, 9_999, 1), (56, 199, 1), (56, 200, 2), (181, 9_999, 2), (182, 999, 2), (182, 1_000, 4)],
)
def test_a_method_is_tried_only_where_there_is_history_enough(
    history_days: int, labels: int, tried: int
) -> None:
    n = 2 * labels
    rows = module._Rows(np.zeros((n, 1)), np.zeros(n), np.arange(n) < labels, np.zeros(n, int))
    assert module._affordable(history_days, [rows]) == METHODS[:tried]


def test_the_winner_ranks_better_and_is_no_less_honest() -> None:
    record = {METHODS[0]: (0.20, 0.040), METHODS[1]: (0.22, 0.039), METHODS[2]: (0.25, 0.041)}
    assert module._winner(record) == METHODS[1]
    assert module._winner(record | {METHODS[3]: (0.23, 0.039)}) == METHODS[3]
    assert module._winner({METHODS[0]: (0.20, 0.040), METHODS[1]: (0.20, 0.030)}) == METHODS[0]


def test_without_lessons_the_plain_law_stands(judged: Lesson) -> None:
    due = fit_due([], HORIZON, seed=0)
    assert due.choice.method == METHODS[0]
    p = p_due(due, judged.knowledge, everything(judged.knowledge))
    np.testing.assert_allclose(p, plain(judged.knowledge), atol=2e-6)


def test_the_window_is_of_a_law_whose_chance_within_the_horizon_is_p(taught: Due, judged: Lesson) -> None:
    knowledge, pairs = judged.knowledge, judged.knowledge.pairs
    pair = everything(knowledge)
    p = p_due(taught, knowledge, pair).astype(float)
    supply = np.where(pair % 3 == 0, 30.0, np.nan)
    start, end, probability = due_window(taught, knowledge, pair, supply)
    shape, _ = wait_law(
        knowledge.reorder, pairs.product[pair], pairs.n_days[pair], pairs.first_age_days[pair]
    )

    inside = np.isnan(supply) & (end < 365)
    assert np.all((0 <= start) & (start <= end) & (end <= 365) & (probability >= 0) & (probability <= 1))
    assert inside.any() and probability[inside] == pytest.approx(0.5)
    # S(h) = 1 − p and S(end) = 1/4 lie on one Lomax curve: (S^(−1/shape) − 1) is proportional to the days
    steps = [(share[inside] ** (-1 / shape[inside]) - 1) for share in (1 - p, np.full(len(p), 0.25))]
    assert HORIZON * steps[1] / steps[0] == pytest.approx(end[inside], rel=1e-4)


def test_the_three_parts_come_back_from_a_bundle(tmp_path: Path, taught: Due, judged: Lesson) -> None:
    parts = {"due": (DueChoice, taught.choice), "kernel": (Curves, taught.kernel)}
    parts |= {"boosting": (Trees, taught.boosting)}
    read = {}
    for name, (cls, part) in parts.items():
        if part is not None:
            write_part(tmp_path, name, part)
            read[name] = read_part(tmp_path, name, cls)
    back = Due(read["due"], read.get("kernel"), read.get("boosting"))
    pair = everything(judged.knowledge)
    assert back.choice == taught.choice
    assert p_due(back, judged.knowledge, pair).tobytes() == p_due(taught, judged.knowledge, pair).tobytes()


def test_pairs_of_categories_are_what_counting_by_hand_gives() -> None:
    rng = np.random.default_rng(5)
    customer, product, age = (rng.integers(0, n, 400) for n in (6, 9, 30))
    category = np.array([0, 0, 1, 1, 1, 2, -1, 2, 0])
    found = category_pairs(customer, product, age, category)
    days: dict[tuple[int, int], set[int]] = {}
    for who, what, when in zip(customer.tolist(), category[product].tolist(), age.tolist(), strict=True):
        if what >= 0:
            days.setdefault((who, what), set()).add(when)
    columns = (found.customer, found.category, found.n_days, found.first_age_days, found.last_age_days)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == [
        (*key, len(ages), max(ages), min(ages)) for key, ages in sorted(days.items())
    ]


def a_product_sold_once() -> tuple[Any, ...]:
    customer, product, day = habits(1, 120)
    return np.append(customer, 0), np.append(product, 99), np.append(day, 300)


def one_customer() -> tuple[Any, ...]:
    return 0, np.arange(200) % 7, np.arange(200)


def three_days() -> tuple[Any, ...]:
    return np.arange(300) % 40, np.arange(300) % 11, np.arange(300) % 3


def a_million_lines() -> tuple[Any, ...]:
    customer, product, day = habits(2, 60)
    till = np.arange(1_000_000)
    return (
        np.append(customer, np.full(len(till), 999)),
        np.append(product, till % 5),
        np.append(day, till // 5 % 320),
        np.append(np.zeros(len(day), int), till // 1600),
    )


@pytest.mark.parametrize(
    ("lines", "at"),
    [(a_product_sold_once, 308), (one_customer, 190), (three_days, 2), (a_million_lines, 308)],
)
def test_odd_shops_are_taught_or_told_by_the_plain_law(shops: Any, lines: Any, at: int) -> None:
    cut = shops(*lines())
    lessons = [cut(day) for day in (at, at - HORIZON) if day > 0]
    due = fit_due(lessons, HORIZON, seed=0)
    knowledge = lessons[0].knowledge
    p = p_due(due, knowledge, everything(knowledge))
    start, end, probability = due_window(due, knowledge, everything(knowledge))
    assert np.isfinite(p).all() and np.all((p >= 0) & (p <= 1))
    assert np.isfinite(start + end + probability).all()
    assert len(knowledge.customers) > 50 or due.choice.method == METHODS[0]


def test_a_stronger_correction_moves_every_p_the_same_way(taught: Due, judged: Lesson) -> None:
    pair = everything(judged.knowledge)
    higher = replace(taught, choice=replace(taught.choice, intercept=taught.choice.intercept + 0.5))
    assert np.all(p_due(higher, judged.knowledge, pair) >= p_due(taught, judged.knowledge, pair))
