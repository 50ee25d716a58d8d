"""The nightly job at scale: 1 M customers, 50 k products, 20 M lines, against its irreducible parts run bare.

    python benchmarks/bench_train.py [--customers N] [--products N] [--folder DIR]

Two processes, one after the other on the same files:

- `train`: the whole job, from Parquet to a published bundle (the gate's sampled backtest is timed apart);
- `bare`: DuckDB reading and grouping the same lines into customer × product, then implicit's ALS fit and
  recommend-all on that matrix, with the factors, iterations and list length the job uses.

One JSON line: the ratio train ÷ bare (bar: at most 2.0), peak memory (bar: 12 GiB), seconds by stage, and which
stage holds most of what the bare parts do not explain.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

CONFIG = """\
currency = "EUR"
timezone = "UTC"
models_dir = "{models}"
[history.orders]
path = "{shop}/orders/*.parquet"
[history.products]
path = "{shop}/products.parquet"
[history.customers]
path = "{shop}/customers.parquet"
[engine]
memory_limit = "6GB"
"""


def commit() -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


def train(shop: Path, scratch: Path) -> dict[str, object]:
    from nextoffer.config import load_settings
    from nextoffer.pipeline import train as nightly

    config = scratch / "nextoffer.toml"
    config.write_text(CONFIG.format(models=scratch / "models", shop=shop))
    as_of = datetime.fromisoformat((shop / "as_of").read_text()).astimezone(UTC)
    start, cpu = time.perf_counter(), time.process_time()
    report = nightly(load_settings(config), as_of, progress=lambda stage: print(stage, file=sys.stderr))
    methods = report.quality["tasks"]["next_purchase"]
    return {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "stages": report.seconds,
        "peak_rss_mb": report.peak_rss_mb,
        "customers": report.customers,
        "rows": report.rows["orders"],
        "ndcg@10": {name: round(figures["ndcg@10"], 4) for name, figures in methods.items()},
    }


def bare(shop: Path, scratch: Path) -> dict[str, object]:
    import duckdb
    import numpy as np
    import scipy.sparse as sp
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    from nextoffer.models.collaborative import ITERATIONS, N_FACTORS, REGULARIZATION

    start, cpu = time.perf_counter(), time.process_time()
    con = duckdb.connect(config={"memory_limit": "6GB", "temp_directory": str(scratch / "spill")})
    pairs = con.execute(
        "SELECT customer_id, product_id, COUNT(DISTINCT order_id) AS n, SUM(quantity) AS quantity,"
        " SUM(quantity * unit_price) AS revenue, MIN(ordered_at) AS first, MAX(ordered_at) AS last"
        f" FROM read_parquet('{shop}/orders/*.parquet') GROUP BY ALL"
    ).to_arrow_table()
    grouped = time.perf_counter()
    codes = {}
    for name in ("customer_id", "product_id"):
        column = pairs[name].combine_chunks().dictionary_encode()
        codes[name] = column.indices.to_numpy(), len(column.dictionary)
    (row, n_rows), (column, n_columns) = codes["customer_id"], codes["product_id"]
    counts = pairs["n"].to_numpy().astype(np.float32)
    matrix = sp.csr_matrix((counts, (row, column)), shape=(n_rows, n_columns))
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=N_FACTORS, regularization=REGULARIZATION, iterations=ITERATIONS, random_state=0
        )
        model.fit(matrix, show_progress=False)
        fitted = time.perf_counter()
        for first in range(0, n_rows, 10_000):
            users = np.arange(first, min(first + 10_000, n_rows))
            model.recommend(users, matrix[users], N=30)
    end = time.perf_counter()
    return {
        "seconds": end - start,
        "cpu_seconds": time.process_time() - cpu,
        "stages": {"group": grouped - start, "als_fit": fitted - grouped, "recommend_all": end - fitted},
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "pairs": len(pairs),
    }


def child(what: str, shop: Path, scratch: Path) -> dict[str, object]:
    """Run one part in a process of its own, so that its peak memory is its own."""
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--part",
        what,
        "--folder",
        str(shop),
        "--scratch",
        str(scratch),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def make_shop(folder: Path, customers: int, products: int) -> None:
    from nextoffer.simulation.settings import ShopSettings
    from nextoffer.simulation.shop import Shop

    shop = Shop(ShopSettings(customers=customers, products=products, rate=0.04, guests=0.0))
    shop.write_history(folder, workers=2)
    (folder / "as_of").write_text(shop.end.isoformat())


def compare(shop: Path, scratch: Path) -> dict[str, object]:
    ours, theirs = child("train", shop, scratch), child("bare", shop, scratch)
    stages = {name: seconds for name, seconds in ours["stages"].items() if name != "judge"}
    rest = {
        "read": stages["read"] - theirs["stages"]["group"] / 2,
        "teach": stages["teach"],
        "learn": stages["learn"] - theirs["stages"]["als_fit"] - theirs["stages"]["group"] / 2,
        "score": stages["score"] - theirs["stages"]["recommend_all"],
        "publish": stages["publish"],
    }
    total = sum(stages.values())
    return {
        "bench": "train",
        "commit": commit(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "ratio": round(total / theirs["seconds"], 3),
        "bar": 2.0,
        "seconds": round(total, 1),
        "bare_seconds": round(theirs["seconds"], 1),
        "judge_seconds_apart": ours["stages"].get("judge"),
        "stages": ours["stages"],
        "bare_stages": {name: round(seconds, 1) for name, seconds in theirs["stages"].items()},
        "most_of_the_rest": max(rest, key=lambda name: rest[name]),
        "rest": {name: round(seconds, 1) for name, seconds in rest.items()},
        "cpu_seconds": round(ours["cpu_seconds"], 1),
        "bare_cpu_seconds": round(theirs["cpu_seconds"], 1),
        "peak_rss_mb": ours["peak_rss_mb"],
        "bar_rss_mb": 12 * 1024,
        "bare_peak_rss_mb": round(theirs["peak_rss_mb"], 1),
        "customers": ours["customers"],
        "lines": ours["rows"]["read"],
        "pairs": theirs["pairs"],
        "ndcg@10": ours["ndcg@10"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1_000_000)
    parser.add_argument("--products", type=int, default=50_000)
    parser.add_argument("--folder", type=Path, help="a shop made before, or where to make and keep one")
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--part", choices=("train", "bare"))
    given = parser.parse_args()
    if given.part:
        part = train if given.part == "train" else bare
        print(json.dumps(part(given.folder, given.scratch)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        shop = given.folder or Path(scratch) / "shop"
        if not (shop / "as_of").exists():
            make_shop(shop, given.customers, given.products)
        print(json.dumps(compare(shop, Path(scratch))))


if __name__ == "__main__":
    main()
