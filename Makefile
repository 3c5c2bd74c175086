# The contributing guide: `make` lists the targets. Every target installs what it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.onnxmesh-ready
CODE := onnxmesh services tests examples benchmarks tools
# Tests that start processes wait for half of their time: more testers than cores.
TESTERS = $(shell $(BIN)/python -c 'import os; print(min(8, 3 * (os.cpu_count() or 1) // 2 or 1))')
# Hundreds of processes start in a run of the tests: each would compile the project's code again.
unexport PYTHONDONTWRITEBYTECODE

##@ Use it
.PHONY: help demo up down bench bench-quick bench-memory bench-plan bench-scheduler bench-zones
help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} \
	  /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} \
	  /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo

demo: $(READY) ## cut a trained model over two workers, classify real files, compare the outputs bit for bit
	@$(BIN)/python -m examples.demo

up: $(READY) ## run a mesh on this machine until Ctrl-C (ARGS="--workers 4 --models FOLDER")
	@exec $(BIN)/onnxmesh up $(ARGS)

down: ## remove the containers of `docker compose up`
	@docker compose down --remove-orphans

bench: $(READY) ## measure the mesh, ONNX Runtime in process and other servers, which it installs (ARGS="--only identity")
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(READY) ## the same in two minutes; of other servers only Triton, if it is installed
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-memory: $(READY) ## measure memory of gateway and workers under mixed load for ten minutes (ARGS="--minutes 2")
	@$(BIN)/python -m benchmarks.memory $(ARGS)

bench-scheduler: $(READY) ## simulate routing and placement in virtual time, and time one decision (ARGS="--quick", "--only bursty")
	@$(BIN)/python -m benchmarks.simulate $(ARGS)

bench-plan: $(READY) ## compare predictions of the planner with measurements (ARGS="--quick", "--only cuts")
	@$(BIN)/python -m benchmarks.plan $(ARGS)

bench-zones: $(READY) ## measure locality, spillover and failover between two zones (network namespaces; needs root) (ARGS="--quick")
	@$(BIN)/python -m benchmarks.zones $(ARGS)

##@ Work on it
.PHONY: setup test test-compose check lint type imports layout names stubs protos pictures format lock clean
setup: $(READY) ## install the locked packages and this project into .venv

test: $(READY) ## run every test (ARGS="tests/unit -k cut")
	@$(BIN)/python -m pytest --numprocesses $(TESTERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-compose: $(READY) ## build, start and disturb the mesh of docker-compose.yml; needs Docker
	@$(BIN)/python -m pytest tests/compose -p no:xdist $(ARGS)

check: lint type imports layout names stubs ## run what CI runs before the tests

lint: $(READY) ## check style and formatting (ruff)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

type: $(READY) ## check types (mypy, strict)
	@$(BIN)/mypy

imports: $(READY) ## check the layers of imports (import-linter)
	@$(BIN)/lint-imports

layout: $(READY) ## folders, READMEs and tests stand where the rules put them
	@$(BIN)/python -m tools.check_layout

names: $(READY) ## one definition for each public name, in the words of docs/glossary.md
	@$(BIN)/python -m tools.check_names

stubs: $(READY) ## check that the committed stubs are those of protos/
	@$(BIN)/python tools/generate_stubs.py --check

protos: $(READY) ## generate the stubs of protos/
	@$(BIN)/python tools/generate_stubs.py

pictures: $(READY) ## draw the pictures of docs/images
	@$(BIN)/python -m tools.make_pictures

format: $(READY) ## format the code and apply automatic fixes (ruff)
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

lock: ## resolve the newest versions into locks/ (needs uv)
	@tools/lock

clean: ## remove everything that was built, .venv too
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): locks/dev.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "onnxmesh needs Python 3.11 or newer: '$(PYTHON)' is not on the path (make PYTHON=…)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("onnxmesh needs Python 3.11 or newer; $(PYTHON) is %d.%d (make PYTHON=python3.12)" % sys.version_info[:2])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "this Python comes without venv: install it first (Debian: apt-get install python3-venv)" >&2; exit 1; }
	@echo "setup 1/3: virtual environment in $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup 2/3: $$(grep -c '^[a-z].*==' locks/dev.txt) locked packages, a minute or two"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r locks/dev.txt
	@echo "setup 3/3: onnxmesh itself"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
