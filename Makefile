# Each target makes .venv first: a fresh clone needs only python3 (3.11 or newer), make and git.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup browser pooler two-contenders demo compare test test-computing test-waiting test-processes test-runs test-lessons test-quick soak test-full check format bench performance league findings certainty lessons clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

setup: $(READY) ## make .venv with all packages (uses uv if installed, else pip)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "duetime needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[all,test,dev]'; \
	else \
	  echo "setting up .venv (about a minute)"; \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,test,dev]'; \
	fi
	@# FAKE_STATELESS builds libfaketime without shared memory, so nothing is left in /dev/shm. Needs a C compiler.
	@if command -v uv >/dev/null 2>&1; then set -- uv pip install --quiet --python $(BIN)/python; \
	  else set -- $(BIN)/python -m pip install --quiet --disable-pip-version-check; fi; \
	set -- "$$@" -c constraints.txt --no-binary libfaketime; \
	CFLAGS=-DFAKE_STATELESS "$$@" -e '.[clock,partition]' >.venv/faults.log 2>&1 || { \
	  echo "libfaketime does not compile here, so clock faults are unavailable; see .venv/faults.log"; \
	  "$$@" -e '.[partition]' >>.venv/faults.log 2>&1 || echo "pyroute2 cannot be installed, so network partitions are unavailable; see .venv/faults.log"; }
	@# As pip compiles what it installs: with PYTHONDONTWRITEBYTECODE each of a run's processes would compile them again.
	@$(BIN)/python -m compileall -q duetime pull_worker push_readmodel oban_style_queue
	@touch $(READY)

browser: ## install Debian's Chromium for the browser tests (needs root; otherwise they are skipped)
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium (about a minute)"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >.venv/browser.log 2>&1 \
	    || echo "chromium could not be installed, so the browser tests are skipped; see .venv/browser.log"; \
	else echo "chromium is missing and only root can install it: the browser tests are skipped"; fi

POOLER := .venv/pgbouncer
pooler: $(READY) ## unpack Debian's pgbouncer into .venv for runs and tests behind a pooler (otherwise left out)
	@command -v pgbouncer >/dev/null || [ -x $(POOLER)/usr/sbin/pgbouncer ] || { \
	  mkdir -p $(POOLER) && cd $(POOLER) && \
	  get() { apt-get download pgbouncer $$(apt-cache depends pgbouncer | awk '/Depends: lib/ && !/libc6$$/ { print $$2 }'); } && \
	  { get || { apt-get update && get; }; } && for package in *.deb; do dpkg -x "$$package" . || exit 1; done; \
	} >.venv/pooler.log 2>&1 || echo "pgbouncer is missing and could not be unpacked, so its tests are skipped; see .venv/pooler.log"

demo: $(READY) ## a live page: kill workers from the browser and compare what each design loses
	@$(BIN)/duetime demo $(ARGS)

compare: $(READY) ## run three designs through four scenarios and print one table (ARGS="--seed 7", or --full)
	@$(BIN)/duetime compare $(ARGS)

# For two cores: tests that compute run beside tests that wait. Whole runs are judged for lateness, so they come last.
test: $(READY) ## make check, then all tests and a few benchmarks (ten minutes)
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target check browser two-contenders
	@$(MAKE) --no-print-directory pooler # after browser, because both may need apt
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-computing test-waiting test-processes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-runs test-lessons
else
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest $(ARGS)
endif

# What is installed already stays. Without a network their tests are skipped, with the reason that this prints.
two-contenders: $(READY)
	@$(BIN)/duetime contenders install procrastinate rq || echo "the tests of these two are skipped"

# Lanes by cost (markers) and folder. Together they run every test that is not marked full, soak or contenders.
DEFAULT := not full and not soak and not contenders
test-computing: $(READY)
	@$(BIN)/python -m pytest -q -m "not processes and not runs and not browser and $(DEFAULT)" tests
	@$(BIN)/python -m pytest -q benchmarks --benchmark-disable --size=quick -k "schedule or growth or recovery"

test-waiting: $(READY)
	@$(BIN)/python -m pytest -q -m "(processes or browser) and $(DEFAULT)" tests --ignore=tests/designs --ignore=tests/faults

test-processes: $(READY)
	@$(BIN)/python -m pytest -q -m "processes and $(DEFAULT)" tests/designs tests/faults

# Two lanes, which take about as long as each other. Together they run at most five designs side by side, which two
# cores can carry: the second has one design at a time, and runs that are interrupted or not judged.
SMALL_RUNS := tests/docs tests/cli tests/harness/test_cleanup.py tests/harness/test_own_world.py
test-runs: $(READY)
	@$(BIN)/python -m pytest -m "runs and $(DEFAULT)" tests $(SMALL_RUNS:%=--ignore=%)

test-lessons: $(READY)
	@$(BIN)/python -m pytest -m "runs and $(DEFAULT)" $(SMALL_RUNS)

test-quick: $(READY) ## the tests that start no workers (two minutes)
	@$(BIN)/python -m pytest -m "not processes and not runs and not browser and $(DEFAULT)" $(ARGS)

test-full: $(READY) ## the reference and the broken designs through every scenario (15 minutes)
	@$(BIN)/python -m pytest -m full $(ARGS)

test-contenders: $(READY) ## the tests of the libraries that are installed (a quarter of an hour)
	@$(BIN)/python -m pytest -m contenders $(ARGS)

soak: $(READY) browser ## the demo for half an hour with a fault every ten seconds (DUETIME_SOAK_S=300 for less)
	@$(BIN)/python -m pytest -m soak tests/demo $(ARGS)

check: $(READY) ## format, lint, types, import contracts
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.venv/imports.log || { cat .venv/imports.log; exit 1; }

format: $(READY) ## format the code with ruff
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

bench: $(READY) ## run pytest benchmarks/ (ARGS="--size=full" for the sizes of docs/performance.md)
	@$(BIN)/python -m pytest benchmarks/ $(ARGS)

performance: $(READY) ## measure for docs/performance.md and write its tables (half an hour on an idle machine)
	@mkdir -p .benchmarks
	@for one in schedule drain lateness growth churn memory recovery shards; do \
	  $(BIN)/python -m pytest benchmarks/test_$$one.py --size=full --benchmark-json=.benchmarks/full-$$one.json || exit; done
	@$(BIN)/python -m benchmarks.document .benchmarks/full-*.json

league: $(READY) ## run all installed libraries and all designs in all scenarios, and write docs/league.md (ARGS="--estimate")
	@$(BIN)/duetime league $(ARGS)

findings: $(READY) ## run all designs through all scenarios and write the matrix of docs/findings.md (ARGS="--estimate")
	@$(BIN)/python -m benchmarks.findings $(ARGS)

certainty: $(READY) ## explore every scope and every mutant, and write docs/certainty.md (half an hour)
	@$(BIN)/python -m benchmarks.certainty $(ARGS)

lessons: $(READY) ## run the commands of docs/lessons/ and write their output there (ARGS="docs/lessons/02-*.md", or --redraw for the pictures only)
	@$(BIN)/python -m tests.docs.rewrite_lessons $(ARGS)

clean: ## remove .venv, caches and stored runs
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
