"""What offers earn: nextoffer beside constant offers, three good rules and two oracles, in shops whose truth is known.

    python -m benchmarks.bench_money [--customers N] [--products N] [--seeds N] [--weeks N] [--without NAME …]

Each seed is a shop of its own (rates, responses, margins differ); all policies live through the same weeks with
the same luck, one message a customer a week and the same budget. Scored by the expected ledger: margin less
incentives, messages and returns in the policy weeks and twelve more, minus the same with nothing sent. Prints a
table and one JSON line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.money.compare import (
    ORACLE,
    OURS,
    REACHABLE,
    SHUFFLED,
    Sizes,
    baseline_share,
    best_constant,
    compare,
    more_than,
    per_thousand,
    pooled,
    ratio,
)

from nextoffer.simulation.columns import SHOP_VERSION
from nextoffer.simulation.loop import Run

FIRST_SEED = 11
FLAT = "flat 10 % to all"


def main() -> None:
    """Run, print the table, print the JSON line."""
    sizes, seeds = _asked()
    start = time.process_time()

    def told(text: str) -> None:
        print(f"  {time.process_time() - start:6.0f} s  {text}", file=sys.stderr, flush=True)

    found = [compare(seed, sizes, told) for seed in seeds]
    figures = summary(found)
    figures |= {
        "bench": "money",
        "commit": _commit(),
        "shop_version": SHOP_VERSION,
        "customers": sizes.customers,
        "products": sizes.products,
        "weeks": sizes.weeks,
        "seeds": seeds,
        "budget_per_customer": sizes.budget,
        "cpu_seconds": round(time.process_time() - start, 1),
    }
    print(table(found, seeds))
    print(json.dumps(figures))


def summary(found: Sequence[Mapping[str, Run]]) -> dict[str, Any]:
    """Every figure of the bars, by name."""
    names = [name for name in found[0] if name != "nothing"]
    figures: dict[str, Any] = {
        "baseline_profit": round(
            float(sum(one["nothing"].profit.mean() for one in found) / len(found) * 1e3)
        ),
        "profit_per_1000": {
            name: {
                "pooled": _rounded(per_thousand(pooled(found, name))),
                "seeds": [_rounded(per_thousand(more_than(one, name))) for one in found],
                "messages_a_customer": round(
                    sum(float(o[name].messages.mean()) for o in found) / len(found), 2
                ),
                "incentive_per_1000": round(
                    sum(float(o[name].incentive.mean()) for o in found) / len(found) * 1e3, 1
                ),
                "incentive_on_baseline": round(baseline_share(found, name), 3),
            }
            for name in names
        },
    }
    if OURS not in found[0]:
        return figures
    ours = pooled(found, OURS)
    chosen, constant = best_constant(found)
    figures["best_constant"] = chosen
    figures["ours_over_constant"] = _rounded(ratio(ours, constant), 2)
    for name in ("rules", REACHABLE, ORACLE):
        if name in found[0]:
            figures[f"ours_over_{name.replace(' ', '_')}"] = _rounded(ratio(ours, pooled(found, name)), 2)
    figures["gained_by_the_right_products"] = _rounded(per_thousand(pooled(found, OURS, SHUFFLED)))
    figures["incentive_on_baseline_of_flat"] = (
        round(baseline_share(found, FLAT), 3) if FLAT in found[0] else None
    )
    return figures


def table(found: Sequence[Mapping[str, Run]], seeds: Sequence[int]) -> str:
    """Incremental profit per 1,000 customers, policy by policy."""
    head = ["policy", *(f"seed {seed}" for seed in seeds), "pooled", "messages", "incentives", "of it wasted"]
    lines = [head]
    for name in found[0]:
        if name == "nothing":
            continue
        runs = [one[name] for one in found]
        lines.append(
            [
                name,
                *(_interval(per_thousand(more_than(one, name))) for one in found),
                _interval(per_thousand(pooled(found, name))),
                f"{sum(run.messages.mean() for run in runs) / len(runs):.2f}",
                f"{sum(run.incentive.mean() for run in runs) / len(runs) * 1e3:.0f}",
                f"{baseline_share(found, name):.2f}",
            ]
        )
    wide = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, wide, strict=True))
        )
        for line in lines
    )


def _interval(limits: tuple[float, float, float]) -> str:
    return f"{limits[0]:+.0f} ± {(limits[2] - limits[1]) / 2:.0f}"


def _rounded(limits: tuple[float, float, float], digits: int = 1) -> list[float]:
    return [round(limit, digits) for limit in limits]


def _asked() -> tuple[Sizes, list[int]]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--customers", type=int, default=20_000)
    parser.add_argument("--products", type=int, default=2_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--weeks", type=int, default=8)
    parser.add_argument(
        "--budget", type=float, default=0.25, help="for incentives, currency units a customer"
    )
    parser.add_argument("--without", nargs="*", default=[], help="policies to leave out")
    given = parser.parse_args()
    sizes = Sizes(given.customers, given.products, given.weeks, given.budget, tuple(given.without))
    return sizes, list(range(given.first_seed, given.first_seed + given.seeds))


def _commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


if __name__ == "__main__":
    main()
