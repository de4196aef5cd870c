# Commands on a fresh machine: `make demo`, `make demo-torch`, `make test`. Each first installs into .venv what it needs.
PYTHON ?= python3
BIN := .venv/bin
LATEST := .venv-latest
EXTRAS := train,openvino,torchao,dev
HOLD ?= torch
# --no-compile: a module is compiled when it is imported; for tests all are, as their warnings would be errors there.
INSTALL = $(BIN)/python -m pip install --no-compile --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: setup demo demo-torch demo-out test test-fast test-latest test-scale corpus check docs package bench clean

setup: .venv/ready

.venv/plain: pyproject.toml constraints.txt
	@echo '== a virtual environment in .venv, and what quantizes and runs encoders into it: no torch (half a minute)'
	$(PYTHON) -m venv .venv
	$(INSTALL) '.'
	@touch $@

.venv/demo: .venv/plain
	@echo '== what converts other models, and runs the original, into .venv: torch is the largest, 200 MB as its CPU build (minutes)'
	$(INSTALL) '.[convert]'
	@touch $@

.venv/ready: .venv/demo
	@echo '== what tests need besides, into .venv: OpenVINO, torchao, pytest, mypy, ruff and others (a minute or two)'
	$(INSTALL) '.[$(EXTRAS)]'
	@$(BIN)/python -m compileall -q -j 2 .venv/lib > /dev/null 2>&1 || true
	@touch $@

demo-out: .venv/plain
	@echo '== a checkpoint of 25 MB to ONNX, in float and in int8, without torch (some seconds)'
	$(BIN)/octavo quantize examples/korean-nli --method float --method dynamic --output demo-out --force

demo: demo-out
	@echo '== the float model and the int8 one on 339 sentence pairs (half a minute)'
	$(BIN)/octavo compare demo-out/float demo-out/dynamic --data examples/korean-nli/pairs.tsv --report demo-out/report.html
	@echo '== done: demo-out/report.html is the same as a page, demo-out/dynamic the int8 model'
	@echo '== make demo-torch installs torch too, and compares both with the original in it'

demo-torch: demo-out .venv/demo
	@echo '== the original in torch, the float model and the int8 one on 339 sentence pairs (half a minute)'
	$(BIN)/octavo compare examples/korean-nli demo-out/float demo-out/dynamic --data examples/korean-nli/pairs.tsv \
		--report demo-out/report.html
	@echo '== done: demo-out/report.html is the same as a page, demo-out/dynamic the int8 model'

# Two processes on two cores, with one thread each: more would wait for each other. Compiled modules are kept, for the
# hundred processes that tests start.
test test-fast test-latest: export OMP_NUM_THREADS = 1
test test-fast test-latest: export PYTHONDONTWRITEBYTECODE =

test: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder --durations 40

test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder -m "not slow"

# The suite with the newest versions that resolve, in an environment of its own. What HOLD names (a pattern) stays pinned:
# the newest torch that pip finds may be a CUDA build of several gigabytes. `make test-latest HOLD=` takes that too.
test-latest:
	$(PYTHON) -m venv --clear $(LATEST)
	grep -E '^($(HOLD))==' constraints.txt > $(LATEST)/held.txt || true
	$(LATEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(LATEST)/held.txt --editable '.[$(EXTRAS)]'
	@echo 'Newer than the pinned versions:'
	@$(LATEST)/bin/python -m pip list --format=freeze | sed 's/+.*//' | grep -iF "$$(sed -n 's/==.*/==/p' constraints.txt)" | grep -vixFf constraints.txt || echo none
	$(LATEST)/bin/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

# Ray, Spark, Dask, servers, other programs: installs them into .scale first; see the script for what is Debian's.
test-scale: setup
	tests/scale/run

corpus: setup
	$(BIN)/python tests/corpus/run.py --kills 40
	$(BIN)/python tests/corpus/threads.py 90

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The manual as a site, in site/: no link may be dead, and nothing comes from the network.
docs: .venv/docs
	$(BIN)/zensical build --strict --clean

.venv/docs: .venv/plain
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt zensical build
	@touch $@

# What an index would get: the wheel, installed into an empty environment, light, where it must quantize nothing and run.
package: .venv/docs
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/python tests/package/install.py dist/*.whl

bench: setup
	$(BIN)/python bench/dynamic.py

clean:
	rm -rf .venv $(LATEST) demo-out site dist
