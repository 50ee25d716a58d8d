"""64 client processes after 200 single-use codes: each is redeemed once, and no quota is oversold. JSON lines.

    python benchmarks/bench_codes.py [--clients 64] [--codes 200] [--rounds 2] [--store sqlite postgresql]

Each client opens the ledger, waits for the others, and then tries every code, in an order of its own, `rounds` times,
each time for another order. Three lines per database:

- `single-use`: the codes alone decide, so `redeemed` must be the number of codes;
- `quota`: the codes share a quota of half their number, so that must be it;
- `every attempt writes`: codes that may be used without end, one redemption per flush: what the disk allows.

Commits wait for the disk (SQLite: synchronous=FULL; PostgreSQL: fsync and synchronous_commit on). What was redeemed is
counted in the database, not by the clients. PostgreSQL is started here, and left out if it is not installed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import postgres
from nextoffer.tracking.codes import Ask, Grant
from nextoffer.tracking.discounts import Basket
from nextoffer.tracking.ledger import open_ledger

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
ENDLESS = 2**31 - 1
BAR = {"sqlite": 5_000, "postgresql": 1_500}  # attempts a second


def client(url, number, codes, rounds, ready, go, answers):
    """One client: (latencies in seconds, how many were redeemed, CPU seconds) of all its attempts."""
    ledger = open_ledger(url, checkpoints=False)
    order = np.random.default_rng(number)
    plan = [(turn, at) for turn in range(rounds) for at in order.permutation(len(codes))]
    asks = [
        Ask(codes[at], f"customer{at}", Basket(f"order-{number}-{turn}-{at}", 5_000, "GBP"))
        for turn, at in plan
    ]
    ready.release()
    go.wait()
    took, valid, cpu = [], 0, time.process_time()
    for ask in asks:
        start = time.perf_counter()
        valid += ledger.codes.redeem(ask, NOW).valid
        took.append(time.perf_counter() - start)
    answers.put((took, valid, time.process_time() - cpu))
    ledger.close()


def run(url, options, max_uses, quota, rounds):
    """One fight for the codes; what the clients were told, what the database says, and how long it took."""
    ledger = open_ledger(url)
    until = NOW + timedelta(days=14)
    codes = ledger.codes.issue(
        [
            Grant(
                f"customer{n}",
                f"offer{n}",
                {"type": "percent", "value": "10"},
                "GBP",
                NOW,
                until,
                max_uses=max_uses,
                quota_key="ten",
                quota=quota,
            )
            for n in range(options.codes)
        ]
    )
    ledger.close()
    fork = multiprocessing.get_context("fork")  # the packages are imported already
    ready, go, answers = fork.Semaphore(0), fork.Event(), fork.Queue()
    clients = [
        fork.Process(target=client, args=(url, number, codes, rounds, ready, go, answers))
        for number in range(options.clients)
    ]
    for process in clients:
        process.start()
    for _ in clients:
        ready.acquire()
    start = time.perf_counter()
    go.set()
    told = [answers.get() for _ in clients]
    seconds = time.perf_counter() - start
    for process in clients:
        process.join()
    used = counted(url)
    took = np.concatenate([one for one, _, _ in told]) * 1_000
    p50, p95, p99 = np.percentile(took, [50, 95, 99])
    return {
        "attempts": len(took),
        "redeemed": used["redemptions"],
        "told_redeemed": int(sum(valid for _, valid, _ in told)),
        "most_of_one_code": used["most"],
        "events": used["events"],
        "seconds": round(seconds, 3),
        "attempts_per_s": round(len(took) / seconds),
        "p50_ms": round(p50, 2),
        "p95_ms": round(p95, 2),
        "p99_ms": round(p99, 2),
        "max_ms": round(took.max(), 2),
        "client_cpu_us_each": round(1e6 * sum(cpu for _, _, cpu in told) / len(took)),
    }


def counted(url):
    """What was redeemed, as the database has it."""
    ledger = open_ledger(url)
    with ledger.engine.connect() as connection:
        queries = {
            "redemptions": "SELECT count(*) FROM redemptions WHERE rolled_back_at IS NULL",
            "most": "SELECT max(n) FROM (SELECT count(*) AS n FROM redemptions GROUP BY code) AS of_code",
            "events": "SELECT count(*) FROM events WHERE type = 'promotion-redeemed'",
        }
        counts = {name: connection.exec_driver_sql(text).scalar() for name, text in queries.items()}
    ledger.close()
    return counts


@contextmanager
def stores(chosen, clients) -> Iterator[dict]:
    """Name of a database -> a function that makes a new one and gives its URL."""
    with tempfile.TemporaryDirectory(prefix="nextoffer-codes-") as folder:
        made = {}
        if "sqlite" in chosen:
            made["sqlite"] = lambda name: f"sqlite:///{folder}/{name}.sqlite"
        reason = postgres.missing()
        if "postgresql" in chosen and reason is None:
            with postgres.server(durable=True, settings=[f"max_connections={clients + 20}"]) as server:
                yield {**made, "postgresql": server.create}
            return
        if "postgresql" in chosen:
            print(f"postgresql left out: {reason}", file=sys.stderr)
        yield made


def main():
    """Print the lines; exit 1 if anything was redeemed too often, or too rarely."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--codes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--store", nargs="+", choices=list(BAR), default=list(BAR))
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    half = options.codes // 2
    fights = (
        ("single-use", 1, None, options.rounds, options.codes),
        ("quota", 1, half, options.rounds, half),
        ("every attempt writes", ENDLESS, None, 1, None),
    )
    wrong = False
    with stores(options.store, options.clients) as made:
        for store, create in made.items():
            for what, max_uses, quota, rounds, expected in fights:
                codes = options.codes if expected is not None else max(1, options.codes // 10)
                chosen = argparse.Namespace(clients=options.clients, codes=codes)
                line = run(create(what.replace(" ", "_").replace("-", "_")), chosen, max_uses, quota, rounds)
                right = line["redeemed"] == (line["attempts"] if expected is None else expected)
                right &= line["redeemed"] == line["told_redeemed"] == line["events"]
                wrong |= not right
                about = {
                    "bench": "codes",
                    "store": store,
                    "what": what,
                    "clients": options.clients,
                    "codes": codes,
                    "right": right,
                }
                if what == "single-use":
                    line["bar"] = BAR[store]
                line["load"] = round(os.getloadavg()[0], 1)
                machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
                print(
                    json.dumps({**about, **line, "commit": commit.stdout.strip(), "machine": machine}),
                    flush=True,
                )
    sys.exit(wrong)


if __name__ == "__main__":
    main()
