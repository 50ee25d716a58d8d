"""Does measured uplift cover the truth, in worlds that can be lived twice? See `benchmarks/bench_coverage.py`."""
