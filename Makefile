# `make course` runs the lessons, `make test` tests, `make lab` opens the notebooks.
PYTHON ?= python3
BIN := .venv/bin
INSTALL := python -m pip install --quiet --disable-pip-version-check

.PHONY: course experiments site slides test test-all lab mutants faults peers bench lock
course: .venv/ready
	$(BIN)/course run

# What backs the lessons.
experiments: .venv/ready
	$(BIN)/course run --experiments

# The lessons and experiments as pages, in build/site/; `course site --serve` shows them.
site: .venv/site-ready
	$(BIN)/course site

# The slides of the lessons, in build/slides/.
slides: .venv/site-ready
	$(BIN)/course slides

# Style, unit tests, lessons and those experiments that have changed.
test: .venv/ready
	$(BIN)/course test

# Also slow tests, the site, all experiments, faults, peers.
test-all: .venv/ready .venv/site-ready .venv-peers/ready
	$(BIN)/course fetch
	$(BIN)/course test --all
	$(BIN)/course peers

lab: .venv/ready
	$(BIN)/course lab

# Plausible mistakes, each of which a check must notice.
mutants: .venv/ready
	$(BIN)/course mutants

# Killed runs, damaged files (copies of the fetched ones), full disks, notebooks that never end.
faults: .venv/ready
	$(BIN)/course fetch
	$(BIN)/course faults

# Whether independent libraries and published formulae give the same numbers: some two minutes.
peers: .venv/ready .venv-peers/ready
	$(BIN)/course fetch
	$(BIN)/course peers

# How fast the course is, beside Keras' own ways and PyTorch: some minutes (`course bench course`: over an hour).
bench: .venv/ready .venv-peers/ready
	$(BIN)/course bench

# PyTorch, for comparison only. On Linux it brings gigabytes of CUDA, unless PIP_EXTRA_INDEX_URL names its index of CPU wheels.
.venv-peers/ready: pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/$(INSTALL) "pip>=25.1"
	.venv-peers/bin/$(INSTALL) --group peers
	touch $@

# Locked versions with hashes; the packages themselves stay editable, so that notebooks see their source.
.venv/ready: requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else 'The course needs Python 3.11 to 3.13; name one: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(BIN)/$(INSTALL) --require-hashes -r requirements.lock
	$(BIN)/$(INSTALL) --no-deps --no-build-isolation --editable .
	touch $@

# Sphinx and its themes, for pages and slides only.
.venv/site-ready: .venv/ready requirements-site.lock
	$(BIN)/$(INSTALL) --require-hashes -r requirements-site.lock
	touch $@

# After a change of pyproject.toml: all versions with all hashes.
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header
lock: .venv/ready
	$(BIN)/$(INSTALL) uv
	$(COMPILE) --all-extras --output-file requirements.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --group site --output-file requirements-site.lock
