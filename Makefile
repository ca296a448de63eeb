# Two commands: `make demo` and `make test`. Each makes the environment first if it is not there.
# PYTHON=... chooses the interpreter the environment is made with (3.11 or newer; 3.11 is what was tested).
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Huge pages for large tensors: up to x1.7 on Linux, nothing elsewhere. The library itself never sets this.
export THP_MEM_ALLOC_ENABLE ?= 1

.PHONY: demo test test-fast lint types bench docs format clean
.DEFAULT_GOAL := demo

demo: $(READY)
	$(BIN)/infodistill demo --out demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations=10

test-fast: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/pyright --pythonpath $(BIN)/python

bench: $(READY)
	$(BIN)/python benchmarks/speed.py

docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "infodistill needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)

clean:
	rm -rf $(VENV) demo runs site build dist .pytest_cache .ruff_cache
