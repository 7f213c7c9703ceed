# Two commands do all set-up: `make run` and `make test`. Needs Python >= 3.11 and make, nothing else.
PYTHON ?= python3
SOURCE ?= docs/sample/sample.mp4
export SOURCE  # reaches the shell as it is, and is not echoed: it may hold a password
OUT ?= out
VENV := .venv
BIN := $(VENV)/bin
# Installed before anything asks for plain torch: where pip finds a CPU build of this version, that one is taken.
TORCH ?= torch==2.13.0

.PHONY: run test lint types coverage soak audit sample wheel clean

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
