# `make app` and `make test` do everything on a fresh machine.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
# Options of `make lock`, such as LOCK=--upgrade.
LOCK :=
# The first interpreter that runs and has a version for which TensorFlow publishes wheels.
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: app pacs-demo test check docs lock audit package clean

app: $(VENV)/app.installed ## create the environment, install, start the app with the shipped model
	$(BIN)/python -m streamlit run app.py

pacs-demo: $(VENV)/pacs.installed ## a PACS on this computer with synthetic studies, and the app
	@$(BIN)/python scripts/pacs_demo.py

# Browser tests wait for pages to be drawn, so they run alone, after all others.
test: $(VENV)/dev.installed ## all tests but those marked slow; data and browser tests where possible
	@status=0; \
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not browser" || status=1; \
	$(BIN)/python -m pytest -m "browser and not slow" || status=1; \
	exit $$status

check: $(VENV)/dev.installed ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/docs.installed ## build the documentation and API reference into site/
	$(BIN)/python -m mkdocs build --strict

lock: $(VENV)/dev.installed ## pin requirements.txt from the ranges of pyproject.toml, for all versions of Python
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --no-annotate \
		--no-emit-index-url --custom-compile-command "make lock" $(LOCK) --output-file requirements.txt

audit: $(VENV)/dev.installed ## known vulnerabilities of the pinned packages
	$(BIN)/pip-audit --requirement requirements.txt --no-deps --disable-pip --strict

package: $(VENV)/dev.installed ## wheel and sdist in dist/
	$(BIN)/python -m hatchling build

$(VENV)/app.installed: requirements.txt | $(BIN)/python
	$(PIP) --requirement requirements.txt
	touch $@

$(VENV)/pacs.installed: requirements-pacs.txt $(VENV)/app.installed
	$(PIP) --requirement requirements-pacs.txt
	touch $@

$(VENV)/dev.installed: requirements-dev.txt $(VENV)/pacs.installed
	$(PIP) --requirement requirements-dev.txt
	touch $@

$(VENV)/docs.installed: requirements-docs.txt | $(BIN)/python
	$(PIP) --requirement requirements-docs.txt
	touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found."; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean: ## remove the environment, caches and the built documentation; models and data stay
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache
