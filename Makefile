# One word per job. Everything happens in .venv (or VENV=somewhere/else).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test setup check fmt bench clean

demo: $(VENV)/.train            ## No data needed: synthesise a city, compare two recipes, report, classify.
	$(BIN)/soundmark demo

test: setup                     ## The whole suite.
	$(BIN)/python -m pytest

setup: $(VENV)/.test            ## The environment of a developer.

check: setup                    ## Lint, format, layers and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fmt: setup                      ## Put the code into its format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup                    ## Against the notebook's own tools, as one table: make bench [DATASET=...] [PARTS=features,store]
	$(BIN)/python benchmarks/bench.py $(DATASET) $(if $(PARTS),--parts $(PARTS))

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Compiled once, here: where bytecode is not written on import (PYTHONDONTWRITEBYTECODE), every command would compile anew.
$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[train]"
	$(BIN)/python -m compileall -q src/soundmark
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test]"
	$(BIN)/python -m compileall -q src/soundmark
	touch $@ $(VENV)/.train
