# Two commands on a fresh machine: `make demo` and `make test`. Both set up .venv first.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup demo test test-fast corpus check bench clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[convert,openvino,torchao,dev]'
	@touch $@

demo: setup
	$(BIN)/octavo quantize examples/korean-nli --method float --output demo-out/float --force
	$(BIN)/octavo quantize examples/korean-nli --output demo-out/int8 --force
	$(BIN)/octavo compare examples/korean-nli demo-out/float demo-out/int8 --data examples/korean-nli/pairs.tsv

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --durations 40

test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope -m "not slow"

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
	rm -rf .venv demo-out
