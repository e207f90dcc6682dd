# A new machine, two commands: `make demo` and `make test`. `make help` lists the others.
# Python 3.11, 3.12 or 3.13 is all that must be there; everything else comes from the lock file.

# The first Python that runs and is of a version that serves; a shim that names one which is
# not installed is passed over.
SERVES := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3 python; do \
	"$$p" -c '$(SERVES)' >/dev/null 2>&1 && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Python's own settings of the caller would leak into the environment made here.
unexport PYTHONPATH PYTHONHOME VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help setup demo ui test quick lint format bench crash-matrix database-faults storms simulate mutants month fortnight
.DELETE_ON_ERROR:

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(STAMP)  ## make the environment from the lock file (again, when that changes)

# The stamp is written last: an interrupted set-up is simply done again.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" && "$(PYTHON)" -c '$(SERVES)' 2>/dev/null || { \
		echo "Python 3.11, 3.12 or 3.13 is needed and was not found on the PATH." >&2; \
		echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "This Python cannot make an environment: its venv and ensurepip modules are missing." >&2; \
		echo "On Debian and Ubuntu: apt-get install python3-venv. Then run make again." >&2; exit 1; }
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear $(VENV)
	@echo "installing the locked packages into $(VENV) (once, a minute or two)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.lock
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP)  ## a merchant's week against the sandbox vendors, end to end
	@$(BIN)/returns-pipeline demo

ui: $(STAMP)  ## the Dagster UI and the exceptions' page on the demo's data, until Ctrl-C
	@$(BIN)/returns-pipeline ui

test: $(STAMP)  ## every test, with branch coverage
	$(BIN)/python -m pytest -q -n auto --dist loadgroup --cov --cov-report=term

quick: $(STAMP)  ## the tests without those that take seconds
	$(BIN)/python -m pytest -q -n auto --dist loadgroup -m "not slow"

lint: $(STAMP)  ## style, types, import contracts
	$(BIN)/ruff format --check returns_pipeline returns_pipeline_tests benchmarks
	$(BIN)/ruff check returns_pipeline returns_pipeline_tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## set the code out
	$(BIN)/ruff format returns_pipeline returns_pipeline_tests benchmarks
	$(BIN)/ruff check --fix returns_pipeline returns_pipeline_tests benchmarks

crash-matrix: $(STAMP)  ## a day killed at every vendor write and commit, on both databases: half an hour
	$(BIN)/python -m returns_pipeline_tests.crash --write docs/crash-matrix.md $(MATRIX)

database-faults: $(STAMP)  ## a day whose database fails at a commit, on both databases (EACH= commits a fault)
	$(BIN)/python -m returns_pipeline_tests.database_faults --each $(or $(EACH),20)

storms: $(STAMP)  ## days over real sockets under every fate of a request, seeded (SEEDS=, FIRST=, JOBS=, DATABASE=, WAY=)
	$(BIN)/python -m returns_pipeline_tests.storms $(if $(WAY),--way $(WAY)) --seeds $(or $(SEEDS),320) --first $(or $(FIRST),0) --jobs $(or $(JOBS),2) --database $(or $(DATABASE),sqlite)

simulate: $(STAMP)  ## thousands of seeded stories of crashes, lost answers and staff (SEEDS=, FIRST=, JOBS=)
	$(BIN)/python -m returns_pipeline_tests.simulation --seeds $(or $(SEEDS),5000) --first $(or $(FIRST),0) --jobs $(or $(JOBS),1)

mutants: $(STAMP)  ## the code made wrong, one small change at a time: which tests see it (docs/mutants.md)
	$(BIN)/python -m returns_pipeline_tests.mutants --write docs/mutants.md --jobs $(or $(JOBS),2)

fortnight: $(STAMP)  ## fourteen days of trouble and their repair: what the exception queue says (DATABASE=)
	$(BIN)/python -m returns_pipeline_tests.fortnight --database $(or $(DATABASE),sqlite)

month: $(STAMP)  ## a month of finance closed, corrected, run again, backfilled: every byte (REFUNDS=, DATABASE=)
	$(BIN)/python -m returns_pipeline_tests.month --refunds $(or $(REFUNDS),30000) --database $(or $(DATABASE),sqlite)

# dlt is only measured against: it has an environment and a lock file of its own.
bench: $(STAMP) .venv-bench/.installed  ## what it costs, beside dlt and as history grows: a quarter of an hour or more
	$(BIN)/python -m benchmarks

.venv-bench/.installed: benchmarks/requirements-bench.lock
	@test -x .venv-bench/bin/python || "$(PYTHON)" -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@
