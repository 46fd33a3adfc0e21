# Two commands do all the set-up: `make demo` and `make test`.
SHELL := /bin/bash
VENV := .venv
READY := $(VENV)/.ready
ENGINES := $(VENV)/.engines
BIN := $(VENV)/bin
# What is live, measures time, or counts what runs on the machine.
LIVE := $(filter-out %/test_bad_input.py,$(wildcard tests/e2e/test_*.py)) $(wildcard tests/commands/test_bench*.py) \
	tests/bench tests/pipeline tests/metrics tests/web tests/sources
PACKAGES := stream engines export train

.PHONY: demo test lint format clean

demo: $(ENGINES)
	$(BIN)/maskcast run configs/demo.yaml --open

# Tests are spread over two processes; those of what is live have the machine to themselves.
test: $(READY)
ifdef ARGS
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest $(ARGS)
else
	OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 tests $(LIVE:%=--ignore=%)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest $(LIVE)
endif

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# uv makes the environment; where it is missing, it is put into a folder of its own first.
# Packages are compiled at once: where nothing may be written later (PYTHONDONTWRITEBYTECODE), every
# process would compile torch anew, and take twice as long to start.
$(READY): requirements.lock pyproject.toml
	@command -v uv >/dev/null || test -x .uv/bin/uv || { python3 -m venv .uv && .uv/bin/pip install -q uv; }
	@export PATH="$$PATH:$(CURDIR)/.uv/bin"; set -e; \
	test -x $(BIN)/python || uv venv -q --python ">=3.11,<3.14" $(VENV); \
	uv pip sync -q --compile-bytecode --python $(BIN)/python requirements.lock; \
	uv pip install -q --python $(BIN)/python --no-deps -e .
	@touch $@

# Networks are exported once for each set of weights; where that fails, the demo runs in torch.
$(ENGINES): $(READY) $(wildcard engines/weights/*.safetensors)
	@echo "exporting the micro models, which takes a minute or two, once"
	@$(BIN)/maskcast export micro --to openvino || echo "going on in torch, which is slower"
	@touch $@

clean:
	rm -rf $(VENV) .uv build dist .mypy_cache .ruff_cache .pytest_cache
