# Many runs as jobs of Snakemake, which has an environment of its own: in the project's it would
# want another `packaging`. EXECUTOR names a folder of workflow/: local, slurm, kubernetes.
# On one machine GPUS=0,1,2,3 gives each run a GPU of its own; Slurm and Kubernetes do it themselves.
SWEEP ?=
EXECUTOR ?= local
GPUS ?=
THREADS ?= 1
SNAKEFLAGS ?=
SWEEPS_OUT ?= build/sweeps
# the report's section "Luck and settings": the sweeps whose tables are there
KNOWN := vae-seeds vae-beta gan-recipes gan-whole cgan-seeds cgan-recipes
TABLES_IN := $(if $(filter published,$(PROFILE)),report/sweeps,$(SWEEPS_OUT))
SWEEPS ?= $(if $(filter smoke,$(PROFILE)),,$(foreach name,$(KNOWN),$(if $(wildcard $(TABLES_IN)/$(name)/table.json),$(name))))
ENGINE := .venv-sweep/bin
comma := ,
GPUFLAGS = $(if $(GPUS),gpus=$(GPUS) --resources gpu=$(words $(subst $(comma), ,$(GPUS))))
TABLES := $(SWEEPS:%=$(TABLES_IN)/%/table.json)
LUCK := $(if $(TABLES),$(OUT)/sweep.ipynb)
ifeq ($(LUCK)$(filter smoke,$(PROFILE)),)
ifneq ($(filter report,$(MAKECMDGOALS)),)
  $(info report: without a section on luck and settings; for one: make sweep SWEEP=sweeps/vae-seeds.yaml)
endif
endif

.PHONY: sweep test-sweep test-cluster
sweep: $(ENV) $(ENGINE)/.ok | $(CHECK)  ## many runs: make sweep SWEEP=sweeps/vae-seeds.yaml [EXECUTOR=slurm]
	@test -n '$(SWEEP)' || { echo "SWEEP: name one of" sweeps/*.yaml >&2; exit 2; }
	@test '$(EXECUTOR)' != kubernetes || command -v rsync >/dev/null || \
	  { echo "EXECUTOR=kubernetes: needs rsync (Debian: apt install rsync)" >&2; exit 2; }
	@python=$$(command -v '$(PY)'); "$$python" -m workflow.sweep follow '$(SWEEP)' --out '$(SWEEPS_OUT)' --data-dir='$(DATA_DIR)' -- \
	  env PATH="$(CURDIR)/$(ENGINE):$$PATH" snakemake -s workflow/Snakefile \
	  --workflow-profile 'workflow/$(EXECUTOR)' --config sweep='$(SWEEP)' python="$$python" \
	  threads=$(THREADS) out='$(SWEEPS_OUT)' $(if $(DATA_DIR),data_dir='$(DATA_DIR)') $(GPUFLAGS) $(SNAKEFLAGS)

$(ENGINE)/.ok: workflow/requirements.txt | $(ENV)
	@echo "setup: making .venv-sweep for Snakemake (once; 0.4 GB, a minute or two)"
	@$(PY) -m venv --clear .venv-sweep && $(ENGINE)/pip install -qq -r $< && touch $@

$(OUT)/sweep.ipynb: notebooks/sweep.ipynb workflow/swept.py workflow/settings.py $(TABLES) $(HELPERS) $(ENV) | $(CHECK)
	@$(PY) -m workflow.run $< $@ -p sweeps '$(strip $(SWEEPS))' -p where $(TABLES_IN) -p out_dir $(OUT)/runs/sweep

test-sweep: $(ENV) $(ENGINE)/.ok | $(CHECK)  ## sweeps on this machine and on a pretended Kubernetes
	$(PY) -m pytest tests/cluster/check_sweep.py -k 'not slurm'

test-cluster: $(ENV) $(ENGINE)/.ok | $(CHECK)  ## a sweep on a one-node Slurm (root, slurm-wlm, munge)
	$(PY) -m pytest tests/cluster/check_sweep.py -k slurm
