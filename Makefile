# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin
LATEST := .venv-latest
EXTRAS := convert,openvino,torchao,dev
HOLD ?= torch

.PHONY: setup demo test test-fast test-latest corpus check bench clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[$(EXTRAS)]'
	@touch $@

demo: setup
	$(BIN)/octavo quantize examples/korean-nli --method float --output demo-out/float --force
	$(BIN)/octavo quantize examples/korean-nli --output demo-out/int8 --force
	$(BIN)/octavo compare examples/korean-nli demo-out/float demo-out/int8 --data examples/korean-nli/pairs.tsv

# Two processes on two cores, with one thread each: more would wait for each other.
test test-fast test-latest: export OMP_NUM_THREADS = 1

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --durations 40

test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

# The suite with the newest versions that resolve, in an environment of its own. What HOLD names (a pattern) stays pinned:
# the newest torch that pip finds may be a CUDA build of several gigabytes. `make test-latest HOLD=` takes that too.
test-latest:
	$(PYTHON) -m venv --clear $(LATEST)
	grep -E '^($(HOLD))==' constraints.txt > $(LATEST)/held.txt || true
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LATEST)/held.txt --editable '.[$(EXTRAS)]'
	@echo 'Newer than the pinned versions:'
	@$(LATEST)/bin/python -m pip list --format=freeze | sed 's/+.*//' | grep -iF "$$(sed -n 's/==.*/==/p' constraints.txt)" | grep -vixFf constraints.txt || echo none
	$(LATEST)/bin/python -m pytest -n 2 --dist loadscope
corpus: setup
	$(BIN)/python tests/corpus/run.py --kills 40
	$(BIN)/python tests/corpus/threads.py 90

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup
	$(BIN)/python bench/dynamic.py

clean:
	rm -rf .venv $(LATEST) demo-out
