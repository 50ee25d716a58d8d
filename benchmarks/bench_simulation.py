"""How fast the synthetic shop writes a history: 1 M customers, 50 k products, 104 weeks, about 20 M lines.

    python benchmarks/bench_simulation.py [--customers N] [--products N] [--workers N] [--folder DIR]

One JSON line: seconds, lines, seconds per million lines, peak memory of the largest process, and the bars
(20 M lines in under 240 s, under 1 GB a process).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import tempfile
import time
from pathlib import Path

from nextoffer.simulation.columns import SHOP_VERSION
from nextoffer.simulation.settings import ShopSettings
from nextoffer.simulation.shop import Shop


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def megabytes(who: int) -> float:
    return round(resource.getrusage(who).ru_maxrss / 1024, 1)


def cpu_seconds() -> float:
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in usage)


def run(customers: int, products: int, workers: int, folder: Path) -> dict[str, object]:
    revision = commit()
    settings = ShopSettings(customers=customers, products=products, rate=0.04, guests=0.0)
    start = time.perf_counter()
    paths = Shop(settings).write_history(folder, workers=workers)
    seconds = time.perf_counter() - start
    size = sum(path.stat().st_size for path in paths.orders.glob("*.parquet"))
    return {
        "bench": "simulation",
        "commit": revision,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "shop_version": SHOP_VERSION,
        "customers": customers,
        "products": products,
        "workers": workers,
        "lines": paths.order_lines,
        "seconds": round(seconds, 1),
        "seconds_per_million_lines": round(seconds / paths.order_lines * 1e6, 2),
        "bytes_per_line": round(size / paths.order_lines, 1),
        "peak_mb_main": megabytes(resource.RUSAGE_SELF),
        "bars": {"seconds": 240, "peak_mb_per_process": 1024},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the history here; else it is thrown away")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = run(given.customers, given.products, given.workers, given.folder or Path(scratch))
    from joblib.externals.loky import get_reusable_executor

    if given.workers > 1:  # ended children are the only ones whose memory and time are known
        get_reusable_executor().shutdown(wait=True)
    found["peak_mb_worker"] = megabytes(resource.RUSAGE_CHILDREN)
    found["cpu_seconds"] = round(cpu_seconds(), 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
