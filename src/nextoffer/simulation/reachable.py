"""The reachable oracle: what the truth is on average, given all that a recommender could know.

It is taught the true value of offers, on the visible columns of half of the customers, and judges the other
half. What it earns is the ceiling of every learner; the rest of the oracle's profit is private taste.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nextoffer.domain.arrays import Bools, Floats, Ints, first_of_each
from nextoffer.domain.offers import KIND
from nextoffer.simulation.expected import effects
from nextoffer.simulation.known import Known, know
from nextoffer.simulation.loop import Policy
from nextoffer.simulation.oracle import FATIGUE_PRICE, alone
from nextoffer.simulation.policies import arms, random_offers, sensible, slates
from nextoffer.simulation.shop import Shop
from nextoffer.simulation.visible import Visible

LEVELS = (0.0, 0.05, 0.10, 0.20)
SNAPSHOTS = (
    5  # weeks lived under random offers to half of the customers; the truth is read at every other one
)
LEAST_ROWS = 100
COLUMNS = (
    "orders silent tenure spend margin lines gap gap_cv price due_ratio due_gap category_share birthday points"
).split()


@dataclass(frozen=True, slots=True, eq=False)
class Arm:
    """One kind of offer at one level, for the customers at `rows` of the customers table."""

    kind: str
    level: float
    rows: Ints
    product: Ints


def reachable_oracle(shop: Shop, price: float = FATIGUE_PRICE, horizon: int = 16, seed: int = 0) -> Policy:
    """The oracle's choice by E[value | what is visible]."""
    halves = _taught(shop, price, horizon, seed)

    def policy(seen: Visible) -> pa.Table | None:
        known = know(seen)
        columns = _columns(known, seen)
        parts = []
        for arm in _arms(known):
            models = [half.get((arm.kind, arm.level)) for half in halves]
            if None in models or not len(arm.rows):
                continue
            x, half = _of_arm(columns, arm, seen), known.customer[arm.rows] % 2
            value = np.where(half == 0, models[1].predict(x), models[0].predict(x))  # type: ignore[union-attr]
            kind, level = np.full(len(half), KIND[arm.kind]), np.full(len(half), arm.level)
            parts.append((arm.rows, kind, arm.product, level, value))
        row, kind, product, level, value = _stacked(parts)
        best = first_of_each(row, -value, kind, 1) & (value > 0)
        return slates(seen, row[best], kind[best], product[best], level[best])

    return policy


def _stacked(parts: list[tuple[Any, ...]]) -> list[Any]:
    """Columns of all parts, one below the other."""
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def _taught(shop: Shop, price: float, horizon: int, seed: int) -> list[dict[tuple[str, float], Any]]:
    """For each half of the customers, a model of the true value of every arm."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    lessons: dict[tuple[str, float], list[tuple[Any, ...]]] = {}
    twin, explore = shop.fork(), random_offers(seed, share=0.5)
    for turn in range(SNAPSHOTS):
        seen = twin.visible()
        if turn % 2 == 0:
            for key, lesson in _lesson(twin, seen, price, horizon).items():
                lessons.setdefault(key, []).append(lesson)
        twin.step(twin.week, explore(seen))
    halves: list[dict[tuple[str, float], Any]] = [{}, {}]
    for key, parts in lessons.items():
        half, x, y = _stacked(parts)
        for number, models in enumerate(halves):
            mine = half == number
            if mine.sum() >= LEAST_ROWS:
                model = HistGradientBoostingRegressor(
                    max_iter=80,
                    learning_rate=0.1,
                    max_leaf_nodes=20,
                    min_samples_leaf=40,
                    random_state=seed,
                )
                models[key] = model.fit(x[mine], y[mine])
    return halves


def _lesson(
    shop: Shop, seen: Visible, price: float, horizon: int
) -> dict[tuple[str, float], tuple[Ints, Floats, Floats]]:
    """Each arm's customers by half, their visible columns, and the true value of the offer to them."""
    known, now = know(seen), shop.before()
    columns, of_code = _columns(known, seen), np.argsort(shop.world.catalogue.number)
    lesson = {}
    for arm in _arms(known):
        if not len(arm.rows):
            continue
        product = np.where(arm.product >= 0, of_code[arm.product], -1)
        customer, kind = known.customer[arm.rows], np.full(len(arm.rows), KIND[arm.kind])
        found = effects(now, alone(customer, kind, product, arm.level), horizon)
        worth = found.value - price * found.opens
        lesson[arm.kind, arm.level] = (customer % 2, _of_arm(columns, arm, seen), worth)
    return lesson


def _arms(known: Known) -> list[Arm]:
    found = []
    for kind, product in arms(known):
        rows = np.flatnonzero(sensible(known, kind))
        found += [Arm(kind, level, rows, product[rows]) for level in LEVELS]
    return found


def _columns(known: Known, seen: Visible) -> Floats:
    """(n, k) visible columns of the customers, with how often they were written to and opened it."""
    n = int(known.customer.max(initial=0)) + 1
    counts = [_count(table, n)[known.customer] for table in (seen.exposures, seen.clicks)]
    plain = [np.nan_to_num(np.asarray(getattr(known, name), dtype=np.float64), nan=-1.0) for name in COLUMNS]
    return np.column_stack([*plain, *counts, counts[1] / np.maximum(counts[0], 1.0)])


def _count(table: pa.Table, n: int) -> Floats:
    if table.num_rows == 0:
        return np.zeros(n)
    number = np.asarray(pc.utf8_slice_codeunits(table["customer_id"], 1).cast(pa.int64()))
    return np.bincount(number, minlength=n)[:n].astype(np.float64)


def _of_arm(columns: Floats, arm: Arm, seen: Visible) -> Floats:
    """The columns of an arm's customers, with margin and price of the product offered."""
    shelf = seen.once("money of products", lambda: _money(seen))
    named: Bools = arm.product >= 0
    money = np.where(named[:, None], shelf[arm.product], 0.0)
    return np.column_stack([columns[arm.rows], money])


def _money(seen: Visible) -> Floats:
    products = seen.history("products")
    price, cost = (np.asarray(products[name].cast(pa.float64())) for name in ("price", "unit_cost"))
    return np.column_stack([price - cost, price])
