"""Does measured uplift cover what offers truly did? In made-up shops one can live the same weeks without them.

    python -m benchmarks.bench_coverage [--luck N] [--salts N] [--worlds NAME …] [--workers N] [--json FILE]

One history per world, forked after week 104; each luck seed lives eight weeks with a policy and twelve without
offers, and the same twenty weeks without any: the truth, exact, customer by customer. A fifth of the customers are
held out by the product's own hash, each luck seed with several salts; the product's permutation test measures profit
(margin after incentives, less messages) and revenue, with and without CUPED on the spend of 91 days before.
Customers are independent of one another, so what a salt's groups do is put together from the two lives; where they
are not (`pairs`), the very groups are lived through. Prints a table, the gates and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.coverage.reading import HOLDOUT_SHARE, METRICS, N_PERMUTATIONS, Measured, Reading
from benchmarks.coverage.worlds import WORLDS, Replication, World, replicate

from nextoffer.simulation.columns import SHOP_VERSION

FIRST_LUCK = 1_001
AT_A_TIME = 10  # luck seeds of one task: whatever the number of workers, so that nothing depends on it
COVERAGE = (0.92, 0.975)
FALSE_WINS = 0.035
DEFAULT = ("rules", "past policy", "pairs", "strong")
COVERING = ("rules", "past policy", "strong", "delayed", "threshold", "pairs")
SPLIT = "pairs, by customer"
FEWER = {"pairs": 0.4, "strong": 0.3, "delayed": 0.3, "threshold": 0.3}
"""Worlds that need no more than this share of the luck seeds."""

Figures = dict[str, Any]


def main() -> int:
    """Run, print the table, the gates and the JSON line; 1 if a gate is missed."""
    given = _asked()
    start = time.time()
    changed, seconds = 0, 0.0
    looks: dict[str, list[tuple[Reading, ...]]] = {}
    for name in given.worlds:
        lucks = _lucks(given.luck, name)
        for replication, spent in _lived(WORLDS[name], given, lucks):
            for look, readings in replication.readings.items():
                looks.setdefault(look, []).append(readings)
            changed += replication.changed
            seconds += spent
        print(f"  {time.time() - start:6.0f} s  {name}: {len(lucks)} luck seeds", file=sys.stderr, flush=True)
    figures = {look: summary(readings) for look, readings in looks.items()}
    passed = gates(figures, changed)
    print(table(figures))
    print("\n".join(f"{'pass' if good else 'MISS'}  {gate}" for gate, good in passed.items()))
    line = json.dumps(
        {
            "bench": "coverage",
            "commit": _commit(),
            "shop_version": SHOP_VERSION,
            "customers": given.customers,
            "luck_seeds": given.luck,
            "salts": given.salts,
            "holdout_share": HOLDOUT_SHARE,
            "permutations": N_PERMUTATIONS,
            "looks": figures,
            "orders_changed_without_effect": int(changed),
            "gates": {gate: bool(good) for gate, good in passed.items()},
            "cpu_seconds": round(seconds, 1),
        }
    )
    print(line)
    if given.json:
        given.json.write_text(line + "\n")
    return 0 if all(passed.values()) else 1


def summary(seeds: Sequence[Sequence[Reading]]) -> Figures:
    """What one look says: over the first salt of each luck seed, and over all salts of all.

    The Monte-Carlo error of a share over all salts is that of means of luck seeds.
    """
    figures: Figures = {"luck_seeds": len(seeds), "readings": sum(len(salts) for salts in seeds)}
    for place, name in enumerate(METRICS):
        measured = [[reading.metrics[place] for reading in salts] for salts in seeds]
        flat = [one for salts in measured for one in salts]
        told = [one for one in flat if one.low is not None and one.high is not None]
        half = [(one.high - one.low) / 2 for one in told]  # type: ignore[operator]
        figures[name] = {
            "truth": _mean([one.truth for one in flat]),
            "measured": _mean([one.difference for one in told]),  # type: ignore[misc]
            "half_width": _mean(half),
            "refused": len(flat) - len(told),
            "coverage": _share([[one.covers for one in salts] for salts in measured]),
            "coverage_first_salt": _share([[salts[0].covers] for salts in measured]),
            "wins": _share([[one.verdict == "win" for one in salts] for salts in measured]),
            "losses": _share([[one.verdict == "loss" for one in salts] for salts in measured]),
        }
    readings = [reading for salts in seeds for reading in salts]
    figures["naive"] = {
        "profit": _mean([one.naive for one in readings]),
        "exposed_share": _mean([one.exposed_share for one in readings]),
        "outside": _share([[_misled(one) for one in salts] for salts in seeds]),
        "outside_per_treated": _share(
            [[_misled(one, one.exposed_share) for one in salts] for salts in seeds]
        ),
        "times_off": _times_off(readings),
    }
    return figures


def gates(figures: Mapping[str, Figures], changed: int) -> dict[str, bool]:
    """What is asked of the proof, and whether it holds, for the looks that were taken."""
    found: dict[str, bool] = {}
    low, high = COVERAGE
    for look in COVERING:
        for metric in METRICS if look in figures else ():
            share, told = _told(figures[look][metric]["coverage"])
            slack = figures[look][metric]["coverage"][1] if look in FEWER else 0.0
            asked = "92–97.5 %, give or take that error" if look in FEWER else "92–97.5 %"
            found[f"{look}: {metric} covers the truth in {told}, asked {asked}"] = (
                low - slack <= share <= high + slack
            )
    for metric in METRICS if "no effect" in figures else ():
        share, told = _told(figures["no effect"][metric]["wins"])
        found[f"no effect: {metric} wins falsely in {told}, asked ≤ 3.5 %"] = share <= FALSE_WINS
    if "no effect" in figures:
        found[f"no effect: {changed} figures of customers changed, asked 0"] = changed == 0
    if "past policy" in figures:
        naive = figures["past policy"]["naive"]
        share, told = _told(naive["outside"])
        found[f"past policy: the naive figure is outside our interval in {told}, asked ≥ 95 %"] = (
            share >= 0.95
        )
        off = naive["times_off"]
        found[f"past policy: the naive figure is {off:.0f} × the truth off, asked ≥ 3"] = off >= 3
    if SPLIT in figures:
        share, told = _told(figures[SPLIT]["profit, CUPED"]["coverage"])
        found[f"{SPLIT}: covers the truth in {told} only, asked < 92 %"] = share < low
    return found


def table(figures: Mapping[str, Figures]) -> str:
    """One line per look and metric."""
    head = "look metric readings truth measured ± coverage first wins losses naive outside".split()
    rows = [head]
    for look, found in figures.items():
        for metric in METRICS:
            one = found[metric]
            naive = metric == "profit, CUPED"
            rows.append(
                [
                    look,
                    metric,
                    str(found["readings"]),
                    f"{one['truth']:+.2f}",
                    f"{one['measured']:+.2f}",
                    f"{one['half_width']:.2f}",
                    _percent(one["coverage"]),
                    _percent(one["coverage_first_salt"]),
                    _percent(one["wins"]),
                    _percent(one["losses"]),
                    f"{found['naive']['profit']:+.2f}" if naive else "",
                    _percent(found["naive"]["outside"]) if naive else "",
                ]
            )
    wide = [max(len(row[place]) for row in rows) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, wide, strict=True))
        )
        for row in rows
    )


def _lived(
    world: World, given: argparse.Namespace, lucks: Sequence[int]
) -> Iterator[tuple[Replication, float]]:
    from joblib import Parallel, delayed

    parts = [lucks[first : first + AT_A_TIME] for first in range(0, len(lucks), AT_A_TIME)]
    jobs = (delayed(_timed)(world, given.customers, given.products, part, given.salts) for part in parts)
    for replications, seconds in Parallel(n_jobs=given.workers, return_as="generator", batch_size=1)(jobs):
        for replication in replications:
            yield replication, seconds / len(replications)


def _timed(*arguments: Any) -> tuple[list[Replication], float]:
    start = time.process_time()
    found = replicate(*arguments)
    return found, time.process_time() - start


def _lucks(asked: int, world: str) -> list[int]:
    n = max(1, round(asked * FEWER.get(world, 1.0)))
    return list(range(FIRST_LUCK, FIRST_LUCK + n))


def _misled(reading: Reading, scale: float = 1.0) -> bool:
    """Whether the naive figure lies outside the interval of profit; scaled, the naive figure per treated."""
    return _profit(reading).outside(reading.naive * scale)


def _times_off(readings: Sequence[Reading]) -> float:
    """How many times the truth, per customer written to, the naive figure is off it."""
    truth = _mean([_profit(one).truth / max(one.exposed_share, 1e-9) for one in readings])
    naive = _mean([one.naive for one in readings])
    return min(abs(naive - truth) / max(abs(truth), 1e-9), 9_999.0)


def _profit(reading: Reading) -> Measured:
    return reading.metrics[METRICS.index("profit, CUPED")]


def _share(seeds: Sequence[Sequence[bool]]) -> tuple[float, float]:
    """A share over all, and its standard error by luck seeds: at least that of one more seed that differs."""
    means = np.array([np.mean(salts) for salts in seeds])
    spread = float(means.std(ddof=1)) if len(means) > 1 else 1.0
    error = max(spread / np.sqrt(len(means)), 1.0 / len(means) if spread == 0 else 0.0)
    return round(float(np.mean([value for salts in seeds for value in salts])), 4), round(error, 4)


def _told(share: tuple[float, float]) -> tuple[float, str]:
    return share[0], f"{share[0]:.1%} ± {share[1]:.1%}"


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 4) if len(values) else float("nan")


def _percent(share: tuple[float, float]) -> str:
    return f"{100 * share[0]:.1f}±{100 * share[1]:.1f}"


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--luck", type=int, default=200, help="luck seeds (some worlds take fewer)")
    parser.add_argument("--salts", type=int, default=3, help="assignments of each luck seed")
    parser.add_argument("--worlds", nargs="*", choices=list(WORLDS), default=DEFAULT)
    parser.add_argument("--customers", type=int, default=5_000)
    parser.add_argument("--products", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the JSON line there")
    return parser.parse_args()


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
