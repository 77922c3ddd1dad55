# What contributors do, in words; `make` alone lists them. Needs Python 3.11 or newer and make:
# everything else goes into .venv, and again only when pyproject.toml or uv.lock has changed.

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
# With all that the platform is measured against, which nobody else needs.
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.synced
UV := uv>=0.13,<0.14
# Which Python makes the environment; by default the first that is new enough.
PYTHON ?= python3
# What `make bench` is to measure, such as --only latency.
OPTIONS ?=
# How many processes test: more than two cores can feed, since much of it is waiting.
WORKERS ?= 3

export UV_PROJECT_ENVIRONMENT := $(VENV)
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SUFFIXES:
.PHONY: help demo dev test chaos soak mutants check lint layers type bench build clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Run the main job, a failure and a resume, before your eyes
	$(BIN)/taskplatform demo

dev: $(STAMP) ## Start everything in this terminal, with demo runs; Ctrl-C stops all
	$(BIN)/taskplatform dev --demo

test: $(STAMP) ## Run the tests, against real servers that come with the environment
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore=tests/chaos --ignore=tests/benchmarks tests

chaos: $(STAMP) ## Kill, pause, cut and flush, and let the judge look at what is left
	$(BIN)/python -m pytest -n 2 --dist worksteal -rP --show-capture=stdout tests/chaos

soak: $(STAMP) ## The same for 10,000 runs and more than 200 faults
	$(BIN)/python -m tests.chaos.soak

mutants: $(STAMP) ## See whether the judge finds platforms with a guarantee taken out
	$(BIN)/python -m tests.chaos.hunt

check: lint type layers chaos test ## Everything that has to pass

lint: $(STAMP) ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP) ## Check types
	$(BIN)/mypy

layers: $(STAMP) ## Check that imports go downward only
	$(BIN)/lint-imports

bench: $(BENCH_STAMP) ## Measure it next to others; OPTIONS=--quick for less than a minute
	$(BENCH_VENV)/bin/python -m tests.benchmarks $(OPTIONS)

build: $(STAMP) | $(BIN)/uv ## Build sdist and wheel into dist/
	rm -rf dist
	$(BIN)/uv build --quiet --out-dir dist
	@$(BIN)/python -m zipfile -l dist/*.whl > dist/contents
	@for file in alembic/env.py alembic/versions/*.py; do \
	    grep -q "^taskplatform/$$file " dist/contents \
	        || { echo "the wheel lacks taskplatform/$$file" >&2; exit 1; }; \
	done
	@rm dist/contents
	@ls dist

clean: ## Remove the environment, builds and caches; data in .taskplatform stay
	rm -rf $(VENV) $(BENCH_VENV) dist .demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): pyproject.toml uv.lock | $(BIN)/uv
	$(BIN)/uv sync --frozen --all-extras
	@touch $@

# Restate's server comes from npm; where there is none, it is not measured, which is said.
$(BENCH_STAMP): pyproject.toml uv.lock | $(BIN)/uv
	UV_PROJECT_ENVIRONMENT=$(BENCH_VENV) $(BIN)/uv sync --frozen --all-extras --group bench --python $(BIN)/python
	-! command -v npm >/dev/null || npm install --silent --no-fund --no-audit \
	    --prefix $(BENCH_VENV)/restate @restatedev/restate-server@1.7
	@touch $@

# An environment that uv made has no pip.
$(BIN)/uv: | $(BIN)/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check '$(UV)'

$(BIN)/python:
	@for python in $(PYTHON) python3.13 python3.12 python3.11; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "$$python -m venv $(VENV)"; \
	        $$python -m venv --clear $(VENV) && exit 0; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make environments; on Debian: apt-get install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "Python 3.11 or newer is needed, and was not found; name it: make PYTHON=/path/to/python3" >&2; \
	exit 1
