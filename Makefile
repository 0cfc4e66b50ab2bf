# What this project does, one word each. Needs git, make and a Python of 3.11 to 3.14 with venv; where uv is on PATH it
# does the set-up, faster. Everything runs in .venv, from requirements.lock, with hashes; inside an activated conda
# environment made from environment.yml that one is used instead. Only relative paths, so a folder may contain spaces.

PYTHON ?= python3
ARGS ?=
STAMP := .venv/.installed
RUN := .venv/bin/python
READY := $(STAMP)
UV := $(shell command -v uv 2>/dev/null)

# Compiled modules are kept: without them every kernel start and every command takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# The lock says what is imported, not the shell of the day.
unexport PYTHONPATH PYTHONHOME
export UV_COMPILE_BYTECODE := 1
# The matrices here are small: on a busy machine BLAS threads waiting for each other take five times as long.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

ifneq ($(CONDA_PREFIX),)
# An activated base environment is not ours: it counts only where this very checkout is installed in it.
OURS := import delta_arb, os; print(os.path.samefile(os.path.dirname(delta_arb.__path__[0]), "."))
ifeq ($(shell "$(CONDA_PREFIX)/bin/python" -I -c '$(OURS)' 2>/dev/null),True)
RUN := "$(CONDA_PREFIX)/bin/python"
READY :=
endif
endif

ifneq ($(READY),)
# The stamp holds the Python and the folder it was made for: a .venv is made anew for another Python asked for by name,
# and repaired after the checkout was moved or copied (it would go on importing the old place).
INSTALLED := $(shell test -x $(RUN) && cat $(STAMP) 2>/dev/null)
ifeq ($(origin PYTHON),file)
ASKED := $(firstword $(INSTALLED))
else
ASKED := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
endif
ifneq ($(INSTALLED),$(ASKED) $(CURDIR))
$(STAMP): outdated
endif
endif

.PHONY: help demo test test-slow test-browser lab notebooks docs drill endurance bench bench-live bench-compare bench-maker history bench-statistics lint lock setup clean outdated

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1|/p' Makefile | awk -F'|' '{printf "make %-10s %s\n", $$1, $$2}'

demo: $(READY)  ## the sample from quotes to trades: notebooks, parameters, report, then the runner in replay
	$(RUN) -m delta_arb.pipeline
	$(RUN) -m delta_arb.live --replay --speed max
	$(RUN) -m delta_arb.index
	@echo "The report: reports/index.html"

test: $(READY)  ## module tests, and every notebook compared with its committed output
	$(RUN) -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(READY)  ## the long tests and those that assert a speed
	$(RUN) -m pytest -m "slow or benchmark" $(ARGS)

test-browser: $(READY)  ## the report's pages and the monitor in a real browser, at desk and phone width (needs chromium or google-chrome)
	$(RUN) -m pytest tests/test_browser.py tests/test_monitor_browser.py -rs $(ARGS)

lab: $(READY)  ## JupyterLab, opened in notebooks/
	$(RUN) -m jupyterlab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks $(ARGS)

# Without timings and with only the metadata that papermill and nbval read, two runs give the same files.
notebooks: $(READY)  ## run the notebooks on the sample and save their outputs in place
	$(RUN) -m nbconvert --to notebook --execute --inplace --ExecutePreprocessor.record_timing=False \
	  --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.preserve_cell_metadata_mask=tags \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask='{"kernelspec", ("language_info", "name")}' \
	  $(ARGS) notebooks/*.ipynb

drill: $(READY)  ## named faults and 1,000 seeded lists against the runner: an hour; ARGS="--every 8 --seeds 50" for 10 min
	@PYTHONPATH=tests $(RUN) -m drill $(ARGS)

endurance: $(READY)  ## the runner at speed 60 with drops and notices: memory, descriptors, tasks; ARGS="--hours 24"
	@PYTHONPATH=tests $(RUN) -m drill.endurance $(ARGS)

bench: $(READY)  ## the speed tables; also as JSON in reports/bench/
	@mkdir -p reports/bench
	@for name in tape backtest sweep live sandbox runs; do echo "== $$name"; $(RUN) tests/benchmarks/bench_$$name.py $(ARGS) || exit 1; done

# Each in turn, so that one that does not install is named and the others are still compared.
bench-compare: $(READY)  ## the sweep and the tape beside what a user would pick instead, in a throwaway environment
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && $(RUN) -m venv "$$folder" && \
	sed -e 's/ *#.*//' -e '/^$$/d' tests/benchmarks/requirements-compare.txt | while read -r line; do \
	  "$$folder/bin/python" -m pip install --quiet "$$line" || echo "$$line does not install here"; done; \
	PYTHONPATH=. "$$folder/bin/python" tests/benchmarks/bench_compare.py $(ARGS) && \
	PYTHONPATH=. "$$folder/bin/python" tests/benchmarks/bench_tape.py

history: $(READY)  ## what it did on crash days and what carry was worth, from the recorded candles beside the project
	$(RUN) tests/benchmarks/history.py $(ARGS)

bench-maker: $(READY)  ## what a resting spot leg earned on recorded books and trades beside the project
	$(RUN) tests/benchmarks/bench_maker.py $(ARGS)

bench-live: $(READY)  ## decision, start, and from a quote to both orders beside the least that any program needs: 4 minutes
	@mkdir -p reports/bench
	@for name in live wire; do echo "== $$name"; $(RUN) tests/benchmarks/bench_$$name.py || exit 1; done

bench-statistics: $(READY)  ## estimates, thresholds, confidence, power of the gates on fresh seeds: an hour or two, ARGS=--quick for 10 min
	@mkdir -p reports/bench
	@for name in statistics thresholds confidence gates bound schedule; do echo "== $$name"; $(RUN) tests/benchmarks/bench_$$name.py $(ARGS) || exit 1; done

docs: $(READY)  ## the documentation as a site, served on this machine
	$(RUN) -m mkdocs serve $(ARGS)

lint: $(READY)  ## ruff, notebooks included
	$(RUN) -m ruff check $(ARGS) .

setup: $(READY)  ## only the environment

# setuptools is locked too, so that the project itself installs without fetching anything that is not in the lock.
lock:  ## requirements.lock from pyproject.toml (needs uv); ARGS=--upgrade for newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv; see its own site for how to install it" >&2; exit 1; }
	sed -n 's/^requires = \["\(setuptools[^"]*\)"\]/\1/p' pyproject.toml | uv pip compile pyproject.toml - \
	  --extra test --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --custom-compile-command "make lock" --output-file requirements.lock --quiet $(ARGS)

# reports/ holds results, and the journal of what was traded: that is for you to delete.
clean:  ## remove .venv and all caches; reports/ stays
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist delta_arb.egg-info
	find delta_arb tests notebooks -name __pycache__ -prune -exec rm -rf {} +
	find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +

# The stamp goes before anything changes and comes back last, so an interrupted set-up is taken up again by the next call.
$(STAMP): requirements.lock pyproject.toml
	@"$(PYTHON)" -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v < (3, 15))' 2>/dev/null || { \
	  echo "delta_arb needs Python 3.11 to 3.14, but PYTHON=$(PYTHON) says: $$("$(PYTHON)" --version 2>&1 | head -n 1)" >&2; \
	  echo "Name another one, for example: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  echo "(uv can fetch one: uv python install 3.12 && make $(MAKECMDGOALS) PYTHON=\"\$$(uv python find 3.12)\")" >&2; \
	  exit 1; }
	@rm -f $(STAMP)
ifneq ($(UV),)
	@echo "Setting up .venv with uv: about half a minute, once."
	@$(call same-python) || { rm -rf .venv && uv venv --quiet --python "$(PYTHON)" .venv; }
	@uv pip sync --quiet --python .venv --require-hashes requirements.lock
	@uv pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
else
	@echo "Setting up .venv with pip: two to three minutes, once (uv on PATH needs half a minute)."
	@$(call same-python) && .venv/bin/python -m pip --version >/dev/null 2>&1 || \
	  { rm -rf .venv && "$(PYTHON)" -m venv .venv; }
	@.venv/bin/python -m pip install --quiet --require-hashes --requirement requirements.lock
	@.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	@.venv/bin/python -m delta_arb.optimize.first_calls
	@.venv/bin/python -c 'import os, sys; print("%d.%d" % sys.version_info[:2], os.getcwd())' > $(STAMP).part
	@mv $(STAMP).part $(STAMP)

# True where .venv has a working interpreter of the version that PYTHON has.
same-python = test "$$(.venv/bin/python --version 2>/dev/null)" = "$$("$(PYTHON)" --version)"
