"""What a night of quality costs on tafeng_dnntsp, in CPU seconds of implicit's ALS with its defaults.

Ours: features, lessons, teaching, learning and the scores of all customers; "stored ranker" leaves out lessons
and teaching. Theirs: fit on the same users × products counts, and recommend(50) to all. Each runs in a fresh
process with one thread; reading the data and importing packages are counted on neither side.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from statistics import median
from time import process_time
from typing import TypeVar

import numpy as np
from benchmarks.quality.lines import Line, say
from benchmarks.quality.splits import kitchen_of, ranker_of, tafeng_dnntsp

T = TypeVar("T")
PEER = "ALS default, fit + recommend(50)"
LENGTH = 50
N_PEER_RUNS = 3  # short: the median of so many processes
RETRAINING, STORED, MOST_GB = 12.0, 4.0, 1.0
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
IMPORTS = ("implicit.cpu.als", "sklearn.ensemble", "scipy.linalg", "scipy.optimize", "threadpoolctl")


def lines(data: Path) -> list[Line]:
    """CPU seconds against the peer's, and the peak memory of the night."""
    say(f"cost: ALS, {N_PEER_RUNS} times")
    theirs = median(in_fresh_process("als", data)["cpu"] for _ in range(N_PEER_RUNS))
    say("cost: the night")
    night = in_fresh_process("night", data)
    say(", ".join(f"{name} {value:.1f}" for name, value in night.items()) + f", ALS {theirs:.1f}")
    stored = night["learn"] + night["score"]
    return [
        _ratio("with retraining", night["teach"] + stored, theirs, RETRAINING),
        _ratio("with a stored ranker", stored, theirs, STORED),
        Line(
            "cost",
            "tafeng_dnntsp",
            "peak memory, GB (at most 1)",
            night["peak_gb"],
            target=MOST_GB,
            passed=night["peak_gb"] <= MOST_GB,
        ),
    ]


def _ratio(what: str, ours: float, theirs: float, most: float) -> Line:
    metric = f"CPU seconds, {what} (lower is better)"
    passed = ours <= most * theirs
    return Line("cost", "tafeng_dnntsp", metric, ours, PEER, theirs, gate=most, passed=passed)


def in_fresh_process(part: str, data: Path) -> dict[str, float]:
    """What a part measured of itself."""
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.quality.cost", part, str(data)]
    environment = os.environ | dict.fromkeys(THREADS, "1")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def night(data: Path) -> dict[str, float]:
    """CPU seconds of each step of our night, and its peak memory."""
    from nextoffer.models.ranker import BLOCK, score_batch
    from nextoffer.models.recipe import Past, learn_all

    with kitchen_of(tafeng_dnntsp(data), threads=1) as (kitchen, as_of, first_order_at):
        teach, ranker = _timed(lambda: ranker_of(Past.of(kitchen, first_order_at, as_of), as_of))
        learn, learned = _timed(lambda: learn_all(kitchen, as_of, None))
        knowledge = learned.knowledge
        n = len(knowledge.customers)

        def score_all() -> None:
            for start in range(0, n, BLOCK):
                score_batch(ranker, knowledge, np.arange(start, min(start + BLOCK, n)))

        score, _ = _timed(score_all)
    return {"teach": teach, "learn": learn, "score": score, "peak_gb": peak_gb()}


def als(data: Path) -> dict[str, float]:
    """CPU seconds of the peer."""
    from implicit.cpu.als import AlternatingLeastSquares

    counts = tafeng_dnntsp(data).matrix().astype(np.float32)

    def fit_and_recommend() -> None:
        model = AlternatingLeastSquares(random_state=0, num_threads=1)
        model.fit(counts, show_progress=False)
        model.recommend(np.arange(counts.shape[0]), counts, N=LENGTH)

    return {"cpu": _timed(fit_and_recommend)[0], "peak_gb": peak_gb()}


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = process_time()
    result = work()
    return process_time() - start, result


def peak_gb() -> float:
    """Most memory this process held. `getrusage` would count what the process that started it held before."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


if __name__ == "__main__":
    for name in IMPORTS:
        import_module(name)
    print(json.dumps({"als": als, "night": night}[sys.argv[1]](Path(sys.argv[2]))))
