# Needs Python 3.11 or later and make; everything else goes into .venv. `make` alone lists the targets.

SECONDS ?= 60
SEED ?= 1
LONG ?= long
PROCESSES ?= 4
BENCH = $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(if $(DOCS),--docs) $(if $(REPORT),--report)
ifdef AGAINST
BENCH = $(if $(QUICK),--rounds 2 --rows 20000) $(if $(ONLY),--only $(ONLY)) --against $(AGAINST)
endif
PYTHONS := python3 python3.14 python3.13 python3.12 python3.11

# Containers often turn bytecode off: pytest would rewrite the assertions of all modules in each of its processes.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-oldest test-unit test-long test-containers test-exhaustive chaos lint format docs bench clean

help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/.dev  ## make .venv with the package and everything for development

demo: .venv/.demo  ## run the main job on real servers, for SECONDS=60, and check every row
	@exec .venv/bin/python -m demo --seconds $(SECONDS)

test: .venv/.dev  ## run all tests on servers that they start themselves, in PROCESSES=4 at a time
	.venv/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder -m "not long and not containers"

test-oldest: .venv/.python  ## run them with the oldest supported versions of everything, in .venv-oldest
	.venv/bin/python -m venv .venv-oldest
	.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
	  --constraint .github/oldest.txt --editable '.[dev]'
	.venv-oldest/bin/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder -m "not long and not containers"

test-unit: .venv/.dev  ## run the tests that need no server
	.venv/bin/python -m pytest tests/unit

test-long: .venv/.dev  ## run the tests of endurance, which `make test` leaves out; some minutes
	.venv/bin/python -m pytest -m "$(LONG)"

test-containers: .venv/.dev  ## build and run the Compose files; needs Docker, or root on Debian; some minutes
	tests/containers/engine.sh .venv/bin/python -m pytest -m containers

test-exhaustive: .venv/.dev  ## run every interleaving of the scripts, also in larger programs; some minutes
	PYTHONPATH=tests .venv/bin/python -m proof.interleaving

chaos: .venv/.dev  ## break a real deployment under load for SECONDS=60, in an order from SEED=1, and check every row
	@PYTHONPATH=tests exec .venv/bin/python -m proof.chaos --seconds $(SECONDS) --seed $(SEED)

lint: .venv/.dev  ## check style, types, import directions, and the Compose, workflow and dependabot files
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml rowcache_tasks/ops/compose.yaml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/[bf]*.yml

format: .venv/.dev  ## format the code and mend what can be mended
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

docs: .venv/.dev  ## build the documentation site in site/, and check its links; external ones are listed there, not fetched
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build
	@echo "site/index.html; $$(wc -l < site/external-links.txt) external links in site/external-links.txt"

bench: .venv/.dev  ## measure beside the alternatives, 20 minutes; QUICK=1 three minutes, ONLY=reading,idle, DOCS=1 into docs/
	@PYTHONPATH=tests exec .venv/bin/python -m benchmarks$(if $(AGAINST),.compare) $(BENCH)

clean:  ## remove .venv and everything else that was made here
	rm -rf .venv .venv-oldest .engine bench-results dist site .coverage .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of extras, older than pyproject.toml when that has changed.

.venv/.dev: .venv/.python pyproject.toml
	$(call install,dev)
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --target .venv/otel 'opentelemetry-sdk>=1.39,<2'
	@touch .venv/.demo $@

.venv/.demo: .venv/.python pyproject.toml
	$(call install,demo)
	@touch $@

define install
@echo "installing rowcache-tasks[$(1)] into .venv; the first time takes about a minute"
@.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'
endef

# An environment that works is kept, whoever made it.
.venv/.python:
	@if .venv/bin/python -m pip --version >/dev/null 2>&1; then touch $@; exit; fi; \
	found=; \
	for python in $(PYTHONS); do \
	  $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	  found=$$python; \
	  $$python -c 'import ensurepip, venv' 2>/dev/null || continue; \
	  echo "creating .venv with $$($$python --version)"; \
	  $$python -m venv --clear .venv && touch $@; exit; \
	done; \
	if [ "$$found" ]; then \
	  echo "$$found has no venv module: install it (Debian and Ubuntu: apt install python3-venv)" >&2; \
	else \
	  echo "found no Python 3.11 or later (tried $(PYTHONS)): install one and put it on PATH" >&2; \
	fi; \
	exit 1
