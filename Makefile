# `make help` lists the targets; each installs what it needs into .venv first.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

install: $(STAMP) ## Make .venv with everything (uv when it is there, else pip)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Colonies needs Python 3.11 or later; set PYTHON=/path/to/python3.11" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
		$(PYTHON) -m venv $(VENV) && $(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $(STAMP)

demo: install ## Start a hub and a solver, submit fibonacci numbers, print the results
	@$(BIN)/python examples/demo.py

dev: install ## Run a hub with a colony and an approved runtime, for development
	@$(BIN)/colonies dev

fmt: install ## Format the code
	@$(BIN)/ruff check --quiet --fix-only . && $(BIN)/ruff format --quiet .

lint: install ## Check style, types, imports and generated docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/cog --check -r -I docs docs/*.md

test: install ## Run every test; those that kill things come last, one by one
	$(BIN)/pytest -n auto -m "not faults and not slurm"
	$(BIN)/pytest -m faults

faults: install ## Kill and stop everything for an hour; SEED=... replays a schedule
	FAULTS=10 $(BIN)/pytest -m faults -rP --show-capture=stdout

slurm: install ## Lose nodes, runtimes and answers amid many jobs of a real Slurm
	$(BIN)/pytest -m slurm

docs: install ## Write the generated parts of docs/ again
	$(BIN)/cog -r -I docs docs/*.md

bench: install ## Measure everything and write bench/results; BENCH="--quick --only cycles"
	@if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --python $(BIN)/python -e '.[bench]'; \
	else \
		$(BIN)/pip install --quiet --disable-pip-version-check -e '.[bench]'; \
	fi
	$(BIN)/python -m bench $(BENCH)

clean: ## Remove what the other targets made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: help install demo dev fmt lint test faults slurm docs bench clean
