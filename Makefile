# `make` explains the targets. Everything is installed into .venv; PYTHON selects the interpreter to make it with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := sb3,graph,compile,bench,dev
SOURCES := envs agents world_model experiments tests

.DEFAULT_GOAL := help
.PHONY: help setup system demo test lint format programs bench clean

help: ## Explain the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

system: ## Install the system packages that are absent (libllvm19, clang-19, g++)
	@sh experiments/install_system.sh

setup: system $(VENV)/.installed ## Make the virtual environment with everything in it

$(VENV)/.installed: pyproject.toml constraints.txt envs/llvm/native/CMakeLists.txt $(wildcard envs/llvm/native/src/*) $(wildcard envs/llvm/native/include/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	# torch by itself and first, so that nothing else chooses another version of it
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRAS)]"
	touch $@

demo: setup ## Train PPO for a few minutes, evaluate it zero-shot, print the table (runs/demo)
	$(BIN)/dojo train --preset demo --out runs/demo --resume

test: setup ## Run the test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

lint: setup ## Check style, types and spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell
	@if command -v clang-format-19 >/dev/null; then \
	  clang-format-19 --dry-run --Werror envs/llvm/native/*/*.[ch] envs/programs/bundled/src/*/*; \
	else echo "clang-format-19 is absent: C sources not checked"; fi

format: setup ## Format all sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	clang-format-19 -i envs/llvm/native/*/*.[ch] envs/programs/bundled/src/*/*

programs: setup ## Rebuild the bundled programs from their sources
	$(BIN)/python -m compiler_dojo.envs.programs.bundled.build

bench: setup ## Measure the environment's speed
	$(BIN)/dojo bench env

clean: ## Remove what was built
	rm -rf $(VENV) build
