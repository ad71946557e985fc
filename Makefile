# Each target sets itself up: a virtual environment in .venv, with the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PYTHONUNBUFFERED := 1
export HF_HUB_OFFLINE := 1

N ?= 200000

.PHONY: demo test check bench fuzz clean

demo: .venv/run
	$(BIN)/slm-lens demo --out runs/demo

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

bench: .venv/dev
	$(BIN)/python benchmarks/results.py

fuzz: .venv/fuzz
	$(BIN)/python tests/fuzz/fuzz.py --runs $(N)

clean:
	rm -rf .venv runs

.venv/run: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

.venv/dev: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable '.[dev,synth]'
	touch $@ .venv/run

.venv/fuzz: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) install --constraint constraints.txt --editable '.[fuzz]'
	touch $@ .venv/run
