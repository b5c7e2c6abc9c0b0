# Project commands. Each installs its requirements into .venv on first use, and again after a pin changes.
#
#   make demo | test | bench | bench-docs | quality | lint | format | stubs | docs | docs-figures | container-check | clean
#   make release-check                                    PYTHON=python3.12   use another interpreter (3.11 or newer)
#   make test ARGS='-k som --kills 50'                    TORCH=no            run without PyTorch (see CONTRIBUTING.md)

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
TORCH  ?= yes
ARGS   ?=
JOBS   ?= $(shell expr $$(nproc) + 1)

VENV    := .venv
BIN     := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e clients/python
SPHINX  := $(BIN)/python -m sphinx -q -W --keep-going docs docs/_build/html
PINS    := pyproject.toml clients/python/pyproject.toml constraints.txt
ifneq ($(TORCH),no)
ORACLE  := $(VENV)/.with-torch
endif

.PHONY: help system-packages demo test bench bench-docs quality container-check release-check lint format stubs docs docs-figures clean
.NOTPARALLEL:

help:
	@sed -n '3,5s/^# *//p' Makefile

demo: $(VENV)/.with-demo
	$(BIN)/streamlearn demo $(ARGS)

# The tests start hundreds of interpreters: each would compile the modules again without their bytecode.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.with-test $(ORACLE) system-packages
	$(BIN)/streamlearn warmup
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

# Programs that the tests run, and their Debian packages: systemd-analyze checks the unit file, Chromium shows the
# page, openssl makes certificates, Prometheus (with promtool) reads the files of deploy/monitoring, kubectl
# those of deploy/kubernetes; gcc, cmake and valgrind build and check the C client, with the header of LIBRARIES
# (names of pkg-config); mosquitto is an MQTT broker; node (20 or newer) and npm build the Node client. Only root can
# install them.
PROGRAMS  := systemd-analyze:systemd chromium:chromium openssl:openssl promtool:prometheus curl:curl gcc:build-essential \
             make:build-essential cmake:cmake pkg-config:pkg-config valgrind:valgrind \
             mosquitto:mosquitto mosquitto_pub:mosquitto-clients kubectl:kubernetes-client node:nodejs npm:npm
LIBRARIES := libzmq:libzmq3-dev

system-packages:
	@missing=; for each in $(PROGRAMS); do \
	  command -v $${each%:*} > /dev/null || missing="$$missing $${each#*:}"; done; \
	for each in $(LIBRARIES); do \
	  pkg-config --exists $${each%:*} 2> /dev/null || missing="$$missing $${each#*:}"; done; \
	if [ -n "$$missing" ]; then echo "installing$$missing, for the tests"; \
	  apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing > /dev/null; fi

bench: $(VENV)/.with-peers $(VENV)/.with-deep-river $(ORACLE)
	$(BIN)/python -m benchmarks $(ARGS)

lint: $(VENV)/.with-lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo --no-cache
	$(SPHINX)

# The results in the documents: run it on a quiet machine.
bench-docs: $(VENV)/.with-peers $(VENV)/.with-deep-river $(ORACLE)
	$(BIN)/python -m benchmarks --json docs/data/bench.json $(ARGS)
	$(BIN)/python -m benchmarks.report

# The quality of learning beside other libraries; it does not depend on the machine's speed.
quality: $(VENV)/.with-peers $(ORACLE)
	$(BIN)/python -m benchmarks.quality $(ARGS)

# The container image, without a container engine: its steps in a chroot of Debian, and the image as it would run.
container-check: $(VENV)/.with-test
	@command -v debootstrap > /dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap > /dev/null; }
	$(BIN)/python -m tools.container_check $(ARGS)

# What a release promises: one version, and packages that work in empty environments of each Python.
release-check: $(VENV)/.with-release
	$(BIN)/python -m tools.release_check $(ARGS)

format: $(VENV)/.with-lint
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

stubs: $(VENV)/.with-lint
	$(BIN)/python -m tools.stubs
	$(BIN)/python -m tools.kinds
	$(BIN)/python -m tools.copy_docstrings

docs: $(VENV)/.with-docs
	@$(SPHINX)
	@echo "the site is at docs/_build/html/index.html"

docs-figures: $(VENV)/.with-demo
	for figure in docs/figures/*.py docs/screens/*.py; do $(BIN)/python $$figure || exit 1; done

clean:
	rm -rf $(VENV) build dist docs/_build .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp file per extra of pyproject.toml.
$(VENV)/.with-%: $(PINS) | $(BIN)/pip
	@echo "installing streamlearn[$*] into $(VENV)"
	@$(INSTALL) -e '.[$*]'
	@touch $@

# PyTorch is optional outside CI. A failed installation leaves no stamp, so the next run tries again.
$(VENV)/.with-torch: $(PINS) | $(BIN)/pip
	@echo "installing PyTorch, an oracle of the tests and a peer of the benchmarks (TORCH=no skips it)"
	@if $(INSTALL) -e '.[torch]'; then touch $@; \
	 else echo "PyTorch: the installation failed; its tests will not run"; test -z "$$CI"; fi

# A peer of the benchmarks that needs other versions than the others: it gets a folder of its own, with its river,
# and shares the rest. Without it `make bench` names it as absent.
$(VENV)/.with-deep-river: Makefile | $(BIN)/pip
	@echo "installing deep-river, a peer of the benchmarks, into $(VENV)/deep-river"
	@if $(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --upgrade \
	 --target $(VENV)/deep-river deep-river==0.3.4 river==0.25.0; then touch $@; \
	 else echo "deep-river: the installation failed; the benchmarks name it as absent"; fi

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	 { echo "$(PYTHON) is not Python 3.11 or newer; choose one: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
