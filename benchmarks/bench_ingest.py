"""Event ingest: client processes report to one ledger in batches of 100, as a busy shop's servers do. JSON lines.

    python benchmarks/bench_ingest.py [--clients 4] [--batches 60] [--size 100] [--store sqlite postgresql]

Two lines per database:

- `record`: each process checks its events (`parse_event`) and writes them (`Ledger.record_events`), one transaction a
  batch; a batch in twenty is sent twice, as after a timeout, and must not count again;
- `api`: one server process, the clients POST the same JSON to `/v1/events`; batches that arrive together share a flush.

Commits wait for the disk (SQLite: synchronous=FULL; PostgreSQL: fsync and synchronous_commit on). `raw_per_s` is a bare
`executemany` of ready rows into the same table by the same processes, with the same flushes and without any check:
what the database and the disk allow; `ratio` is ours to that. The events there are counted in the database.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import postgres
from nextoffer.api.app import create_app
from nextoffer.config import Secrets, parse_settings
from nextoffer.tracking.ledger import open_ledger
from nextoffer.tracking.parse import parse_event

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
BAR = {"sqlite": 2_000, "postgresql": 4_000}  # events a second, in batches of 100
AGAIN = 20  # a batch in so many is sent twice
COLUMNS = "event_id, decision_id, offer_id, unit_id, product_id, type, at, payload, received_at".split(", ")
KEY = "bench-" + "k" * 32


def batch_of(client, number, size):
    """What a shop sends: views, clicks, carts, some by visitors who log in, and a purchase in fifty."""
    draw = np.random.default_rng([client, number])
    kinds = draw.choice(
        ["view_item", "add_to_cart", "select_promotion", "purchase"], size, p=[0.7, 0.18, 0.1, 0.02]
    )
    late = draw.integers(0, 86_400, size)  # seconds: they come late, and not in order
    events = []
    for n, (kind, seconds) in enumerate(zip(kinds.tolist(), late.tolist(), strict=True)):
        name, person, product = (
            f"{client}-{number}-{n}",
            int(draw.integers(50_000)),
            f"P{draw.integers(5_000):05d}",
        )
        event = {
            "event_id": name,
            "event_type": kind,
            "occurred_at": (NOW - timedelta(seconds=seconds)).isoformat(),
            "product_id": product,
        }
        if person % 3:
            event["customer_id"] = f"C{person:06d}"
        if person % 3 == 0 or person % 10 == 1:
            event["visitor_id"] = f"v-{person:08x}"
        if kind == "select_promotion":
            event |= {"attribution_token": f"d-{person}", "offer_id": f"o-{product}"}
        if kind == "purchase":
            line = {"product_id": product, "quantity": 2, "unit_price": "2.55"}
            event["order"] = {"order_id": f"order-{name}", "lines": [line, line | {"quantity": 1}]}
        events.append(event)
    return events


def plan(client, options):
    """A client's batches, made before the clock runs; some are there twice in a row."""
    made = [batch_of(client, number, options.size) for number in range(options.batches)]
    return [batch for number, batch in enumerate(made) for _ in range(2 if number % AGAIN == 0 else 1)]


def recording(url, batches):
    """A function that writes one batch into the ledger, and one that closes it."""
    ledger = open_ledger(url, checkpoints=False)

    def send(batch):
        return ledger.record_events([parse_event(item, UTC, "GBP", NOW) for item in batch])[0]

    return batches, send, ledger.close


def posting(port, batches):
    """The same over HTTP, on one connection that is kept."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}

    def send(body):
        connection.request("POST", "/v1/events", body, headers)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 200, told
        assert not told["rejected"], told["rejected"][:1]
        return told["accepted"]

    return [json.dumps(batch).encode() for batch in batches], send, connection.close


def bare(url, batches):
    """Rows made beforehand, written by the driver alone."""
    moment = int(NOW.timestamp() * 1_000_000)
    rows = [
        [
            (
                f"raw-{item['event_id']}",
                None,
                None,
                "C000001",
                item["product_id"],
                "detail-page-view",
                moment,
                None,
                moment,
            )
            for item in batch
        ]
        for batch in batches
    ]
    mark = "?" if url.startswith("sqlite") else "%s"
    insert = (
        f"INSERT INTO events ({', '.join(COLUMNS)}) VALUES ({', '.join([mark] * 9)}) ON CONFLICT DO NOTHING"
    )
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=60, isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        cursor = connection.cursor()
        begin = "BEGIN IMMEDIATE"
    else:
        import psycopg

        target = urlsplit(url)
        where = {name: values[0] for name, values in parse_qs(target.query).items()}
        connection = psycopg.connect(user="ledger", dbname=target.path.strip("/"), autocommit=True, **where)
        cursor = connection.cursor()
        begin = "BEGIN"

    def send(batch):
        cursor.execute(begin)
        cursor.executemany(insert, batch)
        cursor.execute("COMMIT")
        return len(batch)

    return rows, send, connection.close


def client(make, target, number, options, ready, go, answers):
    """One client: seconds of each batch, events accepted, CPU seconds."""
    try:
        batches, send, close = make(target, plan(number, options))
        ready.release()
        go.wait()
        took, accepted, cpu = [], 0, time.process_time()
        for batch in batches:
            start = time.perf_counter()
            accepted += send(batch)
            took.append(time.perf_counter() - start)
        answers.put((took, accepted, time.process_time() - cpu))
        close()
    except Exception as error:
        ready.release()
        answers.put(error)
        raise


def run(make, target, options):
    """All clients at once: seconds of each batch, events sent, events accepted, CPU of the clients, seconds in all."""
    fork = multiprocessing.get_context("fork")  # the packages are imported already
    ready, go, answers = fork.Semaphore(0), fork.Event(), fork.Queue()
    clients = [
        fork.Process(target=client, args=(make, target, number, options, ready, go, answers))
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
    if failed := [one for one in told if isinstance(one, Exception)]:
        raise failed[0]
    took = np.concatenate([one for one, _, _ in told])
    return took, len(took) * options.size, sum(n for _, n, _ in told), sum(cpu for *_, cpu in told), seconds


@contextmanager
def serving(url) -> Iterator[int]:
    """The port of an API over a ledger, in a process of its own; no bundle is needed to take events."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = multiprocessing.get_context("fork").Process(target=_serve, args=(url, port), daemon=True)
    server.start()
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError as error:
            if not server.is_alive():
                raise RuntimeError("the API did not start") from error
            time.sleep(0.05)
    try:
        yield port
    finally:
        server.terminate()
        server.join()


def _serve(url, port):
    import uvicorn

    class NoBundle:
        def current(self):
            raise RuntimeError("only events are served here")

        def warnings(self):
            return ()

        def start(self):
            pass

        def close(self):
            pass

    document = {"currency": "GBP", "timezone": "UTC", "history": {"orders": {"path": "orders.csv"}}}
    settings = parse_settings(document, "nextoffer.toml", Path("/nowhere"))
    app = create_app(
        NoBundle(), open_ledger(url, checkpoints=False), settings, Secrets(server_keys=(KEY,)), lambda: NOW
    )
    uvicorn.run(app, port=port, log_level="error", access_log=False)


@contextmanager
def emptied(url) -> Iterator[None]:
    """What a server does beside: SQLite's log is emptied into the file now and then, by one who does nothing else.

    In a process of its own: a connection to SQLite must not be carried across a fork.
    """
    fork = multiprocessing.get_context("fork")
    stop = fork.Event()
    process = fork.Process(target=_empty, args=(url, stop), daemon=True)
    process.start()
    try:
        yield
    finally:
        stop.set()
        process.join()


def _empty(url, stop):
    ledger = open_ledger(url)
    while not stop.wait(1.0):
        ledger.checkpoint()
    ledger.close()


def line_of(what, store, url, options):
    """One run of ours and one of the bare driver, on the same database."""
    with emptied(url):
        if what == "api":
            with serving(url) as port:
                took, sent, accepted, cpu, seconds = run(posting, port, options)
        else:
            took, sent, accepted, cpu, seconds = run(recording, url, options)
        there = open_ledger(url)
        kept = there.events(only=("event_id",)).num_rows
        there.close()
        _, raw_sent, _, _, raw_seconds = run(bare, url, options)
    expected = options.clients * options.batches * options.size
    p50, p95, p99 = np.percentile(took * 1_000, [50, 95, 99])
    per_s, raw_per_s = sent / seconds, raw_sent / raw_seconds
    return {
        "bench": "ingest",
        "store": store,
        "what": what,
        "clients": options.clients,
        "batch": options.size,
        "right": kept == accepted == expected,
        "events": sent,
        "accepted": accepted,
        "seconds": round(seconds, 2),
        "events_per_s": round(per_s),
        "bar": BAR[store],
        "p50_ms": round(p50, 1),
        "p95_ms": round(p95, 1),
        "p99_ms": round(p99, 1),
        "client_cpu_us_per_event": round(1e6 * cpu / sent, 1),
        "raw_per_s": round(raw_per_s),
        "ratio": round(per_s / raw_per_s, 2),
    }


@contextmanager
def stores(chosen) -> Iterator[dict]:
    """Name of a database -> a function that makes a new one and gives its URL."""
    with tempfile.TemporaryDirectory(prefix="nextoffer-ingest-") as folder:
        made = {}
        if "sqlite" in chosen:
            made["sqlite"] = lambda name: f"sqlite:///{folder}/{name}.sqlite"
        reason = postgres.missing()
        if "postgresql" in chosen and reason is None:
            with postgres.server(durable=True) as server:
                yield {**made, "postgresql": server.create}
            return
        if "postgresql" in chosen:
            print(f"postgresql left out: {reason}", file=sys.stderr)
        yield made


def main():
    """Print the lines; exit 1 if an event was lost, or counted twice."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--batches", type=int, default=60, help="of each client")
    parser.add_argument("--size", type=int, default=100)
    parser.add_argument("--store", nargs="+", choices=list(BAR), default=list(BAR))
    options = parser.parse_args()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    wrong = False
    with stores(options.store) as made:
        for store, create in made.items():
            for what in ("record", "api"):
                line = line_of(what, store, create(what), options)
                wrong |= not line["right"]
                line["load"] = round(os.getloadavg()[0], 1)
                machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
                print(json.dumps({**line, "commit": commit.stdout.strip(), "machine": machine}), flush=True)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
