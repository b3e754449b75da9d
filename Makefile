# Each target sets itself up: Python 3.11 or later, git and make are all that has to be there.
SHELL := /bin/sh
.DELETE_ON_ERROR:
.PHONY: images demo test lint bench docs serve clean help

# A bare shell may forbid bytecode; snakemake then takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

PYTHON ?= python3
TOOLS := .tools
UV := $(TOOLS)/bin/uv
SYNCED := .venv/.synced
RUN := .venv/bin

help:
	@echo "make demo    run a workflow through the service: fail in part, re-run that part, show the results"
	@echo "make test    install what the tests need and run all of them"
	@echo "make lint    format, style, types, layers, workflows, documentation"
	@echo "make bench   the benchmarks, as ratios"
	@echo "make images  build the container images with podman or docker"
	@echo "make docs    build the documentation into site/"
	@echo "make serve   start a server on this machine"

demo: $(SYNCED)
	@PATH="$(CURDIR)/$(RUN):$$PATH" sh workflows/quickstart/demo.sh

test: $(SYNCED)
	$(RUN)/pytest -n 3 --dist loadgroup $(ARGS)

lint: $(SYNCED)
	$(RUN)/ruff check src tests docs
	$(RUN)/ruff format --check src tests docs
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/snakefmt --check workflows
	cd workflows/quickstart && ../../$(RUN)/snakemake --lint
	NO_MKDOCS_2_WARNING=1 $(RUN)/mkdocs build --quiet --strict

bench: $(SYNCED)
	$(RUN)/python -m tests.benchmarks $(ARGS)

images: $(UV)
	UV=$(UV) sh containers/images/build.sh $(ARGS)

docs: $(SYNCED)
	$(RUN)/mkdocs build --strict

serve: $(SYNCED)
	$(RUN)/snakeway serve

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed; set PYTHON=/path/to/python3")'
	@echo "Setting up: about a minute, once"
	@$(PYTHON) -m venv $(TOOLS) || { echo "python3 cannot make virtual environments: install its venv package"; exit 1; }
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(SYNCED): $(UV) pyproject.toml uv.lock
	@$(UV) sync --quiet --frozen --all-extras --compile-bytecode --python $(PYTHON)
	@$(RUN)/python -m compileall -q src
	@touch $@

clean:
	rm -rf .venv $(TOOLS) site demo-data
