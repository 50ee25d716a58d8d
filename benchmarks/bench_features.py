"""Each feature table by its SQL file on DuckDB, and the same table in pandas: seconds and peak memory.

    python benchmarks/bench_features.py [--lines 2000000] [--repeats 3] [--whole]

Both sides read the same Parquet inputs and write the same Parquet output, in turns; ratios are of medians.
`--whole` instead runs `build_features` once and reports the seconds of each file. One JSON line per result.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from nextoffer.config import EngineSettings
from nextoffer.engines.duckdb import DuckDBEngine
from nextoffer.features.build import SQL_FILES, build_features, sql_text

AS_OF = datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)
HALF_LIFE_DAYS = 90.0


def make_history(folder: Path, n_lines: int, seed: int = 0) -> None:
    """A canonical folder: 20 lines per customer, 5 per order, 2 % returns, 3 % guests, Zipf-like products."""
    rng = np.random.default_rng(seed)
    n_customers, n_orders, n_products = n_lines // 20, n_lines // 5, max(500, min(50_000, n_lines // 100))
    keen = rng.gamma(0.7, size=n_customers)
    customer = rng.choice(n_customers, n_orders, p=keen / keen.sum())
    guest = rng.random(n_orders) < 0.03
    second = np.sort(rng.integers(0, 730 * 86_400, n_orders))
    order = np.repeat(np.arange(n_orders), rng.poisson(4.0, n_orders) + 1)[:n_lines]
    n_lines = len(order)
    liked = _zipf(rng, n_products, (n_customers, 8))
    product = np.where(
        rng.random(n_lines) < 0.5,
        liked[customer[order], rng.integers(0, 8, n_lines)],
        _zipf(rng, n_products, n_lines),
    )
    returned = np.flatnonzero(rng.random(n_lines) < 0.02)
    order = np.concatenate([order, order[returned]])
    product = np.concatenate([product, product[returned]])
    quantity = np.concatenate([1 + rng.poisson(0.3, n_lines), np.full(len(returned), -1)])
    late = np.concatenate([np.zeros(n_lines, np.int64), rng.integers(1, 20, len(returned)) * 86_400])
    price = rng.integers(50, 5_000, n_products)[product]
    moment = np.datetime64(AS_OF - timedelta(days=730), "us") + (second[order] + late).astype("m8[s]")
    ids = {
        "order_id": _ids("O", order, n_orders),
        "customer_id": _ids("C", customer[order], n_customers, guest[order]),
        "product_id": _ids("P", product, n_products),
    }
    rest = {
        "quantity": pa.array(quantity.astype(np.float64)).cast(pa.decimal128(18, 3)),
        "ordered_at": pa.array(moment, pa.timestamp("us")),
        "row": pa.array(np.arange(1, len(order) + 1)),
        "revenue": pa.array(price * quantity),
    }
    pq.write_table(pa.table({**ids, **rest}), folder / "orders.parquet", compression="zstd")
    every = _ids("P", np.arange(n_products), n_products)
    pq.write_table(pa.table({"product_id": every}), folder / "products.parquet")


def _zipf(rng: np.random.Generator, n: int, size: int | tuple[int, ...]) -> np.ndarray:
    """Ranks 0..n-1 whose frequency falls as rank to the power −0.6: of 50,000 the first has 1 line in 75."""
    return np.minimum((n * rng.random(size) ** 2.5).astype(np.int64), n - 1)


def _ids(letter: str, rows: np.ndarray, n: int, null: np.ndarray | None = None) -> pa.Array:
    names = pa.array([f"{letter}{row:08d}" for row in range(n)])
    return names.take(pa.array(rows, pa.int64(), mask=null))


def _read(folder: Path, name: str, *columns: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet", columns=list(columns) or None)


def products_index(folder: Path) -> pd.DataFrame:
    products = _read(folder, "products", "product_id").sort_values("product_id", ignore_index=True)
    products.insert(0, "product_row", np.arange(len(products), dtype=np.int32))
    return products


def customers_known(folder: Path) -> pd.DataFrame:
    lines = _read(folder, "orders", "customer_id", "ordered_at")
    ids = np.sort(lines.loc[lines["ordered_at"] < AS_OF, "customer_id"].dropna().unique())
    return pd.DataFrame({"known_row": np.arange(len(ids), dtype=np.int32), "customer_id": ids})


def orders_known(folder: Path) -> pd.DataFrame:
    lines = _read(folder, "orders", "order_id", "customer_id", "ordered_at")
    lines = lines[lines["ordered_at"] < AS_OF]
    heads = (
        lines.groupby(["order_id", "customer_id"], dropna=False, sort=False)["ordered_at"].min().reset_index()
    )
    heads = heads.merge(_read(folder, "customers_known"), on="customer_id", how="left")
    heads = heads.sort_values(["order_id", "known_row"], ignore_index=True)
    heads.insert(0, "order_row", np.arange(len(heads), dtype=np.int32))
    return heads.assign(age_days=(AS_OF - heads["ordered_at"]).dt.days.astype(np.int32))


def lines(folder: Path) -> pd.DataFrame:
    columns = ("row", "order_id", "customer_id", "product_id", "ordered_at", "quantity", "revenue")
    lines = _read(folder, "orders", *columns)
    lines = lines[lines["ordered_at"] < AS_OF].merge(_read(folder, "products_index"), on="product_id")
    orders = _read(folder, "orders_known", "order_row", "order_id", "customer_id", "known_row")
    lines = lines.merge(orders, on=["order_id", "customer_id"])
    lines["party"] = lines["known_row"].fillna(-1 - lines["order_row"]).astype(np.int32)
    lines["quantity"] = lines["quantity"].astype(np.float64)
    return lines[["row", "party", "order_row", "product_row", "ordered_at", "quantity", "revenue"]]


def net_lines(folder: Path) -> pd.DataFrame:
    lines = _read(folder, "lines").assign(quantity=lambda t: t["quantity"].astype(np.float64))
    key = ["party", "product_row"]
    returned = lines.loc[lines["quantity"] < 0, key].drop_duplicates().assign(has_return=True)
    lines = lines.merge(returned, on=key, how="left")
    has_return = lines.pop("has_return").notna()
    some = lines[has_return].sort_values([*key, "ordered_at", "row"])
    after = some.groupby(key)["quantity"].cumsum()
    deepest = after[::-1].groupby([some["party"][::-1], some["product_row"][::-1]]).cummin()[::-1]
    kept = np.minimum(some["quantity"], deepest - (after - some["quantity"]))
    some = some.assign(
        quantity=kept, revenue=(some["revenue"] * kept / some["quantity"]).round().astype(np.int64)
    )
    net = pd.concat([lines[~has_return], some])
    return net.loc[net["quantity"] > 0, ["party", "order_row", "product_row", "quantity", "revenue"]]


def customers_index(folder: Path) -> pd.DataFrame:
    party = _read(folder, "net_lines", "party")["party"]
    known = _read(folder, "customers_known")
    index = known[known["known_row"].isin(party[party >= 0].unique())].reset_index(drop=True)
    return index.assign(customer_row=np.arange(len(index), dtype=np.int32))


def purchases(folder: Path) -> pd.DataFrame:
    net = _read(folder, "net_lines", "order_row", "product_row", "quantity", "revenue")
    net["quantity"] = net["quantity"].astype(np.float64)
    bought = net.groupby(["order_row", "product_row"], sort=False).sum().reset_index()
    orders = _read(folder, "orders_known", "order_row", "order_id", "known_row", "age_days")
    index = _read(folder, "customers_index", "customer_row", "known_row")
    orders = orders.merge(index, on="known_row", how="left").drop(columns="known_row")
    return bought.merge(orders, on="order_row")


def shop_orders(folder: Path) -> pd.DataFrame:
    bought = _read(folder, "purchases", "order_row", "customer_row", "product_row", "revenue")
    totals = bought.groupby("order_row").agg(
        customer_row=("customer_row", "min"), n_products=("product_row", "size"), revenue=("revenue", "sum")
    )
    orders = _read(folder, "orders_known", "order_row", "order_id", "ordered_at", "age_days")
    totals = totals.reset_index().merge(orders, on="order_row")
    newest = totals.sort_values(["ordered_at", "order_row"], ascending=[False, True])
    totals["order_rank"] = newest.groupby("customer_row").cumcount() + 1
    totals["new_day"] = ~newest.duplicated(["customer_row", "age_days"])
    return totals.drop(columns="ordered_at")


def pairs(folder: Path) -> pd.DataFrame:
    columns = ("order_row", "customer_row", "product_row", "age_days", "quantity", "revenue")
    bought = _read(folder, "purchases", *columns).dropna(subset=["customer_row"])
    bought = bought.merge(_read(folder, "shop_orders", "order_row", "order_rank"), on="order_row")
    bought["weight"] = 0.5 ** (bought["age_days"] / HALF_LIFE_DAYS)
    bought["n_last_3"] = bought["order_rank"] <= 3
    bought["in_last"] = bought["order_rank"] == 1
    return (
        bought.groupby(["customer_row", "product_row"])
        .agg(
            n_orders=("age_days", "size"),
            n_days=("age_days", "nunique"),
            first_age_days=("age_days", "max"),
            last_age_days=("age_days", "min"),
            quantity=("quantity", "sum"),
            revenue=("revenue", "sum"),
            weight=("weight", "sum"),
            n_last_3=("n_last_3", "sum"),
            in_last=("in_last", "max"),
        )
        .reset_index()
    )


def rfm(folder: Path) -> pd.DataFrame:
    orders = _read(folder, "shop_orders", "customer_row", "age_days", "revenue", "n_products")
    by_customer = orders.dropna(subset=["customer_row"]).groupby("customer_row")
    table = by_customer.agg(
        recency_days=("age_days", "min"),
        first_age_days=("age_days", "max"),
        frequency=("age_days", "size"),
        n_order_days=("age_days", "nunique"),
        monetary=("revenue", "sum"),
        n_lines=("n_products", "sum"),
    )
    return table.assign(n_products=_read(folder, "pairs", "customer_row").groupby("customer_row").size())


def cooccurrence(folder: Path) -> pd.DataFrame:
    orders = _read(folder, "shop_orders", "order_row", "n_products")
    held = orders.loc[orders["n_products"].between(2, 60), "order_row"]
    baskets = _read(folder, "purchases", "order_row", "product_row")
    baskets = baskets[baskets["order_row"].isin(held)]
    both = baskets.merge(baskets, on="order_row", suffixes=("", "_other"))
    both = both[both["product_row"] < both["product_row_other"]]
    counts = both.groupby(["product_row", "product_row_other"]).size()
    counts = counts[counts >= 2].rename("n_orders").reset_index()
    turned = counts.rename(columns={"product_row": "product_row_other", "product_row_other": "product_row"})
    return pd.concat([counts, turned]).sort_values(["product_row", "product_row_other"])


def popularity(folder: Path) -> pd.DataFrame:
    bought = _read(folder, "purchases", "product_row", "age_days", "quantity", "revenue")
    pairs = _read(folder, "pairs", "product_row", "n_orders", "last_age_days")
    spans = (10, 28, 91)
    for days in spans:
        bought[f"n_orders_{days}"] = bought["age_days"] < days
        pairs[f"n_customers_{days}"] = pairs["last_age_days"] < days
    sold = bought.groupby("product_row").agg(
        n_orders=("age_days", "size"),
        first_age_days=("age_days", "max"),
        last_age_days=("age_days", "min"),
        quantity=("quantity", "sum"),
        revenue=("revenue", "sum"),
        **{f"n_orders_{days}": (f"n_orders_{days}", "sum") for days in spans},
    )
    pairs["repeat"] = pairs["n_orders"] >= 2
    buyers = pairs.groupby("product_row").agg(
        n_customers=("n_orders", "size"),
        n_repeat_customers=("repeat", "sum"),
        **{f"n_customers_{days}": (f"n_customers_{days}", "sum") for days in spans},
    )
    return sold.join(buyers).fillna(0)


PANDAS: dict[str, Callable[[Path], pd.DataFrame]] = {
    table.__name__: table
    for table in (
        products_index,
        customers_known,
        orders_known,
        lines,
        net_lines,
        customers_index,
        purchases,
        shop_orders,
        pairs,
        rfm,
        cooccurrence,
        popularity,
    )
}


@dataclass(frozen=True, slots=True)
class Run:
    """Seconds by the clock and of the processor, and how far the process's memory rose at most, in MiB."""

    seconds: float
    cpu_seconds: float
    rise_mb: float


def measured(run: Callable[[], object]) -> Run:
    """One run; the memory's high-water mark is reset before it."""
    gc.collect()
    pa.default_memory_pool().release_unused()
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    before = _status("VmRSS")
    start, cpu = time.perf_counter(), time.process_time()
    run()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    return Run(seconds, cpu_seconds, max(0.0, _status("VmHWM") - before))


def _status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(field)


def _report(**fields: object) -> None:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(json.dumps({"bench": "features", **fields, "commit": commit, "machine": machine}), flush=True)


def bench(folder: Path, n_lines: int, repeats: int) -> None:
    """Each SQL file against its peer, in turns."""
    params = {"as_of": AS_OF, "stride": 1, "half_life_days": HALF_LIFE_DAYS}
    with DuckDBEngine(EngineSettings(), folder) as engine:
        engine.tables(folder)
        for name in SQL_FILES:
            text, out, peer = sql_text(name), folder / f"{name}.parquet", folder / "peer" / f"{name}.parquet"
            peer.parent.mkdir(exist_ok=True)
            ours, theirs = [], []
            for _ in range(repeats):
                ours.append(measured(lambda: engine.sql(text, params, out)))  # noqa: B023
                theirs.append(
                    measured(lambda: PANDAS[name](folder).to_parquet(peer, compression="zstd"))  # noqa: B023
                )
            same = pq.read_metadata(out).num_rows == pq.read_metadata(peer).num_rows
            if not same:
                raise SystemExit(f"{name}: DuckDB and pandas disagree on the number of rows")
            seconds, pandas_seconds = (median(run.seconds for run in runs) for runs in (ours, theirs))
            cpu, pandas_cpu = (median(run.cpu_seconds for run in runs) for runs in (ours, theirs))
            _report(
                feature=name,
                n_lines=n_lines,
                ratio_pandas_over_duckdb=round(pandas_seconds / seconds, 2),
                ratio_cpu=round(pandas_cpu / cpu, 2),
                seconds=round(seconds, 3),
                pandas_seconds=round(pandas_seconds, 3),
                peak_rss_mb=round(max(run.rise_mb for run in ours)),
                pandas_peak_rss_mb=round(max(run.rise_mb for run in theirs)),
            )


class _Timed(DuckDBEngine):
    """Reports the seconds of each file."""

    def sql(self, text: str, params: object, out: Path) -> None:
        start, cpu = time.perf_counter(), time.process_time()
        super().sql(text, params, out)  # type: ignore[arg-type]
        cpu_seconds = round(time.process_time() - cpu, 1)
        rows, mb = pq.read_metadata(out).num_rows, round(out.stat().st_size / 2**20)
        seconds = round(time.perf_counter() - start, 1)
        _report(
            feature=out.stem,
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            rows=rows,
            mb=mb,
            rss_mb=round(_status("VmHWM")),
        )


def whole(folder: Path, n_lines: int, memory_limit: str | None) -> None:
    """One `build_features` over everything."""
    with _Timed(EngineSettings(memory_limit=memory_limit), folder) as engine:
        run = measured(lambda: build_features(engine, folder, folder / "out", AS_OF.replace(tzinfo=UTC)))
    figures = {"seconds": round(run.seconds, 1), "cpu_seconds": round(run.cpu_seconds, 1)}
    _report(feature="whole", n_lines=n_lines, **figures, peak_rss_mb=round(_status("VmHWM")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=2_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--memory-limit")
    parser.add_argument("--dir", type=Path, help="keep and reuse the history in this folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.dir or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "orders.parquet").exists():
            make_history(folder, options.lines)
        if options.whole:
            whole(folder, options.lines, options.memory_limit)
        else:
            bench(folder, options.lines, options.repeats)


if __name__ == "__main__":
    main()
