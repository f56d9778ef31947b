# make help lists the targets. Works with GNU make 3.81 (macOS) and later.
# Only relative paths: the project's own folder may have any name, spaces included.

PROFILE := draft
# taken from the command line only: a variable of that name in the shell means something else
OUT := build/$(PROFILE)
# the report's notebooks; what else lies in notebooks/ is its owner's business
NAMES := 01_vae 02_gan 03_cgan
RUNS := $(NAMES:%=$(OUT)/%.ipynb)
# three models on one data set: of the finished runs of 02 and 03
BESIDE := $(OUT)/comparison.ipynb
# more words for workflow.run, and for workflow.report.build
RUNFLAGS :=
REPORTFLAGS :=
# no: a report.html without live figures, and so without any script
LIVE := yes
# where PyTorch's builds without CUDA are; asked only by setup, and only where there is no GPU
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

one-word = $(if $(filter 1,$(words $($(1)))),,$(error $(1)='$($(1))': must be one name without spaces))
$(call one-word,PROFILE)
$(call one-word,OUT)
ifeq ($(wildcard profiles/$(PROFILE)/*.yaml),)
  $(error PROFILE=$(PROFILE): no such folder in profiles/; there are $(notdir $(wildcard profiles/*)))
endif

# With PY=python on the command line (conda, mamba, uv) no .venv is made and that python is used.
ifeq ($(origin PY),command line)
  CHECK := check-environment
  OTHERS := $(PYTHONPATH:%=:%)
else
  PY := .venv/bin/python
  ENV := .venv/.ok
endif
# before whatever else is called helpers
export PYTHONPATH := $(CURDIR)$(OTHERS)
# threads that wait do not burn the processor: twice as fast where others compute too
GOMP_SPINCOUNT ?= 0
export GOMP_SPINCOUNT TORCH_INDEX

# Words that reach the programs as they were typed, dollars included
export REPORT_TITLE := $(value TITLE)
export REPORT_AUTHOR := $(value AUTHOR)
export REPORT_DATE := $(value DATE)
export REPORT_LIVE := $(value LIVE)
export RUN_SETTINGS := $(PROFILE) $(value RUNFLAGS)
unexport TITLE AUTHOR DATE RUNFLAGS

HELPERS := $(filter-out helpers/explorer/%,$(wildcard helpers/*.py helpers/*/*.py))
REPORT := $(wildcard workflow/report/* workflow/report/*/* workflow/report/*/*/*) \
  $(wildcard workflow/live.py helpers/explorer/*.*)
START := $(shell date +%s)
seconds = seconds=$$(( $$(date +%s) - $(START) )); \
  took="$$(( seconds / 60 )) min $$(( seconds % 60 )) s"

.DEFAULT_GOAL := help
# each of these is written aside and renamed by the program that makes it
.PRECIOUS: $(RUNS) $(BESIDE) $(OUT)/report.html $(OUT)/report.pdf
.PHONY: help report figures live sweep publish test lab bench soak mutants strip clean \
  distclean check-environment FORCE

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  PROFILE=smoke | draft | paper    how long to train; draft unless given"
	@echo "  PROFILE=published                the published networks; trains the comparison's VAE alone"
	@echo "  RUNFLAGS='-p epochs 50'          other parameters for every notebook"
	@echo "  DATA_DIR=folder                  where data is looked for; data/ unless given"
	@echo "  AUTHOR= TITLE= DATE=             for the title page"
	@echo "  LIVE=no                          a report.html without live figures and script"
	@echo "  PY=python                        use that python and its packages, make no .venv"

# many runs; LUCK is their section of the report, where there are some
ifneq ($(wildcard workflow/sweep.mk),)
  include workflow/sweep.mk
endif

# --- The report ---

report: $(OUT)/report.html $(OUT)/report.pdf  ## run the notebooks, build the report (HTML and PDF)
	@$(seconds); printf '\nreport: %s\n        %s\n        ready after %s\n' $^ "$$took"

# One command writes both. A pattern with two targets is how every make, 3.81 too, is told that;
# here % can only be the dot.
$(OUT)/report%html $(OUT)/report%pdf: $(RUNS) $(BESIDE) $(LUCK) $(REPORT) $(OUT)/.title $(ENV) | $(CHECK)
	@$(PY) -m workflow.report.build $(RUNS) $(BESIDE) $(LUCK) --out $(OUT) --profile $(PROFILE) $(REPORTFLAGS) \
	  $(if $(filter no,$(LIVE)),--no-live) \
	  $(foreach word,TITLE AUTHOR DATE,$(call option,$(word)))
	@$(PY) -m workflow.inputs $(OUT)/.inputs --settle

lower = $(subst TITLE,title,$(subst AUTHOR,author,$(subst DATE,date,$(1))))
option = $(if $(value $(1)),--$(lower)="$$REPORT_$(1)")

# How long it will take, said before whatever may take long.
TOLD := $(if $(filter smoke published,$(PROFILE)),,$(OUT)/.told)
$(OUT)/.told: $(wildcard notebooks/*.ipynb profiles/$(PROFILE)/*.yaml) $(HELPERS) $(OUT)/.inputs $(ENV) | $(CHECK)
	@$(PY) -m workflow.estimate profiles/$(PROFILE) $(RUNFLAGS) && touch $@

$(RUNS): $(OUT)/%.ipynb: notebooks/%.ipynb profiles/$(PROFILE)/%.yaml $(HELPERS) $(OUT)/.inputs $(ENV) | $(CHECK) $(TOLD)
	@$(PY) -m workflow.notebooks changed $<
	@$(PY) -m workflow.run $< $@ -f profiles/$(PROFILE)/$*.yaml $(RUNFLAGS)

$(BESIDE): notebooks/comparison.ipynb workflow/finished.py workflow/comparison.py $(OUT)/02_gan.ipynb $(OUT)/03_cgan.ipynb $(HELPERS) $(ENV) | $(CHECK)
	@$(PY) -m workflow.run $< $@ -p gan $(OUT)/02_gan.ipynb -p cgan $(OUT)/03_cgan.ipynb -p out_dir $(OUT)/runs/comparison

# The published runs are restored from report/weights, not trained.
ifeq ($(PROFILE),published)
$(RUNS): $(OUT)/%.ipynb: build/published/runs/%/state.pt
build/published/runs/%/state.pt: report/weights/SHA256SUMS profiles/published/%.yaml $(HELPERS) $(OUT)/.inputs $(ENV) | $(CHECK)
	@$(PY) -m workflow.restore $*
endif

# What a result depends on and make cannot see: these files change only when their content does.
$(OUT)/.inputs $(OUT)/.title: FORCE $(ENV) | $(CHECK)
	@$(PY) -m workflow.inputs $@

figures: $(ENV) | $(CHECK)  ## Figures 1 to 6 again from the published weights, and compared
	@$(PY) -m workflow.redraw build/figures

live: $(ENV) | $(CHECK)  ## the live figures as one page for any browser, build/live.html
	@$(PY) -m workflow.live build/live.html

# never by itself: what is published stays until somebody says so
publish: $(ENV) | $(CHECK)  ## a finished PROFILE=paper report becomes the published one
	@$(PY) -m workflow.publish $(if $(filter command line,$(origin OUT)),$(OUT),build/paper)

# --- The environment ---

# A copied or moved folder, or a python that is gone, needs an installation of its own.
ifeq ($(shell [ -x .venv/bin/python ] && [ "$$(cat .venv/.ok 2>/dev/null)" -ef . ] && echo yes),)
.venv/.ok: FORCE
  FRESH = for python in $(PYTHONS); do \
    "$$python" -c "$(SUITS)" 2>/dev/null && echo "setup: making .venv with $$python" && \
    exec "$$python" -m venv --clear .venv; done; \
    echo 'setup: no Python 3.11, 3.12 or 3.13 with its venv module (Debian: apt install' \
    'python3-venv) in: $(PYTHONS); to name one: make PYTHON=/path/to/python3.12' >&2; exit 1
endif
PYTHONS := $(if $(filter undefined,$(origin PYTHON)),python3 python3.13 python3.12 python3.11,"$(PYTHON)")
PYTHON ?= python3
SUITS := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
.venv/.ok: pyproject.toml constraints.txt
	@$(FRESH)
	@.venv/bin/python workflow/setup_env.py

check-environment:
	@$(PY) workflow/setup_env.py check

# --- The tests ---

NBVAL := -m pytest --nbval-current-env --nbval-cell-timeout=600
STEPS := $(addprefix test-,style units cells report again real system)
.PHONY: $(STEPS)
$(STEPS): $(ENV) | $(CHECK)

test: $(STEPS)  ## all tests but test-sweep; one step: make test-units, and so on
	@$(seconds); echo "make test: all passed after $$took"

OWN := helpers workflow tests notebooks
test-style:
	@echo "== 1/7 style of code and notebooks"
	$(PY) -m ruff check $(OWN)
	$(PY) -m ruff format --check $(OWN)

test-units:
	@echo "== 2/7 what helpers and workflow do"
	$(PY) -m pytest tests/helpers tests/workflow

test-cells:
	@echo "== 3/7 every cell of every notebook, briefly, on the built-in stand-in data"
	$(PY) $(NBVAL) --nbval-lax $(NAMES:%=notebooks/%.ipynb) notebooks/comparison.ipynb notebooks/explore.ipynb

test-report:
	@echo "== 4/7 a brief run through workflow.run, and its report"
	@rm -rf build/smoke-test
	@$(MAKE) --no-print-directory report PROFILE=smoke OUT=build/smoke-test \
	  RUNFLAGS="-p source sample"
	@REPORT_FOLDER=build/smoke-test $(PY) -m pytest tests/workflow/check_smoke_report.py

test-again: test-report
	@echo "== 5/7 the same run once more: every output must be the same, pictures included"
	$(PY) $(NBVAL) --nbval --nbval-sanitize-with=tests/sanitize.cfg \
	  $(NAMES:%=build/smoke-test/%.ipynb) build/smoke-test/comparison.ipynb

test-real:
ifeq ($(DATA_DIR),)
	@echo "== 6/7 the brief run on real data is left out: DATA_DIR is not set"
else
	@echo "== 6/7 a brief run on the real data in DATA_DIR, and its report"
	@rm -rf build/smoke-real
	@$(MAKE) --no-print-directory report PROFILE=smoke OUT=build/smoke-real RUNFLAGS=
	@REPORT_FOLDER=build/smoke-real $(PY) -m pytest tests/workflow/check_smoke_report.py
endif

test-system:
	@echo "== 7/7 kills, full disks, strangers, other surroundings"
	$(PY) -m pytest tests/system

# --- Working ---

# Copies: a notebook that JupyterLab has saved is no longer the one that everybody else has.
lab: $(ENV) | $(CHECK)  ## JupyterLab with copies of the notebooks, in build/lab/; LABFLAGS=...
	@$(PY) -m workflow.notebooks copy build/lab
	@$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/build/lab/explore.ipynb \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(LABFLAGS)

strip: $(ENV) | $(CHECK)  ## remove what JupyterLab wrote into notebooks/: outputs, counts, kernel
	@$(PY) -m workflow.notebooks strip $(NAMES:%=notebooks/%.ipynb) $(wildcard $(patsubst %,notebooks/%.ipynb,explore comparison sweep))

bench: $(ENV) | $(CHECK)  ## the table of speeds
	@$(PY) -m workflow.bench

mutants: $(ENV) | $(CHECK)  ## hours: take each protection out, see that its tests notice
	@$(PY) tests/mutants.py

soak: $(ENV) | $(CHECK)  ## about 15 minutes: runs stopped again and again; proves that nothing changed
	@SOAK=5 $(PY) -m pytest tests/system/test_interruptions.py -k again_and_again

CACHES := .pytest_cache .ruff_cache .hypothesis *.egg-info
clean:  ## remove what can be built again without training
	@rm -rf build/smoke* build/figures $(CACHES)
	@find $(wildcard helpers workflow tests notebooks) \( -name __pycache__ -o -name .ipynb_checkpoints \) \
	  -prune -exec rm -rf {} +
	@for folder in build/*; do case $$folder in 'build/*'|build/cache|build/lab|build/paper|build/runs) ;; \
	  *) if [ -n "$$(find "$$folder" -name state.pt)" ]; then find "$$folder" -maxdepth 1 -type f -delete; \
	     else rm -rf "$$folder"; fi ;; esac; done
	@[ ! -d build ] || du -sh build/* | sed 's/^/kept: /'
	@[ ! -d build ] || echo 'make distclean removes these too, and .venv'

distclean:  ## remove all that was built, hours of training and .venv included (not data/)
	@for folder in build .venv; do [ ! -e $$folder ] || du -sh $$folder | sed 's/^/removing /'; done
	@find build -name state.pt 2>/dev/null | sed 's/^/with the trained /'
	@rm -rf build .venv $(CACHES)

.DEFAULT:
	@echo "make: no target or file $@; make help lists the targets" >&2; exit 2

FORCE:
