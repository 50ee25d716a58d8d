"""The worlds of the proof, and one luck seed after another lived in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from benchmarks.coverage.living import (
    Lived,
    ShopPolicy,
    for_you_weekly,
    known,
    live,
    lived_before,
    past_policy,
    summed,
    three_rules,
)
from benchmarks.coverage.reading import Reading, assigned, read

from nextoffer.domain.arrays import Bools
from nextoffer.measurement.experiment import seed_of
from nextoffer.simulation import Shop, ShopSettings
from nextoffer.simulation.households import households

WORLD_SEED = 11
BOUGHT = ("orders", "revenue", "margin")


@dataclass(frozen=True, slots=True)
class World:
    """One history and one policy after it.

    Parameters
    ----------
    switches : settings of the shop that differ from the default
    no_effect : the same weeks once more with offers that change nothing
    pairs : customers keep house in pairs: assigned by household, and, as a warning, one by one
    """

    name: str
    policy: ShopPolicy
    switches: dict[str, Any] = field(default_factory=dict)
    no_effect: bool = False
    pairs: bool = False


WORLDS = {
    world.name: world
    for world in (
        World("rules", three_rules),
        World("past policy", past_policy, {"past_policy": "confounded"}, no_effect=True),
        World("pairs", for_you_weekly, {"interference": True}, pairs=True),
        World("strong", three_rules, {"offer_effect": 10.0}),
        World("delayed", three_rules, {"delayed_response": True, "offer_effect": 10.0}),
        World("threshold", three_rules, {"threshold_effect": True}),
    )
}


@dataclass(frozen=True, slots=True)
class Replication:
    """What one luck seed gave: readings by what was looked at, one per salt; orders that `no_effect` changed."""

    luck: int
    readings: dict[str, tuple[Reading, ...]]
    changed: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """A shop at the end of its history, who can be assigned there, and what they did before."""

    shop: Shop
    known: Bools
    before: Lived


def replicate(
    world: World, customers: int, products: int, lucks: Sequence[int], salts: int
) -> list[Replication]:
    """Live a world from the end of its history with each luck seed. Depends on nothing but its arguments."""
    settings = ShopSettings(customers=customers, products=products, guests=0.0, **world.switches)
    with TemporaryDirectory() as folder:
        shop = Shop(settings, WORLD_SEED, WORLD_SEED)
        shop.write_history(Path(folder) / "shop")
        everybody = known(shop)
        # What comes back of the orders of the history is drawn already, and comes within four weeks.
        soon = live(shop.fork(), None, everybody, weeks=0, run_out=4)
        start = Start(shop, everybody, lived_before(shop, soon))
        return [_replication(world, start, luck, salts) for luck in lucks]


def _replication(world: World, start: Start, luck: int, salts: int) -> Replication:
    shop, everybody = start.shop, start.known

    def lived(policy: ShopPolicy | None, to: Bools = everybody, effect: float | None = None) -> Lived:
        twin = shop.fork(luck)
        return summed(twin, live(twin, policy, to, effect=effect))

    without, written = lived(None), lived(world.policy)
    names = [f"{world.name} {luck} {salt}" for salt in range(salts)]
    units = np.arange(shop.settings.customers)
    homes = households(units)
    readings, changed = {}, 0
    if world.pairs:
        alone = assigned(names[0], units, "C")
        split = lived(world.policy, everybody & alone)
        readings[f"{world.name}, by customer"] = (_read(start, split, without, alone, names[0]),)
        groups = {name: assigned(name, homes, "H") for name in names}
    else:
        groups = {name: assigned(name, units, "C") for name in names}
    readings[world.name] = tuple(
        _read(start, written.where(treated, without), without, treated, name, world.pairs)
        for name, treated in groups.items()
    )
    if world.no_effect:
        idle = lived(world.policy, effect=0.0)
        changed = int(sum((getattr(idle, name) != getattr(without, name)).sum() for name in BOUGHT))
        rare = [
            f"no effect {luck} {salt}" for salt in range(2 * salts)
        ]  # wins are, so there are twice as many
        groups = {name: assigned(name, units, "C") for name in rare}
        readings["no effect"] = tuple(
            _read(start, idle.where(treated, without), without, treated, name)
            for name, treated in groups.items()
        )
    return Replication(luck, readings, changed)


def _read(
    start: Start, seen: Lived, without: Lived, treated: Bools, name: str, pairs: bool = False
) -> Reading:
    return read(seen, without, start.before, treated, start.known, seed_of(name, 1, "proof"), pairs)
