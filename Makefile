# make help lists the targets. Works with GNU make 3.81 (macOS) and later.
# Only relative paths: the project's own folder may have any name, spaces included.

PROFILE ?= draft
OUT ?= build/$(PROFILE)
AUTHOR ?=
# the python that makes .venv
PYTHON ?= python3

# With PY=python on the command line (conda, mamba, uv) no .venv is made and that python is used.
ifeq ($(origin PY),command line)
  CHECK := check-environment
  export PYTHONPATH := $(CURDIR)
else
  PY := .venv/bin/python
  ENV := .venv/.ok
endif

# what shows a result; the rest of helpers/ only runs notebooks
HELPERS := $(wildcard helpers/*.py helpers/*/*.py)
REPORT := $(wildcard workflow/report/*.py workflow/report/*.lua workflow/report/*.bib workflow/report/templates/* workflow/report/templates/*/* \
  workflow/report/text/*)
NAMES := $(sort $(basename $(notdir $(wildcard notebooks/0*.ipynb))))
RUNS := $(NAMES:%=$(OUT)/%.ipynb)
# more words for workflow.run
RUNFLAGS ?=
START := $(shell date +%s)

ifneq ($(PROFILE),published)
ifeq ($(wildcard profiles/$(PROFILE)/*.yaml),)
  $(error PROFILE=$(PROFILE): no such folder in profiles/; there are published $(notdir $(wildcard profiles/*)))
endif
endif

.DEFAULT_GOAL := help
# each of these is written aside and renamed by the program that makes it
.PRECIOUS: $(RUNS) $(OUT)/report.html $(OUT)/report.pdf
.PHONY: help report publish test lab bench soak mutants constraints clean check-environment FORCE

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  PROFILE=smoke | draft | paper    how long to train; draft unless given"
	@echo "  PROFILE=published                the published results again, from their weights"
	@echo "  DATA_DIR=folder                  where data is looked for; data/ unless given"
	@echo "  AUTHOR='Your Name'               for the title page"
	@echo "  PY=python                        use that python and its packages, make no .venv"

report: $(OUT)/report.html $(OUT)/report.pdf  ## run the notebooks, build the report (HTML and PDF)
	@$(if $(filter build/paper,$(OUT)),$(MAKE) --no-print-directory publish PROFILE=paper)
	@seconds=$$(( $$(date +%s) - $(START) )); echo; \
	  echo "report: $(OUT)/report.html"; echo "        $(OUT)/report.pdf"; \
	  echo "        ready after $$(( seconds / 60 )) min $$(( seconds % 60 )) s"

# One command writes both. A pattern with two targets is how every make, 3.81 too, is told that;
# here % can only be the dot.
$(OUT)/report%html $(OUT)/report%pdf: $(RUNS) $(REPORT) $(OUT)/.author $(ENV) | $(CHECK)
	@$(PY) -m workflow.report.build $(RUNS) --out $(OUT) --profile $(PROFILE) --author "$$AUTHOR"
	@[ ! -f $(OUT)/.data ] || $(PY) -m workflow.inputs $(OUT)/.data --settle

ifeq ($(PROFILE),published)
# Figures 1 to 6 anew from the published weights, without training and without data
$(RUNS): $(OUT)/.redrawn ;
$(OUT)/.redrawn: $(wildcard report/notebooks/* report/weights/* figures/*) $(HELPERS) $(ENV) | $(CHECK)
	@$(PY) -m workflow.publish redraw $(OUT)
	@touch $@
else
$(RUNS): $(OUT)/%.ipynb: notebooks/%.ipynb profiles/$(PROFILE)/%.yaml $(HELPERS) $(OUT)/.data \
  $(ENV) | $(CHECK)
	@$(PY) -m workflow.run $< $@ -f profiles/$(PROFILE)/$*.yaml -p out_dir $(OUT)/runs/$* $(RUNFLAGS)
endif

# What a result depends on and make cannot see: these files change only when their content does.
$(OUT)/.data: FORCE $(ENV) | $(CHECK)
	@$(PY) -m workflow.inputs $@

export AUTHOR
$(OUT)/.author: FORCE
	@mkdir -p $(OUT)
	@printf '%s\n' "$$AUTHOR" | cmp -s - $@ || printf '%s\n' "$$AUTHOR" > $@

publish:
	@$(PY) -m workflow.publish collect $(OUT)

# A copied or moved folder, or a python that is gone, needs its own installation.
ifeq ($(shell [ -x .venv/bin/python ] && [ "$$(cat .venv/.ok 2>/dev/null)" -ef . ] && echo yes),)
.venv/.ok: FORCE
endif
.venv/.ok: environment.yml constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || \
	  { echo "setup: $(PYTHON) is not installed; this needs Python 3.11, 3.12 or 3.13" >&2; exit 1; }
	@$(PYTHON) workflow/setup_env.py

check-environment:
	@$(PY) workflow/setup_env.py check

NBVAL := -m pytest --nbval-current-env --nbval-cell-timeout=600
STEPS := $(addprefix test-,style units cells report again real)
.PHONY: $(STEPS)
$(STEPS): $(ENV) | $(CHECK)

test: $(STEPS)  ## everything that CI runs; one step of it: make test-units, and so on
	@seconds=$$(( $$(date +%s) - $(START) )); \
	  echo "make test: all passed after $$(( seconds / 60 )) min $$(( seconds % 60 )) s"

test-style:
	@echo "== 1/6 style of code and notebooks"
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

test-units:
	@echo "== 2/6 the tests in tests/"
	$(PY) -m pytest tests

test-cells:
	@echo "== 3/6 every cell of every notebook, briefly, on the built-in stand-in data"
	@rm -rf build/smoke-cells
	@for name in $(NAMES); do \
	  $(PY) -m workflow.run notebooks/$$name.ipynb build/smoke-cells/$$name.ipynb --prepare-only \
	    -f profiles/smoke/$$name.yaml -p source sample -p study True \
    -p out_dir build/smoke-cells/runs/$$name \
	    || exit; done
	$(PY) $(NBVAL) --nbval-lax $(NAMES:%=build/smoke-cells/%.ipynb)

test-report:
	@echo "== 4/6 a brief run through workflow.run, and its report"
	@rm -rf build/smoke-test
	@$(MAKE) --no-print-directory report PROFILE=smoke OUT=build/smoke-test RUNFLAGS="-p source sample"
	@REPORT_FOLDER=build/smoke-test $(PY) -m pytest tests/workflow/check_smoke_report.py

test-again: test-report
	@echo "== 5/6 the same run once more: every output must be the same, pictures included"
	$(PY) $(NBVAL) --nbval --nbval-sanitize-with=tests/sanitize.cfg \
	  $(NAMES:%=build/smoke-test/%.ipynb)

test-real:
ifeq ($(DATA_DIR),)
	@echo "== 6/6 the brief run on real data is left out: DATA_DIR is not set"
else
	@echo "== 6/6 a brief run on the real data in DATA_DIR, and its report"
	@rm -rf build/smoke-real
	@$(MAKE) --no-print-directory report PROFILE=smoke OUT=build/smoke-real
	@REPORT_FOLDER=build/smoke-real $(PY) -m pytest tests/workflow/check_smoke_report.py
endif

lab: $(ENV) | $(CHECK)  ## JupyterLab in notebooks/
	$(PY) -m jupyterlab notebooks

bench: $(ENV) | $(CHECK)  ## the table of speeds
	@$(PY) -m workflow.bench

soak: $(ENV) | $(CHECK)  ## about 15 minutes: runs, kills, damages, restarts; proves that nothing changed
	@PYTHONPATH=. $(PY) tests/system/soak.py --minutes 15

constraints:  ## write constraints.txt anew, from a clean install
	@$(PYTHON) workflow/setup_env.py constraints

clean:  ## remove what was built (never data/, figures/, report/ or .venv)
	rm -rf build .pytest_cache .ruff_cache .hypothesis *.egg-info
	find helpers report tests notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	  -prune -exec rm -rf {} +

FORCE:
