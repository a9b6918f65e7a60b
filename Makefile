# Two commands on a fresh machine: `make study` and `make test`. Both need Python >= 3.11 and a package registry.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= runs/demo
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: study test check audit bench docs dist tutorial clean

study: $(VENV)/study
	$(BIN)/cov-study run --preset demo --out $(OUT)

test: $(VENV)/dev
	$(BIN)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry .

audit: $(VENV)/dev
	$(BIN)/python .ci/audit.py

docs: $(VENV)/dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# The source archive, and the wheel made of it.
dist: $(VENV)/dev
	$(BIN)/python -m build --no-isolation

# The tutorial, word for word, in a fresh virtual environment; minutes, most of them installation.
tutorial: $(VENV)/dev
	$(BIN)/python tests/docs/tutorial.py

# Three quarters of an hour; `make bench QUICK=1` takes under three minutes.
bench: $(VENV)/dev
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick)

# A stamp for each install: later calls reuse the environment until what it is made of changes.
$(VENV)/study: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(VENV)/dev: pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(VENV)/study $@

$(BIN)/pip:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

clean:
	rm -rf $(VENV) build dist site *.egg-info
