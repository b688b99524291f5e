"""Lightning's trainers with `RunbaseLogger`: what the CSVLogger beside it has, the store must have."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.environments.integrations.conftest import RunScript, points
from tests.environments.integrations.lightning_model import MODEL

SCRIPT = (
    """
import json, sys, torch, lightning.pytorch as lit
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader, TensorDataset
from runbase.integrations.lightning import RunbaseLogger

"""
    + MODEL
    + """
def trainer(*loggers, **options):
    return lit.Trainer(max_epochs=3, logger=list(loggers), log_every_n_steps=4, accelerator="cpu",
        enable_progress_bar=False, enable_model_summary=False, **options)
"""
)


def test_every_value_is_at_its_step(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        SCRIPT
        + """
logger = RunbaseLogger("digits", name="lit", tags={"team": "vision"}, params={"seed": 0})
both = [logger, CSVLogger("csv", version="one")]
fitted = trainer(*both)
fitted.fit(Model(), data, data)
fitted.test(Model(), data, verbose=False)
"""
    )
    (run,) = store.runs()
    assert (run.name, run.experiment, run.status.value) == ("lit", "digits", "COMPLETED")
    assert (run.params["lr"], run.params["net/width"]) == (0.125, 8)
    assert (run.params["net/layers"], run.params["seed"]) == ([1, 2], 0)
    assert run.tags["team"] == "vision"
    with open("csv/lightning_logs/one/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for key in ("train/loss", "val/loss", "test/loss", "epoch"):
        wanted = sorted({(int(row["step"]), float(row[key])) for row in rows if row[key]})
        assert wanted
        assert sorted(set(points(store, run, key))) == wanted, key


def test_an_exception_fails_the_run(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        SCRIPT + 'trainer(RunbaseLogger("digits")).fit(Model(fails=9), data, data)', fails=True
    )
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "no more data")
    assert "training_step" in run.error["traceback"]


@pytest.mark.parametrize(("kind", "number"), [("True", 2), ('"all"', 6)])
def test_checkpoints(
    run_script: RunScript, store: runbase.Store, tmp_path: Path, kind: str, number: int
) -> None:
    answer = run_script(
        SCRIPT
        + f"""
keep = ModelCheckpoint(dirpath="kept", monitor="val/loss", mode="min", save_top_k=1, save_last=True)
trainer(RunbaseLogger("digits", log_model={kind}), callbacks=[keep]).fit(Model(), data, data)
print(json.dumps({{"best": str(keep.best_model_score.item()), "path": keep.best_model_path}}))
"""
    )
    (run,) = store.runs()
    found = [a for a in store.run(run.id).artifacts if a.kind == "checkpoint"]
    assert len(found) == number
    (best,) = [a for a in found if a.metadata["best"]]  # `last` holds the same bytes
    assert best.metadata["metrics"] == {"val/loss": pytest.approx(float(answer["best"]))}
    assert best.step == 48
    copy = store.download(f"{run.id}/{best.path}", tmp_path / "copy")
    assert copy.read_bytes() == Path(answer["path"]).read_bytes()


def test_the_run_of_the_user_goes_on(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        SCRIPT
        + """
import runbase
with runbase.start_run("mine", name="whole") as run:
    trainer(RunbaseLogger()).fit(Model(), data, data)
    open_after = not run.finished
    run.log({"after": 1.0}, step=100)
given = runbase.start_run("mine", name="given")
trainer(RunbaseLogger(run=given, params={"a": 1})).fit(Model(), data, data)
print(json.dumps({"open": open_after, "given": not given.finished}))
"""
    )
    assert answer == {"open": True, "given": True}
    runs = {run.name: run for run in store.runs(experiment="mine")}
    assert set(runs) == {"whole", "given"}
    assert runs["whole"].metrics["train/loss"].count == 12
    assert runs["whole"].metrics["after"].last == 1.0
    assert runs["given"].params["a"] == 1


def test_two_processes_log_once(run_script: RunScript, store: runbase.Store) -> None:
    """`ddp_spawn` pickles the logger before anything ran; rank one logs nothing."""
    script = (
        SCRIPT
        + """
if __name__ == "__main__":
    logger = RunbaseLogger("digits")
    spread = trainer(logger, strategy="ddp_spawn", devices=2)
    spread.fit(Model(), data, data)
    trainer(logger).test(Model(), data, verbose=False)
"""
    )
    run_script(script)
    (run,) = store.runs()
    assert run.status.value == "COMPLETED"
    steps = [step for step, _ in points(store, run, "train/loss")]
    assert steps == sorted(set(steps))
    assert len(steps) == 6
    assert "test/loss" in run.metrics
    assert not [key for key in run.metrics if "rank" in key]


def test_a_run_is_continued_by_its_id(run_script: RunScript, store: runbase.Store) -> None:
    script = (
        SCRIPT
        + """
fitted = trainer(RunbaseLogger("digits", run_id="the-run"))
fitted.fit(Model(), data, data)
"""
    )
    run_script(script)
    run_script(script)
    (run,) = store.runs()
    assert (run.id, run.status.value) == ("the-run", "COMPLETED")
    assert store.metrics(run.id, "train/loss", every=True).steps.size == 24


def test_the_other_package(run_script: RunScript, store: runbase.Store) -> None:
    """`pytorch_lightning` has classes of its own."""
    text = SCRIPT.replace("lightning.pytorch", "pytorch_lightning")
    run_script(
        text
        + """
from pytorch_lightning.loggers import Logger
logger = RunbaseLogger("digits")
assert isinstance(logger, Logger)
trainer(logger).fit(Model(), data, data)
"""
    )
    (run,) = store.runs()
    assert run.metrics["train/loss"].count == 12


def test_fabric(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
from lightning.fabric import Fabric
from runbase.integrations.lightning import RunbaseLogger
fabric = Fabric(accelerator="cpu", loggers=RunbaseLogger("fabric"))
for step in range(3):
    fabric.log_dict({"loss": 1.0 / (step + 1), "nested": {"a": step}}, step=step)
"""
    )
    (run,) = store.runs()
    assert points(store, run, "loss") == [(0, 1.0), (1, 0.5), (2, pytest.approx(1 / 3))]
    assert run.status.value == "COMPLETED"


def test_media_and_other_values(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
import numpy as np
from runbase.integrations.lightning import RunbaseLogger
logger = RunbaseLogger("digits")
logger.log_image("pixels", [np.zeros((4, 4), np.uint8)], step=3)
logger.log_text("words", "hello", step=3)
logger.log_table("rows", [[1, 2]], columns=["a", "b"], step=3)
logger.log_metrics({"loss": 0.5, "what": "text"}, step=3)
logger.log_hyperparams({"function": print, "shape": (1, 2)})
logger.finalize("success")
"""
    )
    (run,) = store.runs()
    kinds: dict[str, Any] = {
        record["key"]: (record["kind"], record["step"]) for record in store.records(run.id)
    }
    assert kinds == {"pixels": ("image", 3), "words": ("text", 3), "rows": ("table", 3)}
    assert run.params["function"] == "print"
    assert json.dumps(run.params["shape"]) == "[1, 2]"
