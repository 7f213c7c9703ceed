# Two commands do all set-up: `make run` and `make test`. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
SOURCE ?= docs/sample/sample.mp4
export SOURCE  # reaches the shell as it is, and is not echoed: it may hold a password
OUT ?= out
VENV := .venv
BIN := $(VENV)/bin
# Installed before anything asks for plain torch: where pip finds a CPU build of this version, that one is taken.
TORCH ?= torch==2.13.0

# What the container installs beside the core, and is locked; the core tests, which need no torch
EXTRAS := --extra serve --extra cluster --extra parquet --extra video --extra heic
LOCK := requirements.lock
CORE_TESTS := tests/test_config.py tests/test_pipeline.py tests/test_channel.py tests/stages tests/sinks tests/watching \
	tests/records/test_records.py tests/events/test_delivery.py tests/sources/test_sources.py tests/sources/test_kinds.py \
	tests/sources/test_videos.py

.PHONY: run test lint types coverage soak audit lowest newest lock sample wheel clean

run: $(VENV)/.core  ## analyse the sample, or SOURCE=0, SOURCE=rtsp://..., SOURCE=clip.mp4
	@mkdir -p $(OUT)
	@$(BIN)/streamer run "$$SOURCE" --video $(OUT)/annotated.mp4 --log $(OUT)/log.jsonl --summary $(OUT)/summary.json
	@echo "annotated video: $(OUT)/annotated.mp4   log: $(OUT)/log.jsonl   summary: $(OUT)/summary.json"

test: $(VENV)/.dev lint types  ## everything: lint, types, tests
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

coverage: $(VENV)/.dev  ## the tests again, with the lines they reach, processes they start included; fails below 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow" $(PYTEST_ARGS)
	$(BIN)/coverage combine --quiet 2>/dev/null  # a process that was killed leaves a file that cannot be read
	$(BIN)/coverage report --skip-covered

soak: $(VENV)/.dev  ## the slow tests: long runs, end to end, installed wheel
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)
	$(BIN)/python -m benchmarks.soak --minutes 3

audit: $(VENV)/.dev  ## known weaknesses of what is installed; asks the package index
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python .ci/audit.py

lowest: $(VENV)/.dev  ## the core tests with the lowest versions that pyproject.toml allows
	$(BIN)/python -m uv venv --quiet --clear --python $(BIN)/python $(VENV)/lowest
	$(BIN)/python -m uv pip install --quiet --python $(VENV)/lowest --no-build --resolution lowest-direct -r pyproject.toml $(EXTRAS)
	$(BIN)/python -m uv pip install --quiet --python $(VENV)/lowest --no-build pytest hypothesis
	PYTHONPATH=. $(VENV)/lowest/bin/python -m pytest -m "not slow" $(PYTEST_ARGS) $(CORE_TESTS)

newest: $(VENV)/.dev  ## the core tests with the newest Python from 3.13 on, where there is one
	@newest="$$($(BIN)/python .ci/newest.py)"; \
	if [ -z "$$newest" ]; then echo "newest: NOT DONE: expected python3.13 or newer, found none"; exit; fi; set -ex; \
	$(BIN)/python -m uv venv --quiet --clear --python "$$newest" $(VENV)/newest; \
	$(BIN)/python -m uv pip install --quiet --python $(VENV)/newest --no-build -r pyproject.toml $(EXTRAS) pytest hypothesis; \
	PYTHONPATH=. $(VENV)/newest/bin/python -m pytest -m "not slow" $(PYTEST_ARGS) $(CORE_TESTS)

lock: $(VENV)/.dev  ## pin what the container installs, at its newest, in requirements.lock
	$(BIN)/python -m uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
		--no-build pyproject.toml $(EXTRAS) --output-file $(LOCK)

sample: $(VENV)/.dev  ## make the sample clip again
	$(BIN)/python docs/sample/make_sample.py

wheel: $(VENV)/.dev
	$(BIN)/python -m build --wheel

$(VENV)/.venv:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	touch $@

$(VENV)/.core: $(VENV)/.venv pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[video,heic]"
	touch $@

$(VENV)/.dev: $(VENV)/.core pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev,report,demo,dlib-landmarks,serve,cluster,ray,train,window,video,heic]"
	@# benchmarks/tracking.py needs it; alone, since it asks for the OpenCV with a window, which would overwrite ours
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "trackeval>=1.3,<2"
	touch $@

clean:
	rm -rf $(VENV) $(OUT) build dist .mypy_cache .ruff_cache .pytest_cache .coverage*
