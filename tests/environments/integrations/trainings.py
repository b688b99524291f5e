"""The small trainings that `table` runs: the same script with the integrations of runbase, MLflow and W&B.

Each script prints what it logged: ``RESULT {"curves": {key: [[step, value], …]}, "params": {…}}``.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from tests.environments.integrations.lightning_model import MODEL


class Training(Struct, frozen=True, kw_only=True):
    """A training of one tool."""

    name: str
    package: str
    code: str
    """The code that all parts share; it ends with definitions that the parts call."""
    faces: dict[str, str]
    """Integration → the code that makes it; `RUN` is the id of a run to continue, or None."""
    parts: dict[str, str]
    """whole, fails, first, second, distributed → code."""
    models: tuple[str, ...]
    """Names of files, one of which is the model or a checkpoint."""
    key: str
    """The metric that is looked at in continued and distributed trainings."""
    spellings: Callable[[str], list[str]] = lambda key: [key]
    """Returns the names that integrations give a metric."""
    wandb_step: str = ""
    """The metric that W&B's integration defines as the step."""
    torchrun: bool = False
    """Whether torchrun starts the processes of the distributed training; otherwise the script does."""
    untested: dict[str, tuple[str, ...]] = {}
    """Integration → columns that cannot be measured here."""

    def script(self, face: str, part: str, values: dict[str, Any]) -> str:
        """Return a script."""
        return "\n".join(
            [f"RUN = {values.get('run')!r}", self.code, self.faces[face], self.parts[part]]
        )


LIGHTNING = Training(
    name="Lightning",
    package="lightning",
    code="""
import csv, json, sys, torch, lightning.pytorch as lit
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, WandbLogger
from torch.utils.data import DataLoader, TensorDataset

"""
    + MODEL
    + """
def trainer(logger, epochs=3, **options):
    both = [logger, CSVLogger("csv", version=f"of-{epochs}")]
    keep = ModelCheckpoint(dirpath="kept", filename="best", monitor="val/loss", save_last=True, enable_version_counter=False)
    return lit.Trainer(max_epochs=epochs, logger=both, log_every_n_steps=4, accelerator="cpu", callbacks=[keep],
        enable_progress_bar=False, enable_model_summary=False, **options)
def report(epochs=3):
    curves = {}
    for row in csv.DictReader(open(f"csv/lightning_logs/of-{epochs}/metrics.csv")):
        for key, value in row.items():
            if key not in ("step",) and value:
                curves.setdefault(key, []).append([int(row["step"]), float(value)])
    curves.pop("epoch")  # it is logged once by each loop
    print("RESULT", json.dumps({"curves": curves, "params": {"lr": 0.125, "net/width": 8}}))
""",
    faces={
        "runbase": """
from runbase.integrations.lightning import RunbaseLogger
def made(): return RunbaseLogger("table", run_id=RUN, log_model=True)
""",
        "mlflow": """
def made(): return MLFlowLogger("table", run_id=RUN, log_model=True)
""",
        "wandb": """
def made(): return WandbLogger(project="table", offline=True, id=RUN, resume="allow")
""",
    },
    parts={
        "whole": "one = trainer(made()); one.fit(Model(), data, data); one.test(Model(), data, verbose=False); report()",
        "fails": "trainer(made()).fit(Model(fails=9), data, data)",
        "first": "trainer(made()).fit(Model(), data, data); report()",
        "second": 'trainer(made(), 6).fit(Model(), data, data, ckpt_path="kept/last.ckpt"); report(6)',
        "distributed": """
if __name__ == "__main__":
    trainer(made(), strategy="ddp_spawn", devices=2).fit(Model(), data, data)
""",
    },
    models=("best.ckpt", "last.ckpt"),
    key="train/loss",
    wandb_step="trainer/global_step",
    untested={"wandb": ("artifacts",)},
)

TRANSFORMERS = Training(
    name="transformers",
    package="transformers",
    code="""
import json, os, sys, torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

torch.manual_seed(0)
def model(*args): return GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=16, n_embd=8, n_layer=1, n_head=2))
rows = [{"input_ids": list(range(8)), "labels": list(range(8))} for _ in range(32)]
class Data(list):
    seen = 0
    def __getitem__(self, place):
        Data.seen += 1
        if Data.seen > 20: raise ValueError("a damaged row")
        return super().__getitem__(place)
def trainer(steps=12, data=rows):
    arguments = TrainingArguments("out", max_steps=steps, logging_steps=3, learning_rate=0.25, eval_strategy="steps",
        eval_steps=6, save_steps=6, per_device_train_batch_size=4, use_cpu=True, disable_tqdm=True, report_to=REPORT)
    return Trainer(model=model(), args=arguments, train_dataset=data, eval_dataset=rows[:8], callbacks=CALLBACKS)
def report(one, since=0):
    curves = {}
    for row in one.state.log_history:
        for key in ("loss", "grad_norm", "learning_rate", "eval_loss"):
            if key in row and row["step"] > since:
                curves.setdefault(key, []).append([row["step"], row[key]])
    print("RESULT", json.dumps({"curves": curves, "params": {"learning_rate": 0.25, "n_embd": 8}}))
""",
    faces={
        "runbase": """
from runbase.integrations.transformers import RunbaseCallback
REPORT, CALLBACKS = "none", [RunbaseCallback("table", run_id=RUN, log_model=True)]
""",
        "mlflow": 'REPORT, CALLBACKS = "mlflow", None',
        "wandb": 'REPORT, CALLBACKS = "wandb", None',
    },
    parts={
        "whole": "one = trainer(); one.train(); one.evaluate(); report(one)",
        "fails": "trainer(data=Data(rows)).train()",
        "first": "one = trainer(6); one.train(); report(one)",
        "second": 'one = trainer(); one.train(resume_from_checkpoint="out/checkpoint-6"); report(one, 6)',
        "distributed": "trainer().train()",
    },
    models=("model.safetensors",),
    key="loss",
    spellings=lambda key: (
        [key, key.replace("eval_", "eval/")] if key.startswith("eval_") else [key, f"train/{key}"]
    ),
    wandb_step="train/global_step",
    torchrun=True,
    untested={"wandb": ("artifacts",)},
)

XGBOOST = Training(
    name="XGBoost",
    package="xgboost",
    code="""
import json, multiprocessing, sys, numpy as np, xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

dice = np.random.default_rng(0)
x = dice.normal(size=(200, 4)); y = (x[:, 0] + 0.3 * dice.normal(size=200) > 0).astype(int)
settings = {"max_depth": 3, "eta": 0.5, "objective": "binary:logistic", "eval_metric": "logloss"}
def broken(predictions, data):
    raise ValueError("no such metric")
def train(rounds=200, stop=5, **options):
    parts = xgboost.DMatrix(x[:150], label=y[:150]), xgboost.DMatrix(x[150:], label=y[150:])
    result = {}
    with recorded() as callbacks:
        xgboost.train(settings, parts[0], num_boost_round=rounds, evals=[(parts[0], "train"), (parts[1], "val")],
            evals_result=result, verbose_eval=False, early_stopping_rounds=stop, callbacks=callbacks, **options)
    curves = {f"{data}/logloss": list(enumerate(values["logloss"])) for data, values in result.items()}
    print("RESULT", json.dumps({"curves": curves, "params": {"max_depth": 3, "eta": 0.5}}))
def worker(arguments):
    with collective.CommunicatorContext(**arguments):
        train(4, None)
def distributed():
    tracker = RabitTracker(host_ip="127.0.0.1", n_workers=2)
    tracker.start()
    workers = [multiprocessing.get_context("spawn").Process(target=worker, args=(tracker.worker_args(),)) for _ in range(2)]
    for each in workers: each.start()
    for each in workers: each.join()
    assert [each.exitcode for each in workers] == [0, 0]
""",
    faces={
        "runbase": """
from contextlib import nullcontext
from runbase.integrations.xgboost import RunbaseCallback
def recorded(): return nullcontext([RunbaseCallback("table", run_id=RUN, log_model=True)])
""",
        "mlflow": """
import mlflow
from contextlib import contextmanager
mlflow.set_experiment("table")  # before there are two processes, which would both create it
mlflow.xgboost.autolog()
@contextmanager
def recorded():
    if RUN is None:
        yield None
    else:
        with mlflow.start_run(run_id=RUN): yield None
""",
        "wandb": """
import wandb
from contextlib import contextmanager
from wandb.integration.xgboost import WandbCallback
@contextmanager
def recorded():
    with wandb.init(project="table", config=settings): yield [WandbCallback(log_model=False)]
""",
    },
    parts={
        "whole": "train()",
        "fails": "train(4, None, custom_metric=broken)",
        "first": "train(4, None)",
        "second": "train(4, None)",
        "distributed": 'if __name__ == "__main__": distributed()',
    },
    models=("model.ubj", "model.xgb"),
    key="val/logloss",
    spellings=lambda key: [key, key.replace("/", "-")],
    untested={"wandb": ("artifacts",)},
)

ALL = (LIGHTNING, TRANSFORMERS, XGBOOST)
