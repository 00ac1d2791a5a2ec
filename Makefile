# Everything runs from a virtual environment that this file builds: git, make and Python >= 3.11 suffice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.installed
TOOLS := $(VENV)/.installed-tools

SOURCES := kafkawire logstore metadata replication kraft cli chaos

.PHONY: demo test lint bench interop bytecode clean

$(RUNTIME): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[uvloop]"
	touch $@

$(TOOLS): $(RUNTIME)
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

# For the many processes that are started below, which would each compile everything where
# PYTHONDONTWRITEBYTECODE is set.
bytecode: $(RUNTIME)
	@$(BIN)/python -m compileall -q $(SOURCES)

demo: bytecode
	$(BIN)/python -m chaos demo $(ARGS)

lint: $(TOOLS)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint bytecode
	$(BIN)/python -m pytest -n auto --dist loadgroup

bench: $(TOOLS) bytecode
	$(BIN)/python -m benchmarks $(ARGS)

interop: $(TOOLS) bytecode
	$(BIN)/python -m interop $(ARGS)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
