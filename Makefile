# Everything runs in .venv, which is built anew whenever pyproject.toml changes.
# PYTHON=... chooses the interpreter; otherwise the first one that is 3.11 or newer.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto

.PHONY: help demo test test-long test-s3rver test-azurite faults mutation bench bench-check bench-peers format clean
.DELETE_ON_ERROR:

help:
	@echo "make demo       install into $(VENV) and run examples/demo.py"
	@echo "make test       format, lint, types and tests"
	@echo "make test-long  the tests with many more examples, and those marked long"
	@echo "make test-s3rver  the tests of buckets, with another S3 server (needs npm)"
	@echo "make test-azurite  the tests of Azure, with its emulator (needs npm)"
	@echo "make faults     what may go wrong, for an hour; PART=simulator alone, MINUTES=10"
	@echo "make mutation   mutmut on the modules that decide what is visible: half an hour"
	@echo "make bench      compare with other libraries, an hour; QUICK=1: two minutes"
	@echo "make bench-check  fail if something became slower beside two of them"
	@echo "make format     format and fix what can be fixed"
	@echo "make clean      remove $(VENV), caches and builds"

demo: $(VENV)/installed
	$(BIN)/python examples/demo.py

test: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict src
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

test-long: $(VENV)/installed-dev
	LAKOTA_PROFILE=long $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "long or not long"

# An S3 server that is not the one of `make test`; it comes from the npm registry. Left out is what
# it cannot do: the range of a single first byte, whole objects while they are replaced, and listings
# while objects come and go.
S3RVER_CANNOT := lies_between or torn_object or each_of_many or during_a_listing or breaks_off or tail-cut
test-s3rver: $(VENV)/installed-dev
	test -d $(VENV)/s3rver || npm install --silent --prefix $(VENV)/s3rver s3rver@3.7
	LAKOTA_S3RVER=$(CURDIR)/$(VENV)/s3rver/node_modules/s3rver/bin/s3rver.js \
	    $(BIN)/pytest -n $(WORKERS) -k 'not ($(S3RVER_CANNOT))' \
	    tests/test_object_store.py tests/test_remote.py tests/test_cache.py tests/test_retry.py

# The emulator of Azure that Microsoft makes; it comes from the npm registry, too.
test-azurite: $(VENV)/installed-dev
	test -d $(VENV)/azurite || npm install --silent --prefix $(VENV)/azurite azurite@3
	LAKOTA_AZURITE=$(CURDIR)/$(VENV)/azurite/node_modules/.bin/azurite-blob \
	    $(BIN)/pytest tests/test_azure.py

# One part alone with PART=simulator, one trial of it with NUMBER=123; see docs/reliability.md.
PART ?=
MINUTES ?= 60
NUMBER ?=
faults: $(VENV)/installed-dev
	@command -v strace >/dev/null || apt-get install --yes --quiet strace >/dev/null 2>&1 || true
	PYTHONPATH=tests $(BIN)/python -m faults $(PART) --minutes $(MINUTES) \
	    $(if $(NUMBER),--only $(NUMBER))

mutation: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'mutmut>=3.8'
	LAKOTA_PROFILE=mutation $(BIN)/mutmut run
	$(BIN)/mutmut results
	@$(BIN)/mutmut results --all true | sed -E 's/ *lakota\.([a-z]+)\..*: (.*)/\1 \2/' | sort | uniq -c

bench: $(VENV)/installed-dev bench-peers
ifdef QUICK
	$(BIN)/python benchmarks/run.py --quick
else
	$(BIN)/python benchmarks/run.py --write
	$(BIN)/python benchmarks/check.py --write
endif

bench-check: $(VENV)/installed-dev bench-peers
	$(BIN)/python benchmarks/check.py

bench-peers: .venv-peers/installed .venv-old/installed

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .venv-peers .venv-old build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An interpreter counts only if it runs, is new enough and can make a venv.
$(VENV)/installed: pyproject.toml
	rm -rf $(VENV)
	@for python in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11 python; do \
	    if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	        >/dev/null 2>&1; then \
	        echo "$$python -m venv $(VENV)"; \
	        $$python -m venv $(VENV); exit $$?; \
	    fi; \
	done; \
	echo "no Python 3.11 or newer with venv was found; name one: make PYTHON=/path/to/python3" >&2; \
	exit 1
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

# Other libraries, for benchmarks. What has no wheel for this Python is left out.
.venv-peers/installed: LIST = benchmarks/peers/requirements.txt
.venv-old/installed: LIST = benchmarks/peers/requirements-old.txt
.venv-peers/installed .venv-old/installed: $(wildcard benchmarks/peers/*.txt) | $(VENV)/installed
	rm -rf $(@D)
	$(BIN)/python -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --requirement $(LIST) || \
	    while read -r each; do \
	        $(@D)/bin/pip install --quiet --disable-pip-version-check "$$each" || \
	            echo "no $$each for this Python: left out" >&2; \
	    done < $(LIST)
	touch $@
