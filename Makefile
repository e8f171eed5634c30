# Every target makes its own .venv first, so a fresh clone needs nothing but python3 (3.11 or newer) and git.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup browser demo compare test test-computing test-waiting test-processes test-runs test-lessons test-quick soak test-full check format bench performance lessons clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1\t/' | expand -t 20

setup: $(READY) ## make .venv with everything in it (uv when it is there, pip otherwise)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "duetime needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python $(PYTHON) .venv && uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '.[test,dev]'; \
	else \
	  echo "setting up .venv (about a minute)"; \
	  $(PYTHON) -m venv .venv && $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,dev]'; \
	fi
	@# FAKE_STATELESS: without shared memory, so that nothing of it can stay behind. It takes a C compiler.
	@if command -v uv >/dev/null 2>&1; then set -- uv pip install --quiet --python $(BIN)/python; \
	  else set -- $(BIN)/python -m pip install --quiet --disable-pip-version-check; fi; \
	set -- "$$@" -c constraints.txt --no-binary libfaketime; \
	CFLAGS=-DFAKE_STATELESS "$$@" -e '.[clock,partition]' >.venv/faults.log 2>&1 || { \
	  echo "libfaketime does not compile here, so no clocks will be moved; the reason is in .venv/faults.log"; \
	  "$$@" -e '.[partition]' >>.venv/faults.log 2>&1 || echo "pyroute2 cannot be had, so nothing will be cut off"; }
	@touch $(READY)

browser: ## Debian's Chromium for the browser tests, where it is missing and may be installed
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium (about a minute)"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium; } >.venv/browser.log 2>&1 \
	    || echo "chromium could not be installed, so the browser tests are skipped; the reason is in .venv/browser.log"; \
	else echo "no chromium, and no right to install it: the browser tests are skipped"; fi

demo: $(READY) ## the live page: three designs to be hurt by whoever watches
	@$(BIN)/duetime demo $(ARGS)

compare: $(READY) ## the main job: three designs, four scenarios, one table (ARGS="--seed 7", or --full)
	@$(BIN)/duetime compare $(ARGS)

# Two cores: what only computes runs beside what mostly waits, twice; whole runs, judged for lateness, come after that.
# The page and the faults come last in their lanes, when nothing computes any more.
test: $(READY) ## everything that must hold: make check, then all tests, and some benchmarks once
ifeq ($(ARGS),)
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target check browser
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target test-computing test-waiting test-processes
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target test-runs test-lessons
else
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest $(ARGS)
endif

# Lanes by what a test costs (its markers) and by folder; together they are every test but `full` and `soak`.
NOT_ASKED := not full and not soak
test-computing: $(READY)
	@$(BIN)/python -m pytest -q -m "not processes and not runs and not browser and $(NOT_ASKED)" tests
	@$(BIN)/python -m pytest -q benchmarks --benchmark-disable --size=quick -k "schedule or growth or recovery"

test-waiting: $(READY)
	@$(BIN)/python -m pytest -q -m "(processes or browser) and $(NOT_ASKED)" tests --ignore=tests/designs --ignore=tests/faults

test-processes: $(READY)
	@$(BIN)/python -m pytest -q -m "processes and $(NOT_ASKED)" tests/designs tests/faults

# One or two designs beside three: five side by side is what two cores carry. Runs that are cut short are not judged.
CUT_SHORT := tests/harness/test_cleanup.py
test-runs: $(READY)
	@$(BIN)/python -m pytest -m "runs and $(NOT_ASKED)" tests --ignore=tests/docs --ignore=$(CUT_SHORT)

test-lessons: $(READY)
	@$(BIN)/python -m pytest -m "runs and $(NOT_ASKED)" tests/docs $(CUT_SHORT)

test-quick: $(READY) ## the tests that start no workers (two minutes)
	@$(BIN)/python -m pytest -m "not processes and not runs and not browser and $(NOT_ASKED)" $(ARGS)

test-full: $(READY) ## the oracle and the broken designs through every scenario (a quarter of an hour)
	@$(BIN)/python -m pytest -m full $(ARGS)

soak: $(READY) browser ## half an hour of the demo, hurt every ten seconds (DUETIME_SOAK_S=300 for less)
	@$(BIN)/python -m pytest -m soak tests/demo $(ARGS)

check: $(READY) ## format, lint, types, import contracts
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo >.venv/imports.log || { cat .venv/imports.log; exit 1; }

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

bench: $(READY) ## pytest benchmarks/ (ARGS="--size=full" for the numbers of docs/performance.md)
	@$(BIN)/python -m pytest benchmarks/ $(ARGS)

performance: $(READY) ## measure everything for docs/performance.md (half an hour, nothing else running)
	@mkdir -p .benchmarks
	@for one in schedule drain lateness growth churn memory recovery; do \
	  $(BIN)/python -m pytest benchmarks/test_$$one.py --size=full --benchmark-json=.benchmarks/full-$$one.json || exit; done
	@$(BIN)/python -m benchmarks.document .benchmarks/full-*.json

lessons: $(READY) ## follow docs/lessons/ and write what was said onto their pages (ARGS="docs/lessons/02-*.md" for some)
	@$(BIN)/python -m tests.docs.rewrite_lessons $(ARGS)

clean: ## remove .venv, caches and stored runs
	rm -rf .venv runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
