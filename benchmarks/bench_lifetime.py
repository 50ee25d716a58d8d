"""BG/NBD at a million customers: nextoffer against `lifetimes`, median of interleaved runs, one JSON line.

    python benchmarks/bench_lifetime.py [--customers 1000000] [--runs 5]

Both get the same numpy columns of a simulated shop (planted r .5, α 6 weeks, a .8, b 2.5; two years) and fit
alone in one process, in turn. Needs `pip install nextoffer[bench]`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
import warnings

import numpy as np

from nextoffer.models.bgnbd import fit_bgnbd

PLANTED = {"r": 0.5, "alpha": 6.0, "a": 0.8, "b": 2.5}


def simulate(n, seed):
    """(x, t_x, T) of n customers acquired evenly over two years, in whole days."""
    rng = np.random.default_rng(seed)
    rate = rng.gamma(PLANTED["r"], 1.0 / PLANTED["alpha"], n) / 7.0
    dropout = rng.beta(PLANTED["a"], PLANTED["b"], n)
    age = rng.integers(1, 731, n)
    x, last, clock, alive = np.zeros(n, int), np.zeros(n), np.zeros(n), np.arange(n)
    while len(alive):
        clock[alive] += rng.exponential(1.0 / rate[alive])
        alive = alive[clock[alive] <= age[alive]]
        x[alive] += 1
        last[alive] = clock[alive]
        alive = alive[rng.random(len(alive)) > dropout[alive]]
    return x, np.floor(last).astype(int), age


def timed(fit):
    """What `fit` gives, its seconds and its CPU seconds (the fairer of the two on a busy machine)."""
    start, cpu_start = time.perf_counter(), time.process_time()
    return fit(), time.perf_counter() - start, time.process_time() - cpu_start


def main():
    """Run both in turn and print the line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")  # the peer's own: it predates today's numpy
    from lifetimes import BetaGeoFitter

    x, recency, age = simulate(options.customers, options.seed)
    x_float, recency_weeks, age_weeks = x.astype(float), recency / 7.0, age / 7.0
    ours, theirs, cpu = [], [], []
    for _ in range(options.runs):
        law, seconds, cpu_seconds = timed(lambda: fit_bgnbd(x, recency, age))
        peer, peer_seconds, peer_cpu = timed(lambda: BetaGeoFitter().fit(x_float, recency_weeks, age_weeks))
        ours.append(seconds)
        theirs.append(peer_seconds)
        cpu.append(peer_cpu / cpu_seconds)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    fitted = {"r": law.r, "alpha": law.alpha / 7.0, "a": law.a, "b": law.b}
    line = {
        "bench": "lifetime",
        "customers": options.customers,
        "seconds": round(statistics.median(ours), 3),
        "peer": "lifetimes",
        "peer_seconds": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(theirs) / statistics.median(ours), 1),
        "cpu_ratio": round(statistics.median(cpu), 1),
        "runs": [round(b / a, 1) for a, b in zip(ours, theirs, strict=True)],
        "planted": PLANTED,
        "fitted": {name: round(value, 4) for name, value in fitted.items()},
        "peer_fitted": {name: round(float(peer.params_[name]), 4) for name in PLANTED},
        "commit": commit.stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()
