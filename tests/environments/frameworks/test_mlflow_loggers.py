"""The MLflow loggers of Lightning, transformers and XGBoost, unmodified, against `runbase server`: only MLFLOW_TRACKING_URI is set.

Each script keeps what it logged beside: the store must have the same. `make test-frameworks` runs this with the newest MLflow and
with MLflow 2.22.
"""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import runbase
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from tests.patience import PATIENCE

mlflow: Any = pytest.importorskip("mlflow")
LIGHTNING = """
import json, torch, lightning.pytorch as lit
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from torch.utils.data import DataLoader, TensorDataset

class Model(lit.LightningModule):
    def __init__(self, lr=0.125, width=8):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)
    def step(self, batch, name):
        loss = self.layer(batch[0]).pow(2).mean()
        self.log(f"{name}/loss", loss)
        return loss
    def training_step(self, batch, number):
        return self.step(batch, "train")
    def validation_step(self, batch, number):
        self.step(batch, "val")
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

data = DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=4)
kept = MLFlowLogger("digits", run_name="lit", tags={"team": "vision"}, log_model=True)
trainer = lit.Trainer(
    max_epochs=3, logger=[kept, CSVLogger("csv", version="one")], log_every_n_steps=4, accelerator="cpu",
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Model(), data, data)
print(json.dumps({"run": kept.run_id}))
"""
TRANSFORMERS = """
import json, torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2))
rows = [{"input_ids": list(range(8)), "labels": list(range(8))} for _ in range(32)]
arguments = TrainingArguments(
    "out", report_to="mlflow", run_name="tiny", max_steps=12, logging_steps=3, save_steps=6, learning_rate=0.25,
    per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=rows)
trainer.train()
import mlflow
print(json.dumps({"run": mlflow.last_active_run().info.run_id, "logged": trainer.state.log_history}))
"""
XGBOOST = """
import json, mlflow, numpy as np, xgboost

mlflow.xgboost.autolog()
dice = np.random.default_rng(0)
x = dice.normal(size=(200, 4))
data = xgboost.DMatrix(x, label=x[:, 0] > 0)
result = {}
with mlflow.start_run(run_name="boosted", tags={"team": "trees"}) as run:
    xgboost.train(
        {"max_depth": 3, "eta": 0.25, "objective": "binary:logistic", "eval_metric": "logloss"}, data,
        num_boost_round=20, evals=[(data, "train")], evals_result=result, verbose_eval=False,
    )
print(json.dumps({"run": run.info.run_id, "logged": result["train"]["logloss"]}))
"""
Answer = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[runbase.Store]:
    home = tmp_path / "served" / ".runbase"
    with runbase.open(home=home) as opened:
        yield opened


@pytest.fixture
def run_script(
    store: runbase.Store, script: Callable[..., "Popen[str]"]
) -> Iterator[Callable[..., tuple[runbase.Run, Answer]]]:
    """Runs a script with the address of a server, and returns its run and what it printed."""
    with serving(store, ServerOptions(port=0)) as url:

        def run(text: str, **environment: str) -> tuple[runbase.Run, Answer]:
            quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "CUDA_VISIBLE_DEVICES": ""}
            process = script(text, MLFLOW_TRACKING_URI=url, **quiet, **environment)
            printed, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors[-4000:]
            answer: Answer = json.loads(printed.splitlines()[-1])
            return store.run(answer["run"]), answer

        yield run


def files(store: runbase.Store, run: runbase.Run, tmp_path: Path) -> set[str]:
    """Return the artifacts of a run, all of which are downloaded."""
    paths = {artifact.path for artifact in store.run(run.id).artifacts}
    for path in paths:
        copy = store.download(f"{run.id}/{path}", tmp_path / "copies" / path)
        assert copy.stat().st_size > 0 or path.endswith("__init__.py")
    return paths


def test_lightning(run_script: Any, store: runbase.Store, tmp_path: Path) -> None:
    run, _ = run_script(LIGHTNING)
    assert (run.name, run.experiment, run.status.value) == ("lit", "digits", "COMPLETED")
    assert run.params["lr"] == 0.125
    assert run.params["width"] == 8
    assert run.tags["team"] == "vision"
    with open("csv/lightning_logs/one/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for key in ("train/loss", "val/loss", "epoch"):
        wanted = [(int(row["step"]), float(row[key])) for row in rows if row[key]]
        found = store.metrics(run.id, key, every=True)
        pairs = list(zip(found.steps.tolist(), found.values.tolist(), strict=True))
        assert sorted(pairs) == sorted(wanted), key
    checkpoints = {path for path in files(store, run, tmp_path) if path.endswith(".ckpt")}
    assert checkpoints


def test_transformers(run_script: Any, store: runbase.Store, tmp_path: Path) -> None:
    run, answer = run_script(TRANSFORMERS)
    assert (run.name, run.experiment, run.status.value) == ("tiny", "Default", "COMPLETED")
    assert run.params["learning_rate"] == 0.25
    assert run.params["n_embd"] == 8
    logged = answer["logged"]
    for key in ("loss", "grad_norm", "learning_rate", "epoch", "train_loss"):
        wanted = [(row["step"], row[key]) for row in logged if key in row]
        found = store.metrics(run.id, key, every=True)
        assert list(zip(found.steps.tolist(), found.values.tolist(), strict=True)) == wanted, key


def test_transformers_with_checkpoints(
    run_script: Any, store: runbase.Store, tmp_path: Path
) -> None:
    run, _ = run_script(TRANSFORMERS, HF_MLFLOW_LOG_ARTIFACTS="1", MLFLOW_TAGS='{"team": "text"}')
    assert (run.status.value, run.tags["team"]) == ("COMPLETED", "text")
    paths = files(store, run, tmp_path)
    assert any(path.endswith("model.safetensors") for path in paths), paths


def test_xgboost(run_script: Any, store: runbase.Store, tmp_path: Path) -> None:
    run, answer = run_script(XGBOOST)
    assert (run.name, run.status.value) == ("boosted", "COMPLETED")
    assert (run.params["max_depth"], run.params["eta"]) == (3, 0.25)
    assert run.tags["team"] == "trees"
    losses = store.metrics(run.id, "train-logloss", every=True)
    assert losses.steps.tolist() == list(range(20))
    assert losses.values.tolist() == pytest.approx(answer["logged"])
    paths = files(store, run, tmp_path)
    assert {"feature_importance_weight.json", "feature_importance_weight.png"} <= paths
