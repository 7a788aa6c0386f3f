# One word per job. Everything is installed in .venv (or VENV=somewhere/else).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# One thread in each of as many processes as there are cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

.PHONY: demo setup quick test test-all check lint types unit docs docs-pictures dist fmt bench faults clean

demo: $(VENV)/.train            ## No data needed: synthesise a data set, compare two recipes on it, write a report.
	$(BIN)/soundmark demo

setup: $(VENV)/.test            ## Create the environment of a developer.

quick: setup                    ## A minute, before each commit: lint, layers, types, and the unit tests that take no training.
	$(MAKE) --no-print-directory --jobs 2 --output-sync=target lint types unit

test: setup                     ## Everything a contributor needs, in about twelve minutes on two cores.
	$(PYTEST)

test-all: test                  ## The long batteries as well: every kill, every flipped byte, every message from a new process, lowest versions.
	$(PYTEST) -m long

check: setup lint types docs    ## Lint, format, layers, types, and the site.

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup
	$(BIN)/mypy

unit: setup
	$(PYTEST) -m "not long and not slow" -q tests/unit tests/contracts/test_layout.py

docs: setup                     ## Build the site in build/site; a warning is an error.
	$(BIN)/python -m sphinx -q -W --keep-going -c docs -b html . build/site

docs-pictures: setup demo       ## Draw the pictures of the docs that need no data again; the others have their command beside them.
	$(BIN)/python docs/draw.py report demo
	$(BIN)/python docs/draw.py page demo
	$(BIN)/python docs/draw.py inputs

dist: setup                     ## Build wheel and sdist in dist/, and check them.
	rm -rf build/lib dist
	$(BIN)/python -m build --quiet
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m zipfile --list dist/*.whl

fmt: setup                      ## Format the code.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup                    ## Compare with the notebook's own tools, as one table: make bench [DATASET=...] [PARTS=features,store]
	$(BIN)/python benchmarks/bench.py $(DATASET) $(if $(PARTS),--parts $(PARTS))

faults: setup                   ## Break every command that writes, at every write; its next run must complete.
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/faults.py

clean:
	rm -rf $(VENV) demo build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Compile once, here, and on all cores: pip uses one, and with PYTHONDONTWRITEBYTECODE set, every command would compile
# the modules again. Some packages contain files for other versions of Python, which do not compile.
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable
PACKAGES = $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
COMPILE = $(BIN)/python -m compileall -qq -j 0 "$(PACKAGES)" src/soundmark || true

$(VENV)/.train: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[train]"
	$(COMPILE)
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) ".[test]"
	$(COMPILE)
	touch $@ $(VENV)/.train
