# A new machine, two commands: `make demo` and `make test`. `make help` lists the others.
# Python 3.11, 3.12 or 3.13 is all that must be there; everything else comes from the lock file.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup test quick lint format

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## make the environment from the lock file (again, when that changes)

# The stamp is written last: an interrupted set-up is simply done again.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {v[0]}.{v[1]} was found: name one with make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing the locked packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: $(STAMP)  ## every test, with branch coverage
	$(BIN)/python -m pytest -q -n auto

quick: $(STAMP)  ## the tests without those that take seconds
	$(BIN)/python -m pytest -q -n auto -m "not slow"

lint: $(STAMP)  ## style, types, import contracts
	$(BIN)/ruff format --check returns_pipeline returns_pipeline_tests
	$(BIN)/ruff check returns_pipeline returns_pipeline_tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## set the code out
	$(BIN)/ruff format returns_pipeline returns_pipeline_tests
	$(BIN)/ruff check --fix returns_pipeline returns_pipeline_tests
