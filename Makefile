# Two commands do everything on a fresh machine: `make app` and `make test`.

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that runs and is of a version that TensorFlow has wheels for.
PYTHON := $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: app test check clean

app: $(VENV)/app.installed ## make the environment, install, start the app with the shipped model
	$(BIN)/python -m streamlit run app.py

test: $(VENV)/dev.installed ## all tests but the slow ones; data and browser tests where they can run
	$(BIN)/python -m pytest

check: $(VENV)/dev.installed ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

$(VENV)/app.installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements.txt
	touch $@

$(VENV)/dev.installed: requirements-dev.txt $(VENV)/app.installed
	$(BIN)/python -m pip install --disable-pip-version-check --requirement requirements-dev.txt
	touch $@

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed and was not found."; exit 1; }
	$(PYTHON) -m venv $(VENV)

clean: ## remove the environment and caches; models and data stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
