# `make demo` and `make test` do everything on a machine with Python 3.11+ and a C compiler.
# All goes into .venv and build/ of this folder; the second time only what changed is made again.
ifndef PYTHON
PYTHON := $(firstword $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p; done))
endif
VENV   := .venv
BIN    := $(VENV)/bin
BUILD  := build/dev

C_SIDE   := $(wildcard csrc/*.c csrc/*.h csrc/*.py) CMakeLists.txt pyproject.toml
MESSAGES := --quiet --disable-pip-version-check

.PHONY: memory check counters kernels bench-compare bench-proof longlife mutants sanitize bytes coverage reliability classes red fuzz kill-million explore demo test criteria lint bench venv clean

demo: $(VENV)/installed
	@$(BIN)/oor demo

test: $(VENV)/test-tools
	@$(BIN)/python -m pytest

# Durability bugs planted one at a time, and which invariant of the crash laboratory notices each;
# RECORD=1 keeps the table in docs/figures/mutants.json.
mutants: $(VENV)/test-tools
	@$(if $(RECORD),OOR_MUTANTS=docs/figures/mutants.json) $(BIN)/python tests/mutants.py
	@$(if $(RECORD),OOR_MUTANTS=docs/figures/mutants.json) $(BIN)/python tests/c_mutants.py

explore: $(VENV)/test-tools
	OOR_EXPLORE=$(or $(N),10) $(VENV)/bin/python -m pytest tests/test_crashlab.py tests/test_model.py tests/test_bytes.py

# A million acknowledged puts, then SIGKILL, 50 times: minutes.
kill-million: $(VENV)/installed
	@$(BIN)/python tests/kill_million.py --dir $(or $(DIR),.) --times $(or $(N),50)

criteria: $(VENV)/installed
	@$(BIN)/oor demo --criteria

lint: $(VENV)/lint-tools
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

# All that is asked of the text of a change: lint, types, and the layout of the C half.
check: lint
	@$(BIN)/clang-format --dry-run --Werror csrc/*.c csrc/*.h tests/c/*.c fuzz/*.c bench/*.c

# The stress program of the C half under AddressSanitizer with UBSan, and under ThreadSanitizer.
sanitize: $(VENV)/test-tools
	@$(BIN)/python tests/sanitize.py --seconds $(or $(N),20)

# The figures of docs/reliability.md, after the table of classes and the fuzz corpus are checked.
reliability: $(VENV)/test-tools
	@$(BIN)/python -m bench.reliability

.PHONY: faults
# Each call of a workload fails in each known way, and then the power goes: a quarter of an hour.
faults: $(VENV)/test-tools
	@$(BIN)/python tests/fault_loops.py --record

# Which branches of log, recovery and manifest no test takes, against the list with reasons.
coverage: $(VENV)/test-tools
	@$(BIN)/python -m pip install $(MESSAGES) coverage
	@$(BIN)/python tests/coverage_check.py --run

# Every byte of a corpus of logs, manifests and tables, flipped and cut at.
bytes: $(VENV)/test-tools
	@$(BIN)/python tests/byte_matrix.py --record

# Which tests reveal which class of bugs, and the planted bug that turned each red.
classes: $(VENV)/test-tools
	@$(BIN)/python tests/classes.py

# Plants every bug in a copy of the tree and demands that a test of its class fails: half an hour.
red: $(VENV)/test-tools
	@$(BIN)/python tests/classes.py --red $(CLASSES)

# How long the fuzz targets run; RECORD=1 adds what they execute to docs/figures/fuzz.json.
SECONDS ?= 60
fuzz: $(VENV)/installed
	@$(BIN)/python -m fuzz.run --seconds $(SECONDS) $(if $(RECORD),--record)

# What a fixed piece of work costs in syncs, bytes, blocks and objects, against the baseline.
counters: $(VENV)/installed
	@$(BIN)/python -m bench.counters

# Instructions of the inner loops of the C half, against the baseline; needs valgrind.
kernels: $(VENV)/installed
	@$(BIN)/python -m bench.kernels

bench: $(VENV)/bench-tools
	@$(BIN)/python -m bench.compare --quick

.PHONY: bench-history bench-peers
# oor beside its peers, appended to bench/history.jsonl, with docs/performance.md: ten minutes.
# 200,000 records: fewer lie in the caches of a core whole, and reads of them say little of a store.
bench-history: $(VENV)/bench-tools
	@$(BIN)/python -m bench.compare --rounds $(or $(ROUNDS),7) --json build/peers.json \
	  --markdown docs/performance.md
	@$(BIN)/python -m bench.history build/peers.json

# The same, and of its last line docs/peers.md with its plots and the README's table.
bench-peers: bench-history
	@$(BIN)/python -m bench.peers

# This tree against BASE, built and measured in turns; fails if something takes 1.25 times as long.
bench-compare: $(VENV)/installed
	@$(BIN)/python -m bench.revisions $(or $(BASE),HEAD~1)

# The comparison itself: this tree passes against BASE, and each planted fault is told by name.
bench-proof: $(VENV)/installed
	@$(BIN)/python -m bench.revisions $(or $(BASE),HEAD~1) --prove --rounds $(or $(ROUNDS),5)

# The memory of a process through which 3,000,000 records go: half a minute.
memory: $(VENV)/test-tools
	@OOR_MEMORY_RECORDS=$(or $(N),3000000) $(BIN)/python -m pytest -q tests/test_memory.py

# Millions of sets, then an hour of updates in five minutes, beside RocksDB.
longlife: $(VENV)/bench-tools
	@$(BIN)/python -m bench.longlife

# The pages of docs/ and the reference made of the docstrings, in build/site; a warning is an error.
docs: $(VENV)/docs-tools
	@NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/python -m mkdocs build --quiet --strict

.PHONY: wheels wheel docs
# The wheel of this machine, built twice, judged and tried; needs git and objdump.
wheel: $(VENV)/judge-tools
	@$(BIN)/python -m tools.wheels.native $(if $(INTO),--into $(INTO))

# The four of x86_64 and aarch64, glibc and musl, with trials on emulated CPUs: seven minutes.
wheels: $(VENV)/wheel-tools
	@$(BIN)/python -m tools.wheels

venv: $(VENV)/test-tools

# pip builds without isolation, so that the objects in build/ are kept and used again.
$(VENV)/build-tools: pyproject.toml
	@test -n "$(PYTHON)" || { echo "oor needs Python 3.11 or later: make PYTHON=..."; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(MESSAGES) "scikit-build-core>=1.1" "cffi>=2.1" ninja "cmake>=3.18"
	@touch $@

$(VENV)/installed: $(VENV)/build-tools $(C_SIDE)
	@echo "building oor"
	@$(BIN)/python -m pip install $(MESSAGES) --no-build-isolation --no-warn-script-location \
	  -Cbuild-dir=$(BUILD) -Ccmake.define.OOR_WERROR=ON -e .
	@touch $@

$(VENV)/test-tools: $(VENV)/installed
	@$(BIN)/python -m pip install $(MESSAGES) "pytest>=8" "hypothesis>=6.100" sgp4 matplotlib zstandard pyarrow duckdb pyyaml check-jsonschema \
	  prometheus-client opentelemetry-sdk
	@touch $@

$(VENV)/lint-tools: $(VENV)/test-tools
	@$(BIN)/python -m pip install $(MESSAGES) ruff mypy clang-format==14.0.6
	@touch $@

$(VENV)/judge-tools: $(VENV)/build-tools
	@$(BIN)/python -m pip install $(MESSAGES) abi3audit pyelftools
	@touch $@

# ziglang is 400 MB unpacked: only those who build wheels of other systems pay for it.
$(VENV)/wheel-tools: $(VENV)/build-tools
	@$(BIN)/python -m pip install $(MESSAGES) ziglang==0.17.1 build wheel abi3audit auditwheel
	@touch $@

$(VENV)/docs-tools: $(VENV)/installed
	@$(BIN)/python -m pip install $(MESSAGES) "mkdocs>=1.6,<2" mkdocs-material "mkdocstrings[python]>=0.26"
	@touch $@

$(VENV)/bench-tools: $(VENV)/test-tools
	@$(BIN)/python -m pip install $(MESSAGES) "pytest-benchmark>=5" rocksdict plyvel lmdb
	@touch $@

clean:
	rm -rf $(VENV) build dist
