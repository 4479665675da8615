# The interface of this repository; `make help` lists its targets. On a machine that has only Python 3.11
# or newer, `make demo` and `make test` each do everything: create .venv, install, run.

PYTHON ?= python3
VENV := .venv
# What `make test` and `make notebooks` run: files and folders of tests, beginnings of notebooks' names.
TESTS :=
# Anything here makes `make test` report which lines it ran. Python 3.11 takes half as long again for it.
COVERAGE :=
NOTEBOOKS :=
# A checkout of Pyro of the installed version, for `make test-pyro` where Pyro's source distribution has no tests.
PYRO_SOURCE ?=
PYRO :=
PY := $(VENV)/bin/python
PIP := $(VENV)/bin/pip
DEV := $(VENV)/.installed-dev
DOCS := $(VENV)/.installed-docs
BENCH := $(VENV)/.installed-bench
AUDIT := $(VENV)/.installed-audit
# Versions that pip keeps to, such as tests/oldest.txt.
CONSTRAINTS :=
# Interpreters of the oldest and of the newest Python that are supported.
OLDEST = $(call first_python,3.11)
NEWEST = $(call first_python,3.13)
first_python = $(or $(firstword $(foreach python,python$(1) $(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/$(1).*/bin/python),\
	$(shell $(python) -c 'import ensurepip, venv' 2> /dev/null && echo $(python)))),python$(1))
# What `make audit` installs into its empty environment before the wheel: a PyTorch for the CPU spares 5 GB.
TORCH :=
ONLINE :=
QUICK :=
MINUTES := 10
ATTACK :=
DEVICE := cpu
RESULTS := benchmarks$(if $(filter cuda,$(DEVICE)),/cuda)
# One thread a worker: two workers on two cores would otherwise wait for each other.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile

# From 3.12 on Python itself says which lines run, which costs less.
COVER := COVERAGE_CORE=$$($(PY) -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')
COVERED := $(if $(COVERAGE),--cov --cov-report=term:skip-covered)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup attack audit demo test test-oldest test-newest slow test-pyro lint lint-check lint-format lint-types bench \
	notebooks docs clean

help: ## list the targets
	@echo "usage: make TARGET [PYTHON=/path/to/python3.11] [VENV=.venv] [TESTS=tests/models] [COVERAGE=1] [NOTEBOOKS=02]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(DEV) ## create the environment VENV and install everything that the other targets need

demo: $(DEV) ## wrong labels, unseen digits, right ones: tables and figures into runs/demo
	$(PY) -m inference demo --out runs/demo

test: $(DEV) ## the tests and doctests, without the slow ones; COVERAGE=1 also reports what they ran
	$(if $(COVERAGE),$(COVER)) $(PYTEST) -m "not slow" $(COVERED) $(TESTS)

# Each in an environment of its own, .venv-oldest and .venv-newest.
test-oldest: ## the same with Python 3.11 and the oldest versions that pyproject.toml allows
	@$(MAKE) --no-print-directory test PYTHON="$(OLDEST)" VENV=.venv-oldest CONSTRAINTS=tests/oldest.txt

test-newest: ## the same with Python 3.13 and the newest versions that there are
	@$(MAKE) --no-print-directory test PYTHON="$(NEWEST)" VENV=.venv-newest

# pytest exits with 5 when it finds no test, which is no failure here.
slow: $(DEV) ## the slow tests alone
	@$(PYTEST) -m slow; status=$$?; \
	if [ $$status -eq 5 ]; then echo "make slow: no slow tests in this checkout"; else exit $$status; fi

# PYRO=--whole runs the long tests too.
test-pyro: $(DEV) ## Pyro's own tests over our distributions and our ELBO
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYRO_SOURCE="$(PYRO_SOURCE)" $(PY) tests/pyro_suite/run.py $(PYRO)

lint: lint-check lint-format lint-types ## rules, format and types

lint-check: $(DEV)
	$(VENV)/bin/ruff check .

lint-format: $(DEV)
	$(VENV)/bin/ruff format --check .

lint-types: $(DEV)
	$(VENV)/bin/mypy

audit: $(AUDIT) ## build, check and install what is handed out, run it from the wheel alone, and list licences
	$(PY) tests/audit.py $(if $(TORCH),--torch "$(TORCH)") $(if $(ONLINE),--online)

# Each attempt that finds something prints the command that makes it again. ATTACK="kills --seed 3" chooses.
attack: $(DEV) ## kill runs, break their files, ask wrong programs, try numbers at the ends of their ranges, for MINUTES
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m inference.studies.attack --minutes $(MINUTES) $(ATTACK)

# QUICK=1 only sees that it runs; DEVICE=cuda measures on a GPU.
bench: $(BENCH) ## steps, epochs, memory and imports beside by hand, Pyro and NumPyro, into benchmarks/
	$(PY) -m inference bench --device $(DEVICE) $(if $(QUICK),--quick,--out $(RESULTS))

notebooks: $(DEV) ## run every notebook, small
	@if [ -d notebooks ]; then $(PY) notebooks/run.py --smoke $(NOTEBOOKS); \
	else echo "make notebooks: nothing to run, this checkout has no notebooks/"; fi

docs: ## build the documentation into docs/_build/html
	@if [ -d docs ]; then $(MAKE) --no-print-directory $(DOCS) && $(VENV)/bin/sphinx-build -W docs docs/_build/html; \
	else echo "make docs: nothing to build, this checkout has no docs/"; fi

clean: ## remove builds and caches; .venv and runs/ stay
	rm -rf build dist .coverage .coverage.* docs/_build .mypy_cache .pytest_cache .ruff_cache
	find . -path './.venv*' -prune -o -type d -name __pycache__ -exec rm -rf {} +

# The last file that a finished `python -m venv` leaves.
$(PIP):
	@command -v $(PYTHON) > /dev/null || { \
	echo "error: '$(PYTHON)' not found; name a Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "error: ib_pyro needs Python 3.11 or newer and '$(PYTHON)' is $$($(PYTHON) --version 2>&1);" \
	"name another: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	echo "error: '$(PYTHON) -m venv' failed; on Debian or Ubuntu install its modules: apt-get install python3-venv" >&2; \
	exit 1; }

# The stamps make an installation happen once, and again when what is to be installed has changed.
$(DEV): pyproject.toml $(CONSTRAINTS) | $(PIP)
	$(PIP) install --disable-pip-version-check $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	@touch $@

$(DOCS): $(DEV)
	$(PIP) install --disable-pip-version-check --editable '.[docs]'
	@touch $@

$(AUDIT): $(DEV)
	$(PIP) install --disable-pip-version-check --editable '.[audit]'
	@touch $@

$(BENCH): $(DEV)
	$(PIP) install --disable-pip-version-check --editable '.[bench]'
	@touch $@
