# What a contributor types. Everything is installed into .venv, from constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: audit test test-all test-browser examples lint wheel bench clean

audit: .venv/installed          ## the built-in audit: install, run, report
	$(BIN)/auditor run

test: .venv/tested              ## the tests that every change must pass
	$(BIN)/python -m pytest -q -m "not slow and not browser and not examples"

test-all: .venv/tested          ## slow and statistical tests as well
	$(PIP) selenium
	$(BIN)/python -m pytest -q

test-browser: .venv/tested      ## the report in headless Chromium, which must be installed
	$(PIP) selenium
	$(BIN)/python -m pytest -q -m browser

examples: .venv/tested          ## every example, as its README says
	$(BIN)/python -m pytest -q -m examples

lint: .venv/tested              ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

wheel: .venv/tested             ## build the wheel and check what is in it
	rm -rf dist build
	$(BIN)/python -m build --wheel --no-isolation
	$(BIN)/check-wheel-contents dist/*.whl

bench: .venv/tested             ## print the numbers that the documentation states
	$(BIN)/python benchmarks/main_job.py
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/coverage.py
	$(BIN)/python benchmarks/layout.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/matching.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/contrasts.py
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/formats.py

clean:
	rm -rf .venv build dist .auditor audits *.egg-info

.venv/bin/python:
	$(PYTHON) -m venv .venv

# torch comes first and alone, at its exact version: any looser request may pull a GPU build of several gigabytes.
.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	$(PIP) torch==2.13.0
	$(PIP) setuptools
	$(PIP) --no-build-isolation --editable .
	@touch $@

# Fashion-MNIST is real data for tests: Debian's package, unpacked here where it is not installed.
.venv/fashion: .venv/bin/python
	@test -d /usr/share/datasets/fashion-mnist || { cd .venv && apt-get download -qq dataset-fashion-mnist && \
	  dpkg -x dataset-fashion-mnist_*.deb . ; } || { echo "tests need Debian's package dataset-fashion-mnist"; exit 1; }
	@touch $@

.venv/tested: .venv/installed .venv/fashion tests/plugin/pyproject.toml $(wildcard tests/plugin/auditor_trouble/*.py)
	$(PIP) --no-build-isolation --editable ".[boost,onnx,optim,tabular]"
	$(PIP) pytest ruff mypy build check-wheel-contents mlserver
	$(PIP) --no-build-isolation --no-deps ./tests/plugin
	@touch $@
