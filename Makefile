# Everything runs from .venv, which is made from the hash-pinned lock files.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LONG := 3600 # seconds for a test that is driven much harder than usual
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help install install-dev demo example serve test quick check faults contract replays reference installs contest bench \
	pictures lock release-notes clean

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

quick: install-dev ## Run the tests that start no process: under a minute.
	$(BIN)/pytest tests/unit tests/property -m "not process" --numprocesses 2 --dist worksteal

# The service is started many times: with its bytecode kept, wherever that is switched off, each start is quicker.
test: install-dev ## Run every test.
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 2 --dist worksteal

check: install-dev ## Run ruff, mypy strict and every test.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) test

faults: install-dev ## Kill the learner 200 times, give it 100,000 labels, race eight of them 50 times, read 10,000 broken logs.
	$(BIN)/pytest tests/faults --timeout $(LONG) --kills 200 --labels 100000 --rounds 50 --readings 10000

replays: install-dev ## Replay the published trials with five seeds instead of one.
	$(BIN)/pytest tests/acceptance/test_replay.py --timeout $(LONG) --replays 5

contract: install-dev ## Make 5,000 requests and two clients from /openapi.json, and 1,000 calls to each failing server.
	$(BIN)/pytest tests/integration/test_http_openapi.py --timeout $(LONG) --cases 5000
	$(BIN)/pytest tests/integration/test_generated_clients.py --timeout $(LONG) --generators
	$(BIN)/pytest tests/integration/test_client_fallback.py --timeout $(LONG) --calls 1000

reference: install-dev ## Write docs/campaign.md from the models of the campaign document.
	$(BIN)/python -m api.spec > docs/campaign.md

installs: install-dev ## Install the service and the client by themselves, from wheels, use both, and measure them.
	rm -rf build clients/python/build
	$(BIN)/pytest tests/acceptance/test_installs.py --timeout $(LONG) --wheels
	$(BIN)/python -m benchmarks.installs

contest: install-dev ## Let every policy play every preset with ten seeds, for many hours; writes the tables of docs/contest.md.
	$(BIN)/sendopt simulate --seeds 11-20 --folder build/contest --page docs/contest.md

bench: install-dev ## Measure; writes benchmarks/results.json and a table.
	$(BIN)/python -m benchmarks

pictures: install-dev ## Draw the pictures of docs/pictures from the code.
	$(BIN)/python -m benchmarks.pictures

lock: install-dev ## Pin the newest dependencies that pyproject.toml allows.
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra postgres --extra study --extra build pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header \
		--python-version 3.11 --extra postgres --extra study --extra build --extra dev --constraints requirements.lock \
		pyproject.toml --output-file requirements-dev.lock

release-notes: ## Print what CHANGELOG.md says of one version: make release-notes VERSION=0.1.0
	@awk -v version='$(VERSION)' '/^## / { shown = ($$2 == version); found = found || shown; next } shown; \
		END { if (!found) { print "CHANGELOG.md has no section " version > "/dev/stderr"; exit 1 } }' CHANGELOG.md

clean: ## Remove .venv and what tools left behind.
	rm -rf $(VENV) build dist *.egg-info clients/python/build clients/python/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

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
