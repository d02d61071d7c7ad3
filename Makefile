# Everything runs from .venv, which is made from the hash-pinned lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install install-dev demo example serve test check faults contract replays bench lock clean

help: ## Show what can be made.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed ## Make .venv with what running needs.

install-dev: $(VENV)/.installed-dev ## Make .venv with what developing needs as well.

demo: install ## Two minutes: the real service learns from simulated users, live in the terminal.
	@$(BIN)/sendopt demo

example: install-dev ## A small scheduler with the service, a mail server and a push provider, for some seconds.
	@$(BIN)/python -m examples.scheduler

serve: install ## Run the service for real use, on 127.0.0.1:8000, with its learner.
	@$(BIN)/sendopt migrate
	@$(BIN)/sendopt serve

# The service is started many times: with its bytecode kept, wherever that is switched off, each start is quicker.
test: install-dev ## Run every test.
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 2 --dist worksteal

check: install-dev ## Run ruff, mypy strict and every test.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

faults: install-dev ## Kill the learner 200 times instead of 10, give it 100,000 labels, race eight of them 50 times, read 10,000 broken logs.
	$(BIN)/pytest tests/faults --kills 200 --labels 100000 --rounds 50 --readings 10000

replays: install-dev ## Replay the Hillstrom log with five seeds instead of one.
	$(BIN)/pytest tests/acceptance/test_replay.py --replays 5

contract: install-dev ## Make 5,000 requests from /openapi.json and 1,000 calls to each failing server.
	$(BIN)/pytest tests/integration/test_http_openapi.py --cases 5000
	$(BIN)/pytest tests/integration/test_client_fallback.py --calls 1000

bench: install-dev ## Measure; writes benchmarks/results.json and a table.
	$(BIN)/python -m benchmarks

lock: install-dev ## Pin the newest dependencies that pyproject.toml allows.
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra postgres --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra postgres --extra build --extra dev --constraints requirements.lock \
		pyproject.toml --output-file requirements-dev.lock

clean: ## Remove .venv and what tools left behind.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

# --no-build-isolation: the build backend comes from the lock as well, so nothing unpinned is fetched.
$(VENV)/.installed: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock $(VENV)/.installed
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@
