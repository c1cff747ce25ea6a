# odl: every job a developer or a machine does here. `make` alone lists them.
#
# Every job begins with `make setup` (setup.sh: the virtual environment .venv, and programs that are missing)
# and runs in that environment; nothing needs to be activated.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help

VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/odl-setup-done
# Worker processes of the tests. Each computes on one thread: more would fight over the same cores.
JOBS ?= 2
TEST_OPTIONS ?=
BENCH_OPTIONS ?=
ASSURANCE_OPTIONS ?= --write
DEMO_OPTIONS ?=
POWER_CUTS_OPTIONS ?=
C_SOURCES = find kernels/isa targets -type f \( -name '*.c' -o -name '*.h' -o -name '*.cpp' \)

.PHONY: help setup demo test test-long lint types pytest golden cycles power-cuts bench format clean

help: ## list the targets
	@echo "odl: make TARGET"
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP) ## make .venv and install what is missing (quick when nothing is)

$(STAMP): setup.sh pyproject.toml constraints.txt
	./setup.sh
	@touch $@

demo: setup ## set-up, then the whole way: pretrain, compile, adapt on the host, compare with PyTorch
	$(RUN) -m odl.demo $(DEMO_OPTIONS)

test: setup lint types pytest ## set-up, then style, types and all tests

test-long: setup ## the tests that take hours: every compiler at every level, every combination of options
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal -p no:benchmark -m long $(TEST_OPTIONS)

lint: setup ## style of Python and C
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(C_SOURCES) -print0 | xargs -0 -r $(VENV)/bin/clang-format --dry-run --Werror

format: setup ## bring Python and C into the project's format
	$(RUN) -m ruff check --fix-only .
	$(RUN) -m ruff format .
	$(C_SOURCES) -print0 | xargs -0 -r $(VENV)/bin/clang-format -i

types: setup ## mypy --strict over odl, kernels, codegen, targets and the assurance pack
	$(RUN) -m mypy -p odl -p benchmarks.assurance

pytest: setup ## the tests alone; TEST_OPTIONS="-k conv -x" for some of them
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) --dist worksteal -p no:benchmark $(TEST_OPTIONS)

golden: setup ## write the expected texts of the golden tests anew; read the diff before you commit it
	OMP_NUM_THREADS=1 $(RUN) -m pytest -p no:benchmark --update-golden $(TEST_OPTIONS)

cycles: setup ## write the simulator's cycle baseline (benchmarks/cycles.json) anew; read the diff before you commit it
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(JOBS) -p no:benchmark --update-cycles tests/odl/bench

power-cuts: setup ## try saved states: 100,000 power cuts, 1,000,000 flipped bits and truncations; figures in power_cuts.json
	OMP_NUM_THREADS=1 PYTHONPATH=. $(RUN) benchmarks/power_cuts.py $(POWER_CUTS_OPTIONS)

bench: setup ## measure speed (benchmarks/), one thread, nothing beside it
	OMP_NUM_THREADS=1 $(RUN) -m pytest benchmarks --benchmark-columns=min,median,rounds $(BENCH_OPTIONS)

assurance: setup ## look at the generated C with every checker, long; the figures go into docs/assurance.md
	OMP_NUM_THREADS=1 ODL_TUNING=shipped $(RUN) -m benchmarks.assurance $(ASSURANCE_OPTIONS)

clean: ## remove the virtual environment and everything that was built
	rm -rf $(VENV) build dist ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	find odl/ kernels codegen targets tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
