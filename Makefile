# What each target promises is in README.md. PYTHON chooses the interpreter for .venv; LOCKED=1
# installs the versions of requirements.lock.
PYTHON ?= python3
PORT ?= 8000
export PORT
# The suite starts hundreds of Python processes: without this each would compile every module.
unexport PYTHONDONTWRITEBYTECODE

BIN := .venv/bin
PIP_INSTALL = $(BIN)/pip install --quiet --quiet --disable-pip-version-check

.PHONY: run test test-unit test-integration test-browser test-loaded
.PHONY: venv dist image lock audit bench soak snippet openapi clean

venv: .venv/.installed

.venv/.installed: setup.cfg pyproject.toml
	@echo "Installing into .venv"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
ifdef LOCKED
	@$(PIP_INSTALL) --require-hashes --requirement requirements.lock
	@$(PIP_INSTALL) --no-deps --editable .
else
	@$(PIP_INSTALL) --editable .
endif
	@touch $@

.venv/.installed-test: .venv/.installed
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $@

.venv/.installed-dist: .venv/.installed
	@$(PIP_INSTALL) --editable '.[dist]'
	@touch $@

run: venv
	@$(BIN)/personalize-gateway run

PYTEST = $(BIN)/pytest -n 4 --dist loadfile --no-loadscope-reorder

test: .venv/.installed-test
	@tests/install-browsers.sh
	@$(PYTEST)

# Parts of the suite, for people at work: pure code in seconds, then what needs more.
test-unit: .venv/.installed-test
	@$(BIN)/pytest tests/unit

test-integration: .venv/.installed-test
	@tests/install-browsers.sh
	@$(PYTEST) tests/integration tests/soak

test-browser: .venv/.installed-test
	@tests/install-browsers.sh
	@$(PYTEST) tests/browser

# The whole suite beside two busy loops, three times in a row.
test-loaded: .venv/.installed-test
	@tests/install-browsers.sh
	@for loop in 1 2; do timeout 7200 sh -c 'while :; do :; done' & loops="$$loops $$!"; done; \
	trap 'kill $$loops' EXIT; \
	for run in 1 2 3; do $(PYTEST) || exit 1; done

# Prints tables, writes bench/results/, in some 15 minutes. MEASURES chooses some: see bench/__main__.py.
bench: .venv/.installed-test
	@$(BIN)/python -m bench $(MEASURES)

# The long runs; SOAK_SECONDS, SOAK_VISITS (in each browser) and SOAK_SEED choose others.
soak: .venv/.installed-test
	@SOAK_SECONDS=$${SOAK_SECONDS:-900} $(BIN)/pytest tests/soak/test_conservation.py tests/soak/test_conservation_sqs.py
	@SOAK_SECONDS=$${SOAK_SECONDS:-900} $(BIN)/pytest tests/soak/test_fuzz.py tests/integration/test_hostile_clients.py tests/integration/test_session_tabs.py
	@SOAK_DAMAGES=$${SOAK_DAMAGES:-500} SOAK_CRASHES=$${SOAK_CRASHES:-20} $(BIN)/pytest tests/integration/test_queue_faults.py
	@SOAK_VISITS=$${SOAK_VISITS:-200} $(BIN)/pytest tests/browser/test_snippet_delivery.py

# The container's image, built without root by buildah or podman, else by docker.
image:
	@deploy/build-image.sh

# Wheel, sdist, npm package and SBOM, in dist/.
dist: .venv/.installed-dist
	@rm -rf dist
	@tools/build_dist.sh .venv dist
	@ls dist

# Renew requirements.lock, after a change of setup.cfg or to take newer releases.
lock: .venv/.installed-dist
	@$(BIN)/uv pip compile setup.cfg --quiet --upgrade --generate-hashes --universal \
		--python-version 3.11 --custom-compile-command "make lock" --output-file requirements.lock

# Known vulnerabilities of what the lock pins, where the registry answers.
audit: .venv/.installed-dist
	@$(BIN)/uv tool run --quiet pip-audit --disable-pip --require-hashes --requirement requirements.lock

# Needed after a change of static/*.src.js only; who runs the gateway needs no build.
# A build that was never committed was never served, and goes.
snippet: .venv/.installed-test
	@git clean --quiet --force static/releases
	@$(BIN)/python -m tools.build_snippet

# Needed after a change of the schemas or of tools/openapi.py.
openapi: .venv/.installed-test
	@$(BIN)/python -m tools.openapi

clean:
	rm -rf .cache .venv dist
