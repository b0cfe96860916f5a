# Every target works in a fresh clone: the first one installs what is missing and makes .venv.
#
#   make demo    the main job on two trained networks, in one table
#   make test    the tests
#   make check   formatting, lint, types, import contract, docs, C checks, Dockerfile, tests
#   make slow    the tests that fetch packages or take minutes
#   make bench   the benchmarks of benchmarks/
#   make targets the decoder built for other machines and run in emulators
#   make fuzz    the decoder under a fuzzing engine, for a minute
#   make cpp     the C++ app natively and on emulated 64-bit ARM
#   make web     the web app under Node and in headless Chromium
#   make remote  benchmarks over ssh, against a server of its own
#   make arm     load, verify and bench on emulated 64-bit ARM
#   make report  the latency report in headless Chromium
#   make docs    writes the generated pages anew

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

DECODER := edgekit/embed/edgekit_decode.h
C_FILES = $(shell find edgekit tests examples benchmarks -name '*.c' -o -name '*.h' \
    -o -name '*.cpp' -o -name '*.hpp')
# All that a tool needs to read the decoder's header as a source file.
DECODER_FLAGS := -DEDGEKIT_DECODE_IMPLEMENTATION

.DEFAULT_GOAL := test

# torch first and alone, by its exact version: the package metadata asks for a range, and no other
# requirement may pull in a different build. The install compiles the native decoder, so a change of
# its source repeats it.
$(STAMP): pyproject.toml setup.py constraints.txt tools/debian.sh \
    $(wildcard edgekit/codec/_build.py edgekit/codec/*.h $(DECODER))
	tools/debian.sh $(PYTHON)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -c constraints.txt pip setuptools cffi
	$(PIP) install -c constraints.txt torch==2.13.0
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[all,dev]'
	touch $@

.PHONY: install
install: $(STAMP)

.PHONY: demo
demo: install
	$(BIN)/python examples/demo/run.py

.PHONY: test
test: install
	$(BIN)/python -m pytest

.PHONY: slow
slow: install
	$(BIN)/python -m pytest -m slow -n 2 --dist worksteal

.PHONY: bench
bench: install
	$(PIP) install -c constraints.txt --no-build-isolation -e '.[peers]'
	set -e; for script in benchmarks/*.py; do $(BIN)/python $$script; done

# Fastest first, so that a slip shows within seconds. The decoder declares its variables where a
# function begins, in the old manner of C that every compiler takes: variableScope is off.
.PHONY: check
check: lint test

.PHONY: lint
lint: install
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/hadolint Dockerfile
	$(BIN)/python tools/cli_reference.py --check
	$(BIN)/python tools/models_page.py --check
	$(BIN)/lint-imports
	$(BIN)/clang-format --dry-run -Werror $(C_FILES)
	$(BIN)/cppcheck --quiet --language=c --error-exitcode=1 --inline-suppr \
	    --enable=warning,style,performance,portability --suppress=missingIncludeSystem \
	    --suppress=unusedFunction --suppress=variableScope --std=c99 $(DECODER_FLAGS) $(DECODER)
	$(BIN)/clang-tidy --quiet $(DECODER) -- -x c -std=c99 $(DECODER_FLAGS)
	$(BIN)/mypy

.PHONY: docs
docs: install
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python tools/models_page.py

# These two install their own compilers and emulators; they need root on Debian.
.PHONY: targets
targets: install
	tests/targets/run.sh

.PHONY: fuzz
fuzz: install
	tests/fuzz/run.sh

# The apps that embed writes, built and run: C++ natively and emulated, the web page in a browser.
.PHONY: cpp web
cpp: install
	tests/cpp/run.sh

web: install
	tests/web/run.sh

# Benchmarks: over ssh, on emulated 64-bit ARM, and their report in a browser.
.PHONY: remote arm report
remote: install
	tests/remote/run.sh

arm: install
	tests/arm/run.sh

report: install
	tests/browser/run.sh

.PHONY: clean
clean:
	rm -rf build dist demo-out *.egg-info edgekit/codec/_native.* .*_cache .hypothesis
