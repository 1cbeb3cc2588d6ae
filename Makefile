# What each target promises is in README.md. PYTHON chooses the interpreter for .venv.
PYTHON ?= python3
PORT ?= 8000
export PORT

BIN := .venv/bin

.PHONY: run test venv clean

venv: .venv/.installed

.venv/.installed: setup.cfg pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.installed-test: .venv/.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

run: venv
	@$(BIN)/personalize-gateway run --port $(PORT)

test: .venv/.installed-test
	@tests/install-browsers.sh
	@$(BIN)/pytest

clean:
	rm -rf .venv
