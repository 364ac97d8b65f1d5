# The same verbs as .ci/run. `make help` lists them.
.PHONY: help build test exhaustive randomness lint format bench docs
PYTHON ?= python
BENCH_OPTIONS ?= --benchmark-columns=min,median --benchmark-group-by=group --benchmark-sort=fullname -q

help:  ## list these verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

build:  ## compile into the active virtual environment
	maturin develop --release

test:  ## run the tests
	$(PYTHON) -m pytest
	cargo test --no-default-features

exhaustive:  ## every float32 through every function of rust/math
	ERMIN_EXHAUSTIVE=1 $(PYTHON) -m pytest tests/test_math.py -k every_float32 -rP

randomness:  ## 10^10 words of the random streams through the large battery
	$(PYTHON) tests/randomness.py

lint:  ## formatting, lints, types, and the stub against the module
	cargo fmt --check
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --no-default-features -- -D warnings
	ruff format --check .
	ruff check .
	mypy
	$(PYTHON) -m mypy.stubtest ermin._core --allowlist .ci/stubtest-allowlist

format:  ## format everything
	cargo fmt
	ruff format .
	ruff check --fix .

bench:  ## every hot loop against its peers, on one core
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 ERMIN_NUM_THREADS=1 \
	$(shell command -v taskset > /dev/null && echo taskset -c 0) \
	$(PYTHON) -m pytest benches -o python_files='bench_*.py' -o python_functions='bench_*' $(BENCH_OPTIONS)

docs:  ## run every example of the documentation
	$(PYTHON) -m pytest tests/test_docs.py
	cd / && $(PYTHON) -m pytest -q -p no:cacheprovider --doctest-modules --pyargs ermin
