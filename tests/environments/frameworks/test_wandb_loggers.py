"""The W&B loggers of Lightning, transformers and accelerate, unmodified, on `runbase.wandb`.

Each script keeps what it logged beside: the store must have the same.
"""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.patience import PATIENCE

pytest.importorskip("transformers")
pytest.importorskip("accelerate")
LIGHTNING = """
import json, sys, torch, lightning.pytorch as lit
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from torch.utils.data import DataLoader, TensorDataset

class Model(lit.LightningModule):
    def __init__(self, lr=0.125, width=8, fails=False):
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)
    def step(self, batch, name):
        loss = self.layer(batch[0]).pow(2).mean()
        self.log(f"{name}/loss", loss)
        return loss
    def training_step(self, batch, number):
        if self.hparams.fails and self.global_step == 6:
            raise ValueError("bad batch")
        return self.step(batch, "train")
    def validation_step(self, batch, number):
        self.step(batch, "val")
    def test_step(self, batch, number):
        self.step(batch, "test")
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

data = DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=4)
logger = WandbLogger(project="digits", name="lit", log_model=True, tags=["vision"], group="g")
model = Model(fails="fails" in sys.argv)
logger.watch(model, log="all", log_freq=8)
trainer = lit.Trainer(
    max_epochs=3, logger=[logger, CSVLogger("csv", version="one")], log_every_n_steps=4, accelerator="cpu",
    enable_progress_bar=False, enable_model_summary=False, callbacks=[ModelCheckpoint(monitor="val/loss")],
)
trainer.fit(model, data, data)
trainer.test(model, data)
logger.log_image("samples", [torch.zeros(3, 4, 4)], caption=["black"])
logger.log_text("words", columns=["a"], data=[["b"]])
import wandb
assert isinstance(logger.experiment, wandb.Run)
print(json.dumps({"run": logger.version}))
"""
TRANSFORMERS = """
import json, sys, torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments

class Failing(TrainerCallback):
    def on_step_end(self, args, state, control, **more):
        if "fails" in sys.argv and state.global_step == 7:
            raise ValueError("bad batch")

model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2))
rows = [{"input_ids": list(range(8)), "labels": list(range(8))} for _ in range(32)]
arguments = TrainingArguments(
    "out", report_to="wandb", run_name="tiny", max_steps=12, logging_steps=3, save_steps=6, eval_steps=6,
    eval_strategy="steps", learning_rate=0.25, per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=rows, eval_dataset=rows, callbacks=[Failing()])
trainer.train()
trainer.evaluate()
import wandb
print(json.dumps({"run": wandb.run.id, "logged": trainer.state.log_history}))
"""
ACCELERATE = """
import json, sys, numpy as np
from accelerate import Accelerator

accelerator = Accelerator(log_with="wandb", cpu=True)
accelerator.init_trackers(
    "digits", config={"lr": 0.5, "layers": 2}, init_kwargs={"wandb": {"name": "acc", "tags": ["t"]}}
)
for step in range(0, 20, 2):
    accelerator.log({"loss": 1 / (step + 1), "nested": {"acc": step}}, step=step)
tracker = accelerator.get_tracker("wandb")
tracker.log_images({"img": [np.zeros((4, 4, 3), dtype="uint8")]}, step=18)
tracker.log_table("rows", columns=["a"], data=[[1]], step=18)
run = accelerator.get_tracker("wandb", unwrap=True)
if "fails" in sys.argv:
    raise ValueError("bad batch")
accelerator.end_training()
print(json.dumps({"run": run.id}))
"""
Answer = dict[str, Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[runbase.Store]:
    with runbase.open(home=tmp_path / ".runbase") as opened:
        yield opened


@pytest.fixture
def run_script(store: runbase.Store) -> Callable[..., tuple[runbase.Run, Answer]]:
    """Runs a script with `python -m runbase.wandb`, and returns its run and what it printed."""

    def run(text: str, *arguments: str, code: int = 0) -> tuple[runbase.Run, Answer]:
        Path("train.py").write_text(text)
        done = subprocess.run(
            [sys.executable, "-m", "runbase.wandb", "train.py", *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "WANDB_PROJECT": "digits"},
            check=False,
        )
        assert done.returncode == code, done.stderr[-4000:]
        store.sync()
        (record,) = store.runs(experiment="digits")
        answer: Answer = {} if code else json.loads(done.stdout.splitlines()[-1])
        return store.run(record.id), answer

    return run


def curve(store: runbase.Store, run: runbase.Run, key: str) -> tuple[list[Any], list[float]]:
    """Return the steps and values of a metric."""
    series = store.metrics(run, key, every=True)
    return series.steps.tolist(), series.values.tolist()


def check_failed(run: runbase.Run) -> None:
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "bad batch")
    assert "train.py" in run.error["traceback"]


def test_lightning(run_script: Any, store: runbase.Store) -> None:
    run, answer = run_script(LIGHTNING)
    assert run.id == answer["run"]
    assert (run.name, run.experiment, run.status.value) == ("lit", "digits", "COMPLETED")
    assert (run.params["lr"], run.params["width"], run.params["fails"]) == (0.125, 8, False)
    assert run.tags == {"vision": None, "group": "g"}
    with open("csv/lightning_logs/one/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for key in ("train/loss", "val/loss", "test/loss"):
        logged = {int(row["step"]): float(row[key]) for row in rows if row[key]}
        assert logged
        assert curve(store, run, key) == ([*logged], [pytest.approx(v) for v in logged.values()])
    records = {record["key"]: record for record in store.records(run)}
    assert records["samples/0"]["value"] == {"caption": "black"}
    assert store.read_record(records["words"])["rows"] == [["b"]]
    assert {"gradients/layer.weight", "parameters/layer.weight"} <= records.keys()
    (model,) = store.artifact_versions(f"model-{run.id}")
    assert model.kind == "model"
    assert model.metadata["ModelCheckpoint"]["monitor"] == "val/loss"
    assert (store.download(model) / "model.ckpt").stat().st_size > 0


def test_lightning_fails(run_script: Any) -> None:
    run, _ = run_script(LIGHTNING, "fails", code=1)
    check_failed(run)


def test_transformers(run_script: Any, store: runbase.Store) -> None:
    run, answer = run_script(TRANSFORMERS)
    assert run.id == answer["run"]
    assert (run.name, run.status.value) == ("tiny", "COMPLETED")
    assert (run.params["n_embd"], run.params["learning_rate"], run.params["max_steps"]) == (
        8,
        0.25,
        12,
    )
    assert run.params["model/num_parameters"] > 0
    logged: dict[str, dict[int, float]] = {}
    for row in answer["logged"]:
        alone = "train_runtime" in row
        for key, value in row.items():
            if key == "step" or (alone and key == "epoch"):
                continue
            name = (
                key if alone else f"eval/{key[5:]}" if key.startswith("eval_") else f"train/{key}"
            )
            logged.setdefault(name, {})[row["step"]] = value
    assert {"train/loss", "train/grad_norm", "eval/loss", "train_loss"} <= logged.keys()
    for key, points in logged.items():
        found = store.metrics(run, key)
        assert found.steps.tolist() == [*points], key
        assert found.values.tolist() == pytest.approx([*points.values()]), key


def test_transformers_fails(run_script: Any) -> None:
    run, _ = run_script(TRANSFORMERS, "fails", code=1)
    check_failed(run)


def test_accelerate(run_script: Any, store: runbase.Store) -> None:
    run, answer = run_script(ACCELERATE)
    assert run.id == answer["run"]
    assert (run.name, run.status.value) == ("acc", "COMPLETED")
    assert run.params == {"lr": 0.5, "layers": 2}
    assert run.tags == {"t": None}
    steps = list(range(0, 20, 2))
    assert curve(store, run, "loss") == (steps, [1 / (step + 1) for step in steps])
    assert curve(store, run, "nested.acc") == (steps, steps)
    records = {record["key"]: record for record in store.records(run)}
    assert records["img/0"]["step"] == records["rows"]["step"] == 18


def test_accelerate_fails(run_script: Any) -> None:
    run, _ = run_script(ACCELERATE, "fails", code=1)
    check_failed(run)
