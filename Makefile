# Every target works as the only command on a fresh machine.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: all install run test check format test-lowest soak bench-observe screenshot system clean
all: check test

install: $(READY)

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "needs Python 3.11 or newer" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(READY)

run: install
	@$(BIN)/tiergate serve --mock

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_layout.py -p no:cacheprovider

# Branch coverage: 100 % of the library; the gaps of the sidecar are named in pyproject.toml.
test: install system
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='middleware/*' --fail-under=100
	$(BIN)/coverage report --include='sidecar/*' --fail-under=95

# 2,000 slow streams at once with faults and clients that leave: exits 1 if anything stays behind.
soak: install
	$(BIN)/python bench/soak.py

# CPU per request of log and traces, each against the same sidecar without; about 3 minutes.
bench-observe: install
	$(BIN)/python bench/observe.py

# docs/inspector.png, of a real sidecar in a real browser.
screenshot: install
	$(BIN)/python bench/screenshot.py

# What the tests call and Debian ships: certificates, a real Redis, PostgreSQL and browser.
system:
	@for tool in openssl redis-server chromium; do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	  test -z "$$missing" || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install -y --no-install-recommends $$missing >/dev/null; } \
	  || { echo "the tests need$$missing" >&2; exit 1; }

# The lower bounds of pyproject.toml, each as the version that is installed.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
	  --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/pytest -q -W default::DeprecationWarning

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-lowest .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
