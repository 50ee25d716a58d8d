"""The small shop's order lines as plain Python: what really was bought, for brute force."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest


@dataclass
class Truth:
    """From the lines before as_of. `ages[customer, product]` are whole days, one per order, oldest first."""

    ages: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    units: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    orders: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    baskets: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    buyers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    bought: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    returned: set[tuple[str | None, str]] = field(default_factory=set)
    returners: set[str | None] = field(default_factory=set)

    def together(self, one: str, other: str) -> int:
        return sum({one, other} <= basket for basket in self.baskets.values())

    def share(self, *products: str) -> float:
        return sum(set(products) <= basket for basket in self.baskets.values()) / len(self.baskets)


@pytest.fixture(scope="session")
def truth(small_shop_learned: Any) -> Truth:
    shop = small_shop_learned
    lines = pq.read_table(shop.kitchen.history / "orders.parquet").to_pylist()
    known = Truth()
    as_of = shop.as_of.replace(tzinfo=None)
    seen: set[tuple[str, str]] = set()
    for line in sorted(lines, key=lambda line: line["ordered_at"]):
        customer, product = line["customer_id"], line["product_id"]
        if line["ordered_at"].replace(tzinfo=None) >= as_of:
            continue
        if line["quantity"] < 0:
            known.returned.add((customer, product))
            known.returners.add(customer)
            continue
        age = (as_of - line["ordered_at"].replace(tzinfo=None)) // timedelta(days=1)
        known.baskets[line["order_id"]].add(product)
        if customer is None:
            continue
        known.buyers[product].add(customer)
        known.bought[customer].add(product)
        known.orders[customer][line["order_id"]] = age
        known.units[customer, product] += float(line["quantity"])
        if (line["order_id"], product) not in seen:
            known.ages[customer, product].append(age)
        seen.add((line["order_id"], product))
    return known
