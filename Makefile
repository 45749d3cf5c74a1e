# Everything a developer types. Each target makes what it needs: a fresh checkout with Python 3.11+ and make is enough.
PYTHON ?= python3
VENV ?= .venv
DEMOS ?=
BIN = $(VENV)/bin

.PHONY: help install demo tutorial test test-slow lint type format build clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

install: $(VENV)/.installed  ## the package and its dependencies, into .venv

demo: $(VENV)/.installed  ## train, evaluate and draw (on other demonstrations: DEMOS=path)
	$(BIN)/diffpolicy demo $(if $(DEMOS),--demos "$(DEMOS)")

tutorial: $(VENV)/.installed-dev  ## execute docs/tutorial.ipynb anew, in place
	$(BIN)/python docs/run_tutorial.py

test: $(VENV)/.installed-dev  ## the tests; shapes in annotations are checked while they run
	$(BIN)/pytest -m "not slow" --jaxtyping-packages=diffpolicy,diffpolicy_envs,diffpolicy_demos,beartype.beartype

test-slow: $(VENV)/.installed-dev  ## the tests that take minutes
	$(BIN)/pytest -m slow --timeout 3600

lint: $(VENV)/.installed-dev  ## style, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

type: $(VENV)/.installed-dev  ## static types
	$(BIN)/mypy

format: $(VENV)/.installed-dev  ## put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(VENV)/.installed-dev  ## the wheel, installed alone and tried in an empty environment
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist .
	tests/wheel_smoke_test.sh dist/*.whl $(PYTHON)

clean:  ## remove what these targets made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,build,lerobot,play,tensorboard]"
	touch $@
