# One command per habit; CONTRIBUTING.md has the table.  Everything runs in .venv, which each target brings up
# to date by itself: dependencies by the hash of pyproject.toml, extensions by the hash of their sources.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build

PYTHON ?= python3
ROUNDS ?= 5
BIN := .venv/bin
# A file of tests stays in one process: its fixtures may be a peer that runs.
PARALLEL := --numprocesses auto --maxprocesses 4 --dist loadfile

COMPILED := $(sort $(wildcard src/_fast/*.py src/_fast/*.pyx src/_fast/*.pxd src/_fast/*.pyi)) setup.py pyproject.toml
digest = $(shell sha256sum $(1) | sha256sum | cut -c1-16)
TOOLS := .venv/.tools-$(call digest,pyproject.toml)
TESTING := .venv/.testing-$(call digest,pyproject.toml)
LINTING := .venv/.linting-$(call digest,pyproject.toml)
INSTALLED := .venv/.installed-$(call digest,setup.py pyproject.toml)
BUILT := .venv/.built-$(call digest,$(COMPILED))

# Prints the requirements that pyproject.toml lists under build-system, project or an extra.
REQUIRES := import sys, tomllib; p = tomllib.load(open("pyproject.toml", "rb")); \
	sets = {"build": p["build-system"]["requires"], "run": p["project"]["dependencies"], \
	**p["project"]["optional-dependencies"]}; print(*sets[sys.argv[1]], sep="\n")
require = $(BIN)/python -c '$(REQUIRES)' $(1) | $(BIN)/pip install --quiet --disable-pip-version-check -r /dev/stdin

.PHONY: build run demo test packages compliance man metric-table cov bench bench-sipp bench-chain bench-events bench-connections bench-report instructions soak soak-sample docs reference lint types stubtest annotate debug sanitize clean

build: $(BUILT)  ## editable install of what is in src/

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo 'reginfo: Python 3.11 or newer is needed: apt install python3' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'reginfo: $(PYTHON) cannot make virtual environments: apt install python3-venv' >&2; exit 1; }
	@set -- $${CC:-$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}; \
		command -v $$1 >/dev/null || { echo 'reginfo: no C compiler: apt install gcc' >&2; exit 1; }; \
		echo '#include <stdio.h>' | $$1 -E - >/dev/null 2>&1 || \
		{ echo 'reginfo: no C library headers: apt install libc6-dev' >&2; exit 1; }
	@$(PYTHON) -c 'import os, sys, sysconfig; \
		sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' || \
		{ echo 'reginfo: no Python.h for $(PYTHON): apt install python3-dev' >&2; exit 1; }
	@echo 'Making .venv (once)'
	@$(PYTHON) -m venv .venv

$(TOOLS): $(BIN)/python
	@echo 'Installing what reginfo builds on'
	@$(call require,build)
	@$(call require,run)
	@rm -f .venv/.tools-* .venv/.built-* .venv/.installed-* && touch $@

$(TESTING): $(TOOLS)
	@echo 'Installing the test tools'
	@$(call require,test)
	@rm -f .venv/.testing-* && touch $@

$(LINTING): $(TESTING)
	@echo 'Installing the lint tools'
	@$(call require,dev)
	@rm -f .venv/.linting-* && touch $@

$(BUILT): $(TOOLS)
	@echo 'Compiling src/_fast, a minute or two'
	@REGINFO_STRICT=1 $(BIN)/python -u setup.py -q build_ext --inplace | sed -u '/^Compiling .* because /d'
	@test -e $(INSTALLED) || $(BIN)/pip install --quiet --disable-pip-version-check \
		--no-build-isolation --no-deps --editable .
	@rm -f .venv/.built-* .venv/.installed-* && touch $(INSTALLED) $@

run: $(BUILT)  ## registrar for example.com on 127.0.0.1:5060, UDP and TCP, bindings kept in the folder reginfo.db
	@exec $(BIN)/reginfo serve --admin 127.0.0.1:8080

demo: $(BUILT)  ## a server, phones and watchers for ten seconds: what they are told is the truth
	@$(BIN)/reginfo demo

test: $(TESTING) $(BUILT)  ## all tests but those of packages, and the benchmarks once each so that they cannot rot
	$(BIN)/python -m pytest $(PARALLEL) -m 'not packaging'
	$(BIN)/python -m pytest benchmarks --benchmark-disable

packages: $(TESTING) $(BUILT)  ## sdist, wheel, editable install and image, built and tried (three times the compiler)
	$(BIN)/python -m pytest -m packaging

compliance: $(TESTING) $(BUILT)  ## docs/rfc-compliance.md: each requirement, its code and its tests
	$(BIN)/python -m tests.compliance

man: $(TESTING) $(BUILT)  ## docs/man/reginfo.1, from the help of the commands
	$(BIN)/python -m tests.manual

metric-table: $(TESTING) $(BUILT)  ## the tables of docs/metrics.md, from what /metrics says of itself
	$(BIN)/python -m tests.metric_table

reference: $(TESTING) $(BUILT)  ## docs/reference-*.md: keys, commands, methods and names, as the code has them
	$(BIN)/python -m tests.reference_pages

docs: $(TESTING) $(BUILT)  ## the documentation as a site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

cov: $(LINTING)  ## branch coverage of src/reginfo, line coverage of src/_fast, from a traced build
	REGINFO_TRACE=1 $(BIN)/python setup.py -q build
	PYTHONPATH=$(CURDIR)/build/trace/lib $(BIN)/python -m coverage run -m pytest -m 'not packaging'
	PYTHONPATH=$(CURDIR)/build/trace/lib $(BIN)/python -m coverage report --skip-covered

bench: $(TESTING) $(BUILT)  ## every benchmark group; results are kept in .benchmarks for comparison
	$(BIN)/python -m pytest benchmarks --benchmark-autosave --benchmark-storage=.benchmarks \
		--benchmark-group-by=group --benchmark-columns=min,median,stddev,rounds

bench-sipp: $(TESTING) $(BUILT)  ## registrar and Kamailio under the same SIPp load: table, CSV and plot
	$(BIN)/python -m benchmarks.sipp_table

bench-chain: $(TESTING) $(BUILT)  ## REGISTER -> PUBLISH -> compositor, this project's pair and Kamailio's
	$(BIN)/python -m benchmarks.chain

bench-report: $(TESTING) $(BUILT)  ## every promised figure with its bound: table, CSV and plot in benchmarks/results
	$(BIN)/python -m benchmarks.report --rounds $(ROUNDS)

bench-events: $(TESTING) $(BUILT)  ## NOTIFYs applied and sent, memory of a subscription, REGISTER to NOTIFY
	$(BIN)/python -m benchmarks.events

bench-connections: $(TESTING) $(BUILT)  ## memory and idle CPU of 15,000 phones over TCP and 3,000 over TLS, and losing them all
	$(BIN)/python -m benchmarks.connections

instructions: $(TESTING) $(BUILT)  ## instructions of the compiled paths beside those of the parent commit; a rise of 5 % fails
	$(BIN)/python -m benchmarks.instructions --against HEAD^

soak: $(TESTING) $(BUILT)  ## 100 kills under load, of one server and of a chain, a minute without receiver of webhooks, thousands of models, ten minutes of mutated traffic
	$(BIN)/python -m tests.soak.kill --kills 100
	$(BIN)/python -m tests.soak.chain --kills 100
	$(BIN)/python -m tests.soak.webhook --seconds 60
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest tests/roles/test_convergence.py
	$(BIN)/python -m tests.soak.mutate --seconds 600

soak-sample: $(TESTING) $(BUILT)  ## the bounded part of soak: 10 kills of each kind, one minute of mutated traffic
	$(BIN)/python -m tests.soak.kill --kills 10
	$(BIN)/python -m tests.soak.chain --kills 10
	$(BIN)/python -m tests.soak.webhook --seconds 5
	$(BIN)/python -m tests.soak.mutate --seconds 60

lint: $(LINTING) types  ## formatting, ruff, cython-lint, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint src/_fast  # it calls pycodestyle by name

# mypy does not follow the mapping of an editable install, so it is shown the layout of the wheel.
types: $(LINTING) $(BUILT)
	@mkdir -p build/types/reginfo
	@find build/types/reginfo -type l -delete
	@ln -s $(CURDIR)/src/reginfo/* $(CURDIR)/src/_fast build/types/reginfo/
	$(BIN)/mypy -p reginfo
	$(BIN)/mypy tests benchmarks

stubtest: $(TESTING)  ## the .pyi files against the extensions of an installed wheel
	$(BIN)/python -m pytest tests/packaging -k stub

annotate: $(TESTING)  ## Cython's annotated C, to build/annotate
	REGINFO_ANNOTATE=1 $(BIN)/python setup.py -q build_ext
	@ls build/annotate/*.html

debug: $(TESTING)  ## tests/fast on a build with bounds checks and assertions, hardly optimised
	REGINFO_DEBUG=1 $(BIN)/python setup.py -q build
	PYTHONPATH=$(CURDIR)/build/debug/lib $(BIN)/python -m pytest tests/fast

# Over-reads of bytes objects hide inside pymalloc's arenas, hence PYTHONMALLOC; CPython's own immortal objects are
# leaks to LeakSanitizer.
SANITIZED := tests/fast tests/torture
sanitize: $(TESTING)  ## tests/fast and the corpora under AddressSanitizer and UndefinedBehaviorSanitizer
	REGINFO_SAN=address,undefined $(BIN)/python setup.py -q build
	PYTHONPATH=$(CURDIR)/build/sanitize/lib PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=0:intercept_strstr=0 UBSAN_OPTIONS=print_stacktrace=1 \
	LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	$(BIN)/python -m pytest $(PARALLEL) -p no:cacheprovider -m 'not network' $(SANITIZED)

clean:  ## everything that a build leaves behind, but not .venv and not the registrations in reginfo.db
	rm -rf build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .venv/.built-* .venv/.installed-*
	rm -f src/_fast/*.c src/_fast/*.so src/_fast/*.html
	find src tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
