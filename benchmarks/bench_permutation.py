"""Permutation tests of a million customers, with CUPED and without: CPU seconds, beside SciPy's. One JSON line.

    python benchmarks/bench_permutation.py [--customers 1000000] [--permutations 1999] [--runs 3]

One customer in ten is held out. `plain` has 3 % and 10 % buyers, `cuped` 350,000 customers active in either period,
`tiny` 120 buyers, `ratio` the average order of the 10 %. The peer is scipy.stats.permutation_test of Welch's t on
1,200 customers of whom 120 bought, and its p must be ours; `ratio` is its CPU time for ours there (`tiny`).
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
from scipy import stats

from nextoffer.measurement.experiment import permutation_test, ratio_test

HOLDOUT = 0.1
BARS = {"plain_10": 1.0, "cuped": 8.0}


def buyers(n_buyers, seed):
    """(values, treated) of so many buyers with skewed baskets."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(3.0, 1.2, n_buyers), rng.random(n_buyers) > HOLDOUT


def regulars(n_active, seed):
    """(values, treated, before): most were there before, a third bought now."""
    rng = np.random.default_rng(seed)
    before = np.where(rng.random(n_active) < 0.8, rng.lognormal(3.0, 1.2, n_active), 0.0)
    now = (before == 0) | (rng.random(n_active) < 0.3)
    return (
        np.where(now, 0.5 * before + rng.lognormal(3.0, 1.0, n_active), 0.0),
        rng.random(n_active) > HOLDOUT,
        before,
    )


def scipys(values, treated, n_treated, n_holdout, n_permutations):
    """One-sided p of the same test."""
    groups = (
        np.concatenate([values[group], np.zeros(n - np.count_nonzero(group))])
        for group, n in ((treated, n_treated), (~treated, n_holdout))
    )
    return stats.permutation_test(
        tuple(groups),
        lambda x, y, axis: stats.ttest_ind(x, y, axis=axis, equal_var=False).statistic,
        n_resamples=n_permutations,
        alternative="greater",
        vectorized=True,
        rng=np.random.default_rng(3),
    ).pvalue


def timed(run):
    """What it gives, and CPU seconds."""
    start = time.process_time()
    return run(), time.process_time() - start


def main():
    """Run each case in turn and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--permutations", type=int, default=1_999)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    n, given = options.customers, {"seed": 1, "n_permutations": options.permutations}
    sizes = round(n * (1 - HOLDOUT)), round(n * HOLDOUT)
    few, many, tiny = (buyers(count, count) for count in (n * 3 // 100, n // 10, 120))
    active, treated, before = regulars(n * 35 // 100, 2)
    orders = np.ones(len(many[0]))
    cases = {
        "plain_3": lambda: permutation_test(*few, *sizes, **given),
        "plain_10": lambda: permutation_test(*many, *sizes, **given),
        "ratio": lambda: ratio_test(many[0], orders, many[1], *sizes, **given),
        "cuped": lambda: permutation_test(active, treated, *sizes, before=before, **given),
        "tiny": lambda: permutation_test(*tiny, 1_080, 120, min_buyers=0, **given),
        "peer": lambda: scipys(*tiny, 1_080, 120, options.permutations),
    }
    seconds = {name: [] for name in cases}
    for _ in range(options.runs):
        answers = {}
        for name, case in cases.items():
            answers[name], spent = timed(case)
            seconds[name].append(spent)
    if abs(answers["tiny"].p_win - answers["peer"]) > 6 * np.sqrt(0.5 / options.permutations):
        raise SystemExit(f"SciPy's p is {answers['peer']}, ours {answers['tiny'].p_win}")
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    line = {
        "bench": "permutation",
        "customers": n,
        "permutations": options.permutations,
        "cpu_seconds": {name: round(each, 4) for name, each in medians.items() if name != "peer"},
        "bar_cpu_seconds": BARS,
        "pass": all(medians[name] <= bar for name, bar in BARS.items()),
        "peer": "scipy.stats.permutation_test, 1,200 customers",
        "peer_cpu_seconds": round(medians["peer"], 4),
        "ratio": round(medians["peer"] / medians["tiny"], 1),
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
