"""`choose` with every rule switched on: one customer with 300 candidates, and batches. One JSON line.

    python benchmarks/bench_choose.py [--candidates 300] [--stored 30] [--customers 20000] [--runs 5] [--profile]

p50 and p99 of one request, by the clock and of the processor; customers a second of one core by CPU time. Both are
on a synthetic bundle, the policy with incentives on most kinds, exclusions, category and brand limits, exploration,
stacking, quotas and caps. `ratio_sort` is p50 beside one np.lexsort of the same candidates by customer, chance and
product: no ranking does without. `--profile` prints what costs most instead.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import pstats
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from nextoffer.bundle.bundle import Bundle, CustomerIds, StoredCandidates
from nextoffer.config import parse_settings
from nextoffer.domain.arrays import Strings
from nextoffer.domain.kinds import KINDS, REASON
from nextoffer.domain.offers import Candidates
from nextoffer.features.catalogue import Catalogue
from nextoffer.features.diary import Diary, Returned
from nextoffer.features.interactions import Pairs
from nextoffer.models.knowledge import Customers, Knowledge, Products
from nextoffer.offers.choosing import Context, Policy
from nextoffer.offers.ranking import choose

AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
NONE: Any = None  # what `choose` never looks at

SHOP = {
    "currency": "EUR",
    "history": {"orders": {"path": "-"}},
    "offers": {
        "n": 6,
        "max_per_category": 2,
        "max_per_brand": 2,
        "stacking": "exclusive",
        "pinned": ["P00001"],
        "buried": ["P0000[23]"],
        "exclude": {"products": ["P0001*"], "brands": ["B7"], "categories": ["C1 > S2"], "discounted": True},
    },
    # about three options to a candidate
    "incentives": {
        "five": {"type": "percent", "value": 5, "kinds": ["abandoned", "event", "renewal"]},
        "three-off": {
            "type": "amount",
            "value": 3,
            "kinds": ["abandoned", "renewal", "win_back"],
            "min_order": 20,
            "max_per_customer": 2,
        },
        "free-delivery": {
            "type": "free_shipping",
            "value": 4,
            "kinds": ["cross_sell", "up_sell", "for_you"],
            "min_order": 30,
            "quota": 500,
        },
        "points": {"type": "points", "value": 100, "kinds": ["event"]},
    },
}


def make_shop(rng, n_products, n_customers, each):
    """A bundle of random products, customers and purchases, with `each` candidates of every customer."""
    price = np.round(rng.lognormal(7.3, 0.8, n_products)).astype(np.int64)
    rows = np.arange(n_products)
    catalogue = Catalogue(
        currency="EUR",
        digits=2,
        ids=Strings.of(f"P{row:05d}" for row in rows),
        title=Strings.of(f"Product {row}" for row in rows),
        url=Strings.of([None] * n_products),
        image_url=Strings.of([None] * n_products),
        category=Strings.of(None if row % 17 == 0 else f"C{row % 5} > S{row % 7}" for row in rows),
        brand=Strings.of(None if row % 13 == 0 else f"B{row % 11}" for row in rows),
        price=np.where(rng.random(n_products) < 0.02, 0, price),
        unit_cost=np.round(price * rng.uniform(0.3, 1.0, n_products)).astype(np.int64),
        stock=np.where(rng.random(n_products) < 0.3, rng.integers(0, 5, n_products), np.nan),
        shelf_life_days=np.full(n_products, np.nan),
        repeatable=rng.random(n_products) < 0.5,
        restricted=rng.random(n_products) < 0.03,
        hidden=rng.random(n_products) < 0.03,
    )
    parts = make_customers(rng, n_customers), make_products(rng, price)
    knowledge = Knowledge(28, *parts, make_pairs(rng, n_products, n_customers), *[NONE] * 10)
    ids = CustomerIds(Strings.of(f"C{row:07d}" for row in range(n_customers)))
    stored = StoredCandidates.of(make_candidates(rng, n_products, n_customers, each), n_customers)
    diary = Diary(returned=make_returned(rng, n_products, n_customers))
    return Bundle.make("synthetic", AS_OF, ids, catalogue, knowledge, NONE, stored, diary=diary)


def make_customers(rng, n):
    """One to twenty orders each; chances and spend at random."""
    frequency = rng.integers(1, 20, n)
    p_order = rng.beta(1.0, 4.0, n)
    columns = {name: np.zeros(n) for name in Customers.__slots__} | {
        "recency_days": rng.integers(0, 300, n),
        "first_age_days": rng.integers(300, 700, n),
        "frequency": frequency,
        "monetary": frequency * rng.lognormal(3.3, 0.7, n),
        "segment": rng.integers(0, 5, n).astype(np.int8),
        "p_buy": p_order,
        "p_order": p_order,
        "p_lapsed": 1.0 - np.sqrt(p_order),
    }
    return Customers(**columns)


def make_products(rng, price):
    """Sold at about the list price, some of it now cheaper."""
    columns = {name: np.zeros(len(price)) for name in Products.__slots__} | {
        "n_orders": rng.integers(0, 500, len(price)),
        "log_unit_price": np.log(np.maximum(price, 1) * rng.uniform(0.9, 1.2, len(price))),
    }
    return Products(**columns)


def make_pairs(rng, n_products, n_customers):
    """Up to ten products bought by each customer, some of them in the last week."""
    bought = [
        np.sort(rng.choice(n_products, count, replace=False))
        for count in rng.integers(0, min(11, n_products), n_customers)
    ]
    product = np.concatenate([*bought, np.zeros(0, int)]).astype(np.int32)
    ages = rng.integers(0, 200, len(product)).astype(np.int32)
    rest = [np.zeros(len(product)) for _ in Pairs.__slots__[6:]]
    once = np.ones(len(product), np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(rows) for rows in bought])]).astype(np.int64)
    return Pairs(indptr, product, once, once, ages, ages, *rest)


def make_returned(rng, n_products, n_customers):
    """One product sent back by every second customer."""
    who = np.flatnonzero(rng.random(n_customers) < 0.5).astype(np.int32)
    return Returned(who, rng.integers(0, n_products, len(who)).astype(np.int32))


def make_candidates(rng, n_products, n_customers, each):
    """Sorted by customer, kind, product, each kind and product once."""
    cells = len(KINDS) * n_products
    own = np.argsort(rng.random((n_customers, cells)), axis=1)[:, :each] if cells < 5000 else None
    cell = np.sort(rng.integers(0, cells, (n_customers, each)) if own is None else own, axis=1)
    customer = np.repeat(np.arange(n_customers, dtype=np.int32), each)
    kind, product = np.divmod(cell.ravel(), n_products)
    fresh = np.append(True, (np.diff(cell.ravel()) != 0) | (np.diff(customer) != 0))
    reason = np.full(len(customer), REASON["popular-now"], np.int8)
    made = Candidates.learned(
        customer,
        kind.astype(np.int8),
        product.astype(np.int32),
        np.full(len(customer), -1, np.int32),
        reason,
        rng.beta(0.6, 12.0, len(customer)).astype(np.float32),
    )
    return made.take(fresh)


def everything(rng, policy, n_products, n):
    """A context that gives every rule something to look at."""
    menu = len(policy.menu)
    return Context(
        allowed=rng.random(n_products) < 0.95,
        contact=True,
        messages_today=np.zeros(n, np.int64),
        messages_week=rng.integers(0, 4, n),
        event_made=rng.random(n) < 0.3,
        used=np.full(menu, 100),
        used_by=rng.integers(0, 3, (n, menu)),
        draws=rng.random(n),
    )


def one_by_one(bundle, policy, customers, each, seed):
    """Seconds of each single choice by the clock and of the processor, and of the sort none does without."""
    rng, n = np.random.default_rng(seed), len(bundle.catalogue)
    taken = []
    for row in range(customers):
        candidates = make_candidates(rng, n, 1, each)
        context = everything(rng, policy, n, 1)
        start, cpu = time.perf_counter(), time.process_time()
        choose(bundle, np.array([row]), candidates, policy, context)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
        cpu = time.process_time()
        np.lexsort((candidates.product, candidates.p_buy, candidates.customer))
        taken.append((seconds, cpu_seconds, time.process_time() - cpu))
    return np.array(taken).T


def in_batches(bundle, policy, customers, size, seed):
    """CPU seconds of choosing for all stored customers, batch by batch."""
    rng, n, spent = np.random.default_rng(seed), len(bundle.catalogue), 0.0
    for first in range(0, customers, size):
        rows = np.arange(first, min(first + size, customers))
        context = everything(rng, policy, n, len(rows))
        start = time.process_time()
        choose(bundle, rows, bundle.candidates.batch(rows), policy, context)
        spent += time.process_time() - start
    return spent


def main():
    """Measure both and print the line, or the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=300)
    parser.add_argument("--stored", type=int, default=30)
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--products", type=int, default=5_000)
    parser.add_argument("--batch", type=int, default=2_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    policy = Policy.of(parse_settings(SHOP, "bench", Path(".")))
    bundle = make_shop(np.random.default_rng(0), options.products, options.customers, options.stored)
    one_by_one(bundle, policy, 50, options.candidates, 1)  # warm
    if options.profile:
        for run in (
            lambda: one_by_one(bundle, policy, 500, options.candidates, 2),
            lambda: in_batches(bundle, policy, options.customers, options.batch, 2),
        ):
            profile = cProfile.Profile()
            profile.runcall(run)
            pstats.Stats(profile).sort_stats("cumulative").print_stats("nextoffer|numpy.ndarray|lexsort")
        return
    clock, cpu, sort = one_by_one(bundle, policy, 1000, options.candidates, 2)
    batch = [in_batches(bundle, policy, options.customers, options.batch, 3) for _ in range(options.runs)]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    p50, p99 = np.percentile(clock, [50, 99]) * 1e3
    cpu_p50, cpu_p99 = np.percentile(cpu, [50, 99]) * 1e3
    line = {
        "bench": "choose",
        "candidates": options.candidates,
        "p50_ms": round(p50, 3),
        "p99_ms": round(p99, 3),
        "cpu_p50_ms": round(cpu_p50, 3),
        "cpu_p99_ms": round(cpu_p99, 3),
        "bar_p50_ms": 1.0,
        "ratio_sort": round(float(cpu_p50 / np.median(sort) / 1e3), 1),
        "stored": options.stored,
        "batch": options.batch,
        "customers_per_cpu_second": round(options.customers / float(np.median(batch))),
        "bar_customers_per_cpu_second": 30_000,
        "runs": [round(options.customers / seconds) for seconds in batch],
        "incentives": len(policy.menu),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
