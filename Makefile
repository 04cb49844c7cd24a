# `make demo` and `make test` set everything up by themselves, in .venv beside this file.
#   PYTHON    the interpreter that .venv is made from       make test PYTHON=python3.12
#   DEMO_DIR  where the demo puts its data and its report   make demo DEMO_DIR=/path/to/folder
#   ARGS      further arguments for pytest                  make test ARGS="-k surface"
#   WORKERS   processes that share the tests, 0 for none    make test WORKERS=0 ARGS="-x --pdb"

PYTHON ?= python3
DEMO_DIR ?= demo
ARGS ?=
WORKERS ?= auto

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

.DEFAULT_GOAL := help
.PHONY: help install demo lint test clean

help:  ## show this list
	@awk -F ':.*##' '/^[a-z]+:.*##/ {printf "make %-8s %s\n", $$1, $$2}' Makefile

install: $(STAMP)  ## install the package and its tools into .venv (demo and test do it themselves)

demo: $(STAMP)  ## make a synthetic cohort, train both models on it, compare them
	@$(BIN)/nnunet-multitask demo --output "$(DEMO_DIR)"

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p nnunet_multitask

test: lint  ## check style and types, then run the tests
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile $(ARGS)

clean:  ## remove caches, builds and the folder demo; keep .venv
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage demo
	find . -path ./$(VENV) -prune -o -type d -name __pycache__ -exec rm -rf {} +

# The stamp is written last, so that an interrupted installation is taken up again.
$(STAMP): pyproject.toml setup.py
	@if ! $(BIN)/python -c '' 2>/dev/null; then \
	    command -v "$(PYTHON)" >/dev/null || \
	        { echo "ERROR: there is no $(PYTHON) -> name a Python 3.10 to 3.13: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	    "$(PYTHON)" -c '$(IN_RANGE)' || \
	        { echo "ERROR: Python 3.10 to 3.13 is needed, $(PYTHON) is $$("$(PYTHON)" --version 2>&1)" \
	               "-> name another: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	    "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	        { echo "ERROR: $(PYTHON) lacks the module venv or ensurepip" \
	               "-> install it (Debian, Ubuntu: apt install python3-venv), or name another Python: make PYTHON=..." >&2; exit 1; }; \
	    echo "making $(VENV) with $$("$(PYTHON)" --version)"; \
	    "$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -c '$(IN_RANGE)' || \
	    { echo "ERROR: Python 3.10 to 3.13 is needed, $(VENV) holds $$($(BIN)/python --version)" \
	           "-> remove $(VENV), and run make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	@echo "installing into $(VENV): up to 6 GB, most of it torch with CUDA; some minutes, the first time only"
	@$(BIN)/python -m pip install --disable-pip-version-check -e '.[dev]' | sed -u -nE \
	    -e 's/^ *(Downloading|Using cached) ([^ ]+) \((.*[MG]B)\)$$/  fetching \2 (\3)/p' \
	    -e 's/^Building wheels? for .*/  building wheels/p' \
	    -e 's/^Installing collected packages: .*/  installing the packages/p'
	@touch $@
	@echo "installed"
