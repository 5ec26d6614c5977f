# Every target that needs Python uses the environment in .venv, made by `make install`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT ?= runs/demo
export OMP_NUM_THREADS ?= 1
WORKERS ?= 2

.PHONY: help install demo test check lint types contracts notebooks bench clean
.DEFAULT_GOAL := help

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

install: $(STAMP) ## Make .venv and install spikeloop with the test tools

$(STAMP): pyproject.toml constraints.txt
	@echo 'installing spikeloop into $(VENV) (a few minutes the first time)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: install ## Teacher -> students -> crossbar tiles -> Pareto front -> runs/demo/report.html
	$(BIN)/spikeloop demo --out $(OUT) --workers $(WORKERS)

test: install ## Run the whole test suite and the notebooks
	$(BIN)/python -m pytest -n $(WORKERS) tests
	$(BIN)/python -m pytest --nbmake --nbmake-timeout=120 -W ignore notebooks

check: lint types contracts ## Lint, types and import contracts

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install
	$(BIN)/mypy

contracts: install
	$(BIN)/lint-imports

notebooks: install ## Write notebooks/*.ipynb from their .py pairs
	$(BIN)/jupytext --to ipynb notebooks/*.py

bench: install ## Speed of the kernels and of the whole flow, in CPU seconds
	$(BIN)/python -m pytest -c tests/bench/pytest.ini tests/bench

clean: ## Remove the environment and the results
	rm -rf $(VENV) runs build *.egg-info
