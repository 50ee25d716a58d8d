"""All policies on one seed, and what the seeds say together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from benchmarks.money.ours import nextoffer_policy
from benchmarks.money.policies import recorded, shuffled

from nextoffer.simulation.loop import Run, run
from nextoffer.simulation.oracle import oracle
from nextoffer.simulation.policies import CONSTANT, shipped
from nextoffer.simulation.reachable import reachable_oracle
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop
from nextoffer.simulation.worlds import varied

OURS, SHUFFLED, ORACLE, REACHABLE = "nextoffer", "nextoffer, products shuffled", "oracle", "reachable oracle"
Z = 1.96


@dataclass(frozen=True)
class Sizes:
    """What is run: customers and products of each shop, policy weeks, budget per customer, what is left out."""

    customers: int
    products: int
    weeks: int
    budget: float
    without: tuple[str, ...] = ()

    @property
    def incentives(self) -> float:
        """Currency units there are for the incentives of all customers."""
        return self.budget * self.customers


def compare(seed: int, sizes: Sizes, told: Callable[[str], None]) -> dict[str, Run]:
    """What each policy earned in the world of this seed, by name."""
    settings = ShopSettings(
        customers=sizes.customers,
        products=sizes.products,
        guests=0.0,
        interactions=True,
        subscriptions=True,
    )
    found: dict[str, Run] = {}
    with TemporaryDirectory() as scratch:
        shop = Shop(varied(settings, seed), world_seed=seed, luck_seed=seed)
        shop.write_history(Path(scratch) / "shop")
        told(f"seed {seed}: history written")
        policies = {name: made for name, made in shipped(shop.week).items() if name not in sizes.without}
        for name, policy in policies.items():
            found[name] = run(shop, policy, sizes.weeks, budget=sizes.incentives)
            told(f"seed {seed}: {name}")
        if OURS not in sizes.without:
            sent: dict[int, pa.Table] = {}
            ours = recorded(nextoffer_policy(Path(scratch) / "ours", told), sent)
            found[OURS] = run(shop, ours, sizes.weeks, budget=sizes.incentives)
            found[SHUFFLED] = run(shop, shuffled(sent, seed), sizes.weeks, budget=sizes.incentives)
            told(f"seed {seed}: {OURS}, {made_of(sent)}")
        if REACHABLE not in sizes.without:
            found[REACHABLE] = run(shop, reachable_oracle(shop), sizes.weeks, budget=sizes.incentives)
            told(f"seed {seed}: {REACHABLE}")
        if ORACLE not in sizes.without:
            found[ORACLE] = run(shop, None, sizes.weeks, budget=sizes.incentives, oracle=oracle())
            told(f"seed {seed}: {ORACLE}")
    return found


def made_of(sent: Mapping[int, pa.Table]) -> str:
    """How many messages of each kind, and how many of them with an incentive."""
    table = pa.concat_tables(sent.values())
    kinds = table.group_by("kind").aggregate([("kind", "count")])
    count = dict(zip(kinds["kind"].to_pylist(), kinds["kind_count"].to_pylist(), strict=True))
    given = int((np.asarray(table["level"]) > 0).sum())
    return f"{', '.join(f'{n} {kind}' for kind, n in sorted(count.items()))}; {given} with an incentive"


def more_than(found: Mapping[str, Run], name: str, other: str = "nothing") -> np.ndarray:
    """(n,) what a policy earned more than another, customer by customer."""
    return found[name].profit - found[other].profit


def per_thousand(more: np.ndarray) -> tuple[float, float, float]:
    """Per 1,000 customers: the mean, and the limits of its 95 % interval."""
    half = Z * more.std(ddof=1) / np.sqrt(len(more))
    return 1_000 * float(more.mean()), 1_000 * float(more.mean() - half), 1_000 * float(more.mean() + half)


def ratio(top: np.ndarray, bottom: np.ndarray) -> tuple[float, float, float]:
    """Mean over mean of paired columns, with the limits of its 95 % interval (delta method)."""
    value = float(top.mean() / bottom.mean())
    apart = (top - value * bottom).std(ddof=1) / np.sqrt(len(top)) / abs(bottom.mean())
    return value, value - Z * float(apart), value + Z * float(apart)


def pooled(seeds: Sequence[Mapping[str, Run]], name: str, other: str = "nothing") -> np.ndarray:
    """Differences of all customers of all seeds."""
    return np.concatenate([more_than(found, name, other) for found in seeds])


def best_constant(seeds: Sequence[Mapping[str, Run]]) -> tuple[list[str], np.ndarray]:
    """For each seed the constant offer that earned most on the next one, and what that earned on this one."""
    names = [name for name in CONSTANT if name in seeds[0]]
    chosen = []
    for place in range(len(seeds)):
        elsewhere = seeds[(place + 1) % len(seeds)]
        chosen.append(max(names, key=lambda name: float(more_than(elsewhere, name).mean())))
    earned = [more_than(found, name) for found, name in zip(seeds, chosen, strict=True)]
    return chosen, np.concatenate(earned)


def baseline_share(seeds: Sequence[Mapping[str, Run]], name: str) -> float:
    """The share of incentive cost that falls on orders which would have come anyway."""
    spent = sum(float(found[name].incentive.sum()) for found in seeds)
    wasted = sum(float(found[name].on_baseline.sum()) for found in seeds)
    return wasted / spent if spent else 0.0
