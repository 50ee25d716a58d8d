# `make demo` and `make test` each do all set-up: only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: install demo test test-slow check format bench bench-quality bench-aa bench-money bench-coverage ablation data-named clean

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("nextoffer needs Python 3.11 or newer; set PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $(READY)

install: $(READY)  ## make .venv with nextoffer and its development tools

demo: $(READY)  ## a synthetic shop, end to end, offline
	$(BIN)/nextoffer demo

test: $(READY)  ## the test suite, warnings as errors
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-slow: $(READY)  ## proofs that take minutes
	$(BIN)/python -m pytest -m slow

check: $(READY)  ## lint, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(READY)  ## measurements as JSON lines, ratios within one run
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	for file in $(filter-out %/bench_aa.py %/bench_money.py %/bench_coverage.py,$(wildcard benchmarks/bench_*.py)); do $(BIN)/python $$file || exit 1; done

bench-quality: data-named $(READY)  ## decision quality beside every peer: DATA=folder [SECTIONS="…"] [JSON=file]
	$(BIN)/python -m pip show --quiet lifetimes 2>/dev/null || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -W ignore -m benchmarks.quality "$(DATA)" $(SECTIONS) $(if $(JSON),--json "$(JSON)")

bench-aa: data-named $(READY)  ## false wins, coverage, power, peeking beside Welch and tea-tasting: DATA=folder [ARGS="--reps 400"] [JSON=file]
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	$(BIN)/python -W ignore -m benchmarks.bench_aa "$(DATA)" $(ARGS) $(if $(JSON),--json "$(JSON)")

bench-money: $(READY)  ## what offers earn in shops whose truth is known, beside rules and oracles: [ARGS="--seeds 1"]
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.bench_money $(ARGS)

bench-coverage: $(READY)  ## does measured uplift cover the truth, in shops lived twice: [ARGS="--luck 200"]
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.bench_coverage $(ARGS)

ablation: data-named $(READY)  ## what each part of the ranker is worth, into docs/ablation.md: DATA=folder
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -W ignore -m benchmarks.ablation "$(DATA)"

data-named:
	@test -n "$(DATA)" || { echo 'name the folder of data sets: make $(MAKECMDGOALS) DATA=folder' >&2; exit 2; }

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
