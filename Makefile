# The first target that is made also creates the environment in $(VENV), with the first CPython >= 3.10 on
# PATH. To use another one: make test PYTHON=python3.12 VENV=.venv-3.12. ARGS=… adds arguments to the program.
# make fuzz FAMILY=list EXAMPLES=50000 SERVERS_TO_FUZZ=redis-8.2,valkey-9.1: the families are the modules of
# tests/emulator/fuzz.

VENV ?= .venv
ARGS ?=
FAMILY ?=
EXAMPLES ?= 1000
SERVERS_TO_FUZZ ?= redis-8.2
MODULES ?=
SAMPLE ?= 1000
SEED ?= 0
JOBS ?= 2
REDIS_PY ?= 5.0.1
BIN := $(VENV)/bin
READY := $(VENV)/ready

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& { echo "$$python"; break; }; done)
endif

# All servers that are found. The named ones are required: the run fails if one of them is missing.
SERVERS = --stateful-backend all --stateful-backend redis-8.2 \
	$$($(BIN)/python -c 'import sys; print("--stateful-backend valkey-9.1" * (sys.version_info >= (3, 11)))')

# The tests of code that uses hiredis if it is installed. redis-py uses it too, so hiredis is not in the
# environment of the other tests.
HIREDIS = tests/podlink tests/emulator/test_parser.py tests/emulator/test_hostile.py tests/emulator/test_tcp.py

# The tests that need no server, with a fifth of the examples. tests/mutation tests a tool of ours.
QUICK = -q -n auto --dist loadgroup -p no:benchmark -m 'not needs_servers' --hypothesis-profile=quick \
	--ignore=tests/benchmarks --ignore=tests/topologies --ignore=tests/test_packaging.py \
	--ignore=tests/conformance/test_planted_faults.py --ignore=tests/mutation

.PHONY: help demo test quick coverage hiredis oldest-redis generate lint bench conformance topologies chaos fuzz mutants mutants-emulator wheel clean

help:
	@echo 'make demo         run the demo: pods register, users are linked, move and expire'
	@echo 'make test         run the test suite on the emulator and on real servers'
	@echo 'make quick        run the tests that need no server: about a minute'
	@echo 'make coverage     measure branch coverage of the three packages'
	@echo 'make hiredis      run the tests of code that uses hiredis, with hiredis'
	@echo 'make oldest-redis run the tests of podlink with the oldest supported redis-py'
	@echo 'make conformance  run the conformance state machine: 2,000 examples on every server'
	@echo 'make topologies   run the tests with real clusters, Sentinels, TLS and failures'
	@echo 'make chaos        run load and random faults: SECONDS=… on each topology, SEED=…, TOPOLOGY=…'
	@echo 'make fuzz         compare random commands on the emulator and servers: FAMILY=…, EXAMPLES=…'
	@echo 'make mutants      run mutation testing: which changed versions of podlink pass all tests'
	@echo 'make bench        run the benchmarks, which compare with other libraries'
	@echo 'make generate     generate the synchronous executor and router, and the ACL rules in the docs'
	@echo 'make lint         run ruff and mypy, and check that generated files are up to date'
	@echo 'make wheel        build the wheel and test it in a clean environment'

demo: $(READY)
	$(BIN)/podlink demo $(ARGS)

test: $(READY)
	$(BIN)/pytest -n auto --dist loadgroup --ignore=tests/benchmarks --ignore=tests/topologies -p no:benchmark $(SERVERS) $(ARGS)

quick: $(READY)
	$(BIN)/pytest $(QUICK) $(ARGS)

# Only the tests that need no server: to measure all of them would take CI as long again as `make test`.
coverage: $(READY)
	$(BIN)/pytest $(QUICK) --cov --cov-report=term $(ARGS)

hiredis: $(READY)
	PYTHONPATH=$(abspath $(VENV))/hiredis $(BIN)/pytest -n auto --dist loadgroup -p no:benchmark $(HIREDIS) $(ARGS)

# With another release: make oldest-redis REDIS_PY=6.4.0
oldest-redis: $(READY)
	test -d $(VENV)/redis-$(REDIS_PY) || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		--target $(VENV)/redis-$(REDIS_PY) 'redis==$(REDIS_PY)'
	PYTHONPATH=$(abspath $(VENV))/redis-$(REDIS_PY) $(BIN)/pytest -q -n auto --dist loadgroup -p no:benchmark \
		--hypothesis-profile=quick -m 'not needs_servers' tests/podlink $(ARGS)

conformance: $(READY)
	$(BIN)/pytest -n auto -p no:benchmark --timeout=0 --hypothesis-profile=conformance \
		--pyargs pytest_podlink.conformance $(SERVERS) $(ARGS)

topologies: $(READY)
	$(BIN)/pytest -p no:benchmark --timeout=0 tests/topologies $(ARGS)

chaos: $(READY)
	$(BIN)/python -m tests.chaos --seconds $(or $(SECONDS),10) $(SEED:%=--seed %) $(TOPOLOGY:%=--topology %) $(ARGS)

fuzz: $(READY)
	FUZZ_EXAMPLES=$(EXAMPLES) FUZZ_SERVERS=$(SERVERS_TO_FUZZ) $(BIN)/pytest -n auto -p no:benchmark \
		--timeout=0 tests/emulator/fuzz $(if $(FAMILY),-k'-$(FAMILY)]') $(ARGS)

# make mutants MODULES='drain aio/manager lua' JOBS=4; ARGS=--fresh ignores the results of earlier runs.
mutants: $(READY)
	$(BIN)/python -m tests.mutation $(MODULES) --jobs $(JOBS) $(ARGS)

mutants-emulator: $(READY)
	$(BIN)/python -m tests.mutation --emulator $(MODULES) --sample $(SAMPLE) --seed $(SEED) --jobs $(JOBS) $(ARGS)

bench: $(READY)
	$(BIN)/pytest -s tests/benchmarks $(ARGS)

generate: $(READY)
	$(BIN)/python .ci/generate_sync.py
	$(BIN)/python .ci/generate_acl.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/pre-commit validate-config
	$(BIN)/python .ci/generate_sync.py --check

wheel: $(READY)
	rm -rf dist build/smoke
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python -m venv build/smoke
	build/smoke/bin/pip install --quiet --disable-pip-version-check "$$(echo dist/*.whl)[cli,emulator]"
	cd build/smoke && bin/podlink ping emulator:// && bin/podlink demo --users 100

clean:
	rm -rf $(VENV) build dist

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo 'podlink needs CPython 3.10 or newer: none found as python3 or' \
		'python3.10 … python3.13; name one with make PYTHON=…' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
		echo 'podlink needs CPython 3.10 or newer: $(PYTHON) is older or does not run' >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' || { echo '$(PYTHON) cannot make environments: install' \
		'its venv package (Debian: apt-get install python3-venv)' >&2; exit 1; }
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check --target $(VENV)/hiredis 'hiredis>=3.2'
	@touch $@
