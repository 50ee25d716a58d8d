"""What policies earn in the closed loop of a shop whose truth is known; see `benchmarks/bench_money.py`."""
