# Every target works in a fresh clone: the first one makes .venv.
#
#   make demo    the main job on two trained networks, in one table
#   make test    the tests
#   make check   formatting, lint, types, import contract, docs, C checks, tests
#   make bench   the benchmarks of benchmarks/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := test
.PHONY: demo test

# torch first and alone, by its exact version: the package metadata asks for a range, and no other
# requirement may pull in a different build.
$(STAMP): pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt pip setuptools cffi
	$(PIP) install -c constraints.txt torch==2.13.0
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[all,dev]'
	touch $@

.PHONY: install
install: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest
