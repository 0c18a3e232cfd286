# The commands of the README. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tests run in up to four processes that share nothing, one thread each; ARGS="-n 0": in one.
PYTEST := OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n logical --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help install check test test-all demo docs lint format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1 \t/p' $(firstword $(MAKEFILE_LIST))
	@echo 'settings: PYTHON=python3.11  VENV=.venv  ARGS="-k name" (test)  COMPARE=1 (demo)'

install: ## make .venv with the pinned packages (again only when the pins change)
	@command -v "$(PYTHON)" >/dev/null || { echo "install: PYTHON must be a Python 3.10 to 3.13, got '$(PYTHON)', which is not on the PATH; install one, then: make install PYTHON=python3.11"; exit 1; }
	@"$(PYTHON)" tools/install.py --venv "$(VENV)"

check: ## verify the installed packages, and say which operators mmcv uses
	@test -x "$(BIN)/python" || { echo "check: there is no $(BIN)/python yet; run make install"; exit 1; }
	@"$(BIN)/python" tools/install.py --check

test: install ## run the tests (ARGS="-k name" goes to pytest)
	@$(PYTEST) $(ARGS)

test-all: install ## run also the tests marked extended: every model of each family
	@$(PYTEST) -m "" $(ARGS)

demo: install ## train and test on generated scenes (COMPARE=1 also trains from scratch)
	@"$(BIN)/python" tools/demo.py $(if $(COMPARE),--compare) $(ARGS)

docs: install ## build the site into site/; a warning is an error
	@NO_MKDOCS_2_WARNING=1 PYTHONWARNINGS=ignore "$(BIN)/python" -m mkdocs build --strict -q

lint: install ## ruff check and ruff format --check
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .

format: install ## let ruff repair and format the code
	@"$(BIN)/ruff" check --fix .
	@"$(BIN)/ruff" format .

clean: ## remove build products and caches of this checkout
	@rm -rf build dist site *.egg-info .pytest_cache .ruff_cache
	@find . -path "./$(VENV)" -prune -o -path ./.git -prune -o -name __pycache__ -type d -exec rm -rf {} +
	@echo "removed: build, dist, site, *.egg-info, __pycache__, caches of pytest and ruff"
	@echo "kept: $(VENV), data, work_dirs (remove them by hand)"
