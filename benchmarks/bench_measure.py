"""The whole way of a measurement at scale: records, outcomes, checks, attribution and the permutation tests.

    python benchmarks/bench_measure.py [--scale 1.0] [--memory 2GB] [--threads 2] [--permutations 1999]

At scale 1: 5 M assigned customers (5 % held out), 20 M order lines of 8 M orders over two years, one decision for every
second customer of the last four weeks, and a click for every twentieth decision. The look is those four weeks, with
the 91 days before as covariate. One JSON line: seconds of wall and CPU by stage, peak resident memory of the process
(the data are made by another), rows. Target at scale 1 on 2 cores: 120 s, 4 GiB.
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
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

START, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 29, tzinfo=UTC)
METRICS = ("profit", "revenue", "orders", "conversion")
OFFER = (
    '{"offer_id":"o%s","kind":"for_you","product_id":"p1","incentive":{"type":"percent","value":"10"},'
    '"incentive_name":"ten","list_price":"10.00","final_price":"9.00"}'
)


def make(folder: Path, scale: float) -> None:
    """Parquet files of a synthetic shop; numbers come from a hash of the row, so that all runs see the same."""
    import duckdb

    n = {"customers": int(5e6 * scale), "orders": int(8e6 * scale), "products": 50_000}
    draw = "((hash(i * 64 + {}) >> 11) / 9007199254740992.0)"
    customer = f"CAST(floor({n['customers']} * pow({draw.format(1)}, 1.5)) AS BIGINT)"
    group = (
        "CASE WHEN ((hash({} * 64 + 20) >> 11) / 9007199254740992.0) < 0.05 THEN 'holdout' ELSE 'treated' END"
    )
    parts = {
        "orders": f"""
            SELECT 'O' || lpad(CAST(i AS VARCHAR), 9, '0') AS order_id,
                CASE WHEN {draw.format(9)} < 0.03 THEN NULL ELSE
                    'C' || lpad(CAST({customer} AS VARCHAR), 8, '0')
                END AS customer_id,
                'P' || CAST(CAST(floor({n["products"]} * {draw.format(2)}) AS BIGINT) + line AS VARCHAR) AS product_id,
                CAST(1 AS DECIMAL(18,3)) AS quantity,
                TIMESTAMP '2024-02-01' + to_seconds(CAST(floor({draw.format(3)} * 62899200) AS BIGINT)) AS ordered_at,
                CAST(exp(3 + 8 * {draw.format("4 + line")}) AS BIGINT) AS revenue, CAST(NULL AS BIGINT) AS cost,
                CAST(NULL AS VARCHAR) AS promo_code, CAST(NULL AS BIGINT) AS points_spent, 'web' AS channel
            FROM (SELECT i, UNNEST(range(2 + CAST(i % 2 AS BIGINT))) AS line FROM range({n["orders"]}) AS t(i))""",
        "products": f"""
            SELECT 'P' || CAST(i AS VARCHAR) AS product_id, 'Food > Aisle ' || CAST(i % 50 AS VARCHAR) AS category
            FROM range({n["products"]} + 3) AS t(i)""",
        "assigned": f"""
            SELECT 'always-on' AS experiment, CAST(1 AS INTEGER) AS version,
                'C' || lpad(CAST(i AS VARCHAR), 8, '0') AS unit_id,
                {group.format("i")} AS "group",
                TIMESTAMP '2026-01-01' + to_seconds(CAST(floor({draw.format(21)} * 600) AS BIGINT)) AS assigned_at,
                'segment ' || CAST(i % 8 AS VARCHAR) AS stratum
            FROM range({n["customers"]}) AS t(i)""",
        "decided": f"""
            SELECT 'd' || CAST(i AS VARCHAR) AS decision_id, 'C' || lpad(CAST(i * 2 AS VARCHAR), 8, '0') AS unit_id,
                {group.format("(i * 2)")} AS "group",
                TIMESTAMP '2026-01-02' + to_seconds(CAST(floor({draw.format(31)} * 86400) AS BIGINT)) AS "at",
                'weekly' AS campaign, '[{OFFER % 1},{OFFER % 2}]' AS slate
            FROM range({n["customers"] // 2}) AS t(i)""",
        "happened": f"""
            SELECT 'e' || CAST(i AS VARCHAR) AS event_id, 'd' || CAST(i * 20 AS VARCHAR) AS decision_id,
                'o1' AS offer_id, 'promotion-clicked' AS type, TIMESTAMP '2026-01-05' AS "at"
            FROM range({n["customers"] // 40}) AS t(i)
            WHERE {group.format("(i * 40)")} = 'treated'""",
    }
    con = duckdb.connect()
    con.execute("SET memory_limit = '3GB'")
    con.execute(f"SET temp_directory = '{folder}'")
    for name, query in parts.items():
        con.execute(f"COPY ({query}) TO '{folder / name}.parquet' (FORMAT parquet, COMPRESSION zstd)")


def run(folder: Path, memory: str, threads: int, n_permutations: int) -> dict[str, object]:
    """Measure once; what the ledger holds comes as Arrow tables, as it does from the database."""
    import pyarrow.parquet as pq

    from nextoffer.measurement.attribution import attributed
    from nextoffer.measurement.checks import check
    from nextoffer.measurement.experiment import permutation_tests, seed_of
    from nextoffer.measurement.outcomes import Look, observe
    from nextoffer.measurement.records import Records

    stages: dict[str, dict[str, float]] = {}

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        stages[name] = {
            "seconds": round(time.perf_counter() - wall, 2),
            "cpu": round(time.process_time() - cpu, 2),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        }

    with stage("read the ledger"):
        ledger = {
            name: pq.read_table(folder / f"{name}.parquet") for name in ("assigned", "decided", "happened")
        }
    with stage("records"):
        records = Records.open(
            orders=folder / "orders.parquet",
            products=folder / "products.parquet",
            assignments=ledger["assigned"],
            decisions=ledger["decided"],
            events=ledger["happened"],
            currency="GBP",
            margin_share=0.3,
            memory_limit=memory,
            temp_directory=folder / "spill",
            threads=threads,
        )
    look = Look("always-on", 1, START, END)
    with stage("outcomes"):
        observed = observe(records, look)
    with stage("checks"):
        checks = check(records, look, observed, holdout_share=0.05)
    with stage("attribution"):
        found = attributed(records, START, END)
    n_lines = records.row("SELECT COUNT(*) FROM lines")[0]
    records.close()
    with stage("permutation tests"):
        effects = permutation_tests(
            observed.matrix(METRICS),
            observed.treated,
            observed.n_treated,
            observed.n_holdout,
            seed=seed_of("always-on", 1, "bench"),
            n_permutations=n_permutations,
            before=observed.matrix_before(METRICS),
        )
    total = sum(one["seconds"] for one in stages.values())
    return {
        "seconds": round(total, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "stages": stages,
        "assigned": observed.n_treated + observed.n_holdout,
        "lines": n_lines,
        "rows": len(observed.treated),
        "permutations": n_permutations,
        "metrics": len(METRICS),
        "blocked": checks.blocked,
        "attributed_orders": found.n_orders,
        "effects": {
            name: [effect.verdict, effect.difference] for name, effect in zip(METRICS, effects, strict=True)
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--memory", default="2GB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--permutations", type=int, default=1_999)
    parser.add_argument("--folder", type=Path, help="keep the data here, and use what is there")
    parser.add_argument("--make", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.make:
        make(asked.folder, asked.scale)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "happened.parquet").exists():
            wanted = ["--make", "--folder", str(folder), "--scale", str(asked.scale)]
            subprocess.run([sys.executable, __file__, *wanted], check=True)
        figures = run(folder, asked.memory, asked.threads, asked.permutations)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=Path(__file__).parent
    ).stdout.strip()
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(
        json.dumps(
            {"benchmark": "measure", "scale": asked.scale, "commit": commit, "machine": machine, **figures}
        )
    )


if __name__ == "__main__":
    main()
