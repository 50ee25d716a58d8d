"""A budget over a million customers × 4 offers: CPU seconds, beside HiGHS and beside sorting. One JSON line.

    python benchmarks/bench_allocation.py [--customers 1000000] [--peer-customers 5000] [--runs 5]

The peer is SciPy's HiGHS on the linear relaxation of the same problem, on fewer customers, where ours is timed
again: its optimum must be our bound. `ratio_sort` is our CPU time for that of np.sort of the two columns, the
least any method that sorts could take. The median is of runs after the first, whose fresh memory is told apart.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from nextoffer.offers.budget import allocate

LEVELS = np.array([0.0, 0.05, 0.10, 0.15])


def make_options(customers, seed):
    """(group, value, cost) in minor units: four levels for each customer's product, and a budget for a third."""
    rng = np.random.default_rng(seed)
    p_buy = rng.beta(0.5, 10.0, (customers, 1))
    price = np.round(rng.lognormal(7.5, 1.0, (customers, 1)))
    odds = rng.lognormal(0.4, 0.3, (customers, 1)) * rng.lognormal(3.4, 1.0, (customers, 1)) ** LEVELS
    p_offer = odds * p_buy / (1.0 - p_buy + odds * p_buy)
    cost = p_offer * np.round(price * LEVELS)
    value = (p_offer - p_buy) * price * 0.4 - cost - 1.0
    group = np.repeat(np.arange(customers), len(LEVELS))
    columns = group, value.ravel(), cost.ravel()
    wanted = allocate(*columns, np.inf).spent
    return (*columns, wanted / 3.0)


def highs(group, value, cost, budget):
    """Optimum of the linear relaxation."""
    n = len(value)
    one_each = csr_array((np.ones(n), (group, np.arange(n))), shape=(int(group.max()) + 1, n))
    limits = np.append(np.ones(one_each.shape[0]), budget)
    solved = linprog(-value, A_ub=vstack([one_each, csr_array(cost[None, :])]), b_ub=limits, method="highs")
    return -solved.fun


def timed(run, *given):
    """What it gives, and CPU seconds."""
    start = time.process_time()
    return run(*given), time.process_time() - start


def main():
    """Run ours and both yardsticks in turn and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--peer-customers", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    big, small = make_options(options.customers, 0), make_options(options.peer_customers, 1)
    first = timed(allocate, *big)[1]
    whole, sorts, ours, theirs = [], [], [], []
    for _ in range(options.runs):
        made, seconds = timed(allocate, *big)
        whole.append(seconds)
        sorts.append(timed(lambda: (np.sort(big[1]), np.sort(big[2])))[1])
        few, seconds = timed(allocate, *small)
        ours.append(seconds)
        optimum, seconds = timed(highs, *small)
        theirs.append(seconds)
    if not np.isclose(few.bound, optimum, rtol=1e-6):
        raise SystemExit(f"HiGHS finds {optimum}, our bound is {few.bound}")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    line = {
        "bench": "allocation",
        "customers": options.customers,
        "options": len(big[0]),
        "cpu_seconds": round(statistics.median(whole), 3),
        "cpu_seconds_first": round(first, 3),
        "cpu_seconds_runs": [round(seconds, 3) for seconds in whole],
        "bar_cpu_seconds": 1.0,
        "ratio_sort": round(statistics.median(whole) / statistics.median(sorts), 1),
        "share_of_budget": round(made.spent / big[3], 9),
        "gap": made.gap,
        "paid": made.paid,
        "peer": "scipy HiGHS, linear relaxation",
        "peer_customers": options.peer_customers,
        "peer_cpu_seconds": round(statistics.median(theirs), 3),
        "ours_cpu_seconds": round(statistics.median(ours), 4),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 1),
        "runs": [round(b / a, 1) for a, b in zip(ours, theirs, strict=True)],
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
