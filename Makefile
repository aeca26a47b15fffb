# Two commands are all a newcomer needs: `make demo` and `make test`.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo check test bench docs samples clean

help:  ## List what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(STAMP)  ## Make the environment with the newest Python from 3.11 on

# A name on the PATH may be a shim that does not run, so each candidate is really started.
$(STAMP): pyproject.toml
	@for name in python3.13 python3.12 python3.11 python3; do \
	  if command -v $$name >/dev/null && \
	     $$name -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then python=$$name; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "hookreel needs Python 3.11, 3.12 or 3.13 with venv (on Debian: apt-get install python3-venv)." >&2; exit 1; fi; \
	echo "setup: $$($$python --version), the first time takes about a minute" && \
	$$python -m venv $(VENV) && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1" && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev && \
	touch $@

demo: setup  ## Record, anonymize, replay and compare: the whole story in about a minute
	$(BIN)/hookreel demo

test: setup  ## Run the tests; those that need more than Python are listed and left out
	$(BIN)/python -m pytest -m "not alone" --numprocesses auto --maxprocesses 4 --dist worksteal
	$(BIN)/python -m pytest -m alone

check: setup  ## Lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup  ## Run the benchmarks and campaigns (long)
	$(BIN)/python -m benchmarks

docs: setup  ## Generate docs/cli.md from the commands' own help
	$(BIN)/python docs/generate_cli.py

samples: setup  ## Make captures/samples/ anew with the tool itself
	$(BIN)/python docs/generate_samples.py

clean:  ## Remove what make made
	rm -rf $(VENV) .nox .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache demo-files
