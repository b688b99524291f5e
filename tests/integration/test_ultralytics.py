"""The callbacks for Ultralytics, with a stand-in that has what its trainer 8.4 shows to callbacks."""

import pickle
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import runbase
from runbase.integrations.ultralytics import add_callbacks


class Model:
    """Calls its callbacks in the order of `BaseTrainer.train` and `final_eval`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.callbacks: dict[str, list[Callable[[Any], None]]] = defaultdict(list)

    def add_callback(self, event: str, callback: Callable[[Any], None]) -> None:
        self.callbacks[event].append(callback)

    def train(self, epochs: int = 3, fails: int | None = None, **args: Any) -> None:
        weights = self.folder / "weights"
        weights.mkdir(parents=True, exist_ok=True)
        trainer = SimpleNamespace(
            args=SimpleNamespace(epochs=epochs, data=None, **args),
            save_dir=self.folder,
            last=weights / "last.pt",
            best=weights / "best.pt",
            epochs=epochs,
            tloss={},
            lr={"lr/pg0": 0.01},
            metrics={},
            fitness=None,
            best_fitness=None,
            stop=False,
            label_loss_items=lambda items, prefix: {f"{prefix}/{k}": v for k, v in items.items()},
        )

        def tell(event: str) -> None:
            for callback in self.callbacks[event]:
                callback(trainer)

        try:
            tell("on_pretrain_routine_start")
            tell("on_pretrain_routine_end")
            for epoch in range(epochs):
                trainer.epoch = epoch
                if epoch == fails:
                    raise RuntimeError("out of memory")
                trainer.tloss = {"box_loss": 1 / (epoch + 1)}
                trainer.metrics = {"metrics/mAP50(B)": epoch / 10, "val/box_loss": 2.0}
                trainer.fitness = trainer.best_fitness = epoch / 10
                trainer.stop = epoch == epochs - 1
                trainer.last.write_text(f"last {epoch}")
                trainer.best.write_text(f"best {epoch}")
                tell("on_model_save")
                tell("on_fit_epoch_end")
            trainer.epoch += 1  # the last validation
            trainer.metrics = {"metrics/mAP50(B)": 0.5}
            tell("on_fit_epoch_end")
            trainer.epoch -= 1
            tell("on_train_end")
        finally:
            tell("teardown")


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return Model(tmp_path / "runs" / "detect" / "train")


def curve(store: runbase.Store, run: Any, key: str) -> list[tuple[float, float]]:
    series = store.metrics(run, key, every=True)
    return list(zip(series.steps.tolist(), series.values.tolist(), strict=True))


@pytest.mark.parametrize(("log_model", "files"), [(False, 0), (True, 2), ("all", 3)])
def test_a_training(home: Path, model: Model, log_model: bool | str, files: int) -> None:
    add_callbacks(model, "detect", tags=["yolo"], log_model=log_model, home=home)
    model.train(lr0=0.01)
    with runbase.open(home=home) as store:
        [run] = store.runs()
        assert (run.experiment, run.name, run.status.value) == ("detect", "train", "COMPLETED")
        assert run.params == {"epochs": 3, "lr0": 0.01}
        assert "yolo" in run.tags
        assert curve(store, run, "train/box_loss") == [(1, 1), (2, 1 / 2), (3, 1 / 3)]
        assert curve(store, run, "metrics/mAP50(B)") == [(1, 0), (2, 0.1), (3, 0.2)]
        assert curve(store, run, "lr/pg0")[0] == (1, 0.01)
        assert curve(store, run, "best/metrics/mAP50(B)") == [(3, 0.5)]
        kept = [a for a in store.artifacts(run) if a.kind == "checkpoint"]
        assert len(kept) == files
        if log_model is True:
            [best] = [a for a in kept if a.metadata["best"]]
            assert store.download(best).read_text() in ("best 2", "last 2")
            assert best.metadata["metrics"] == {"fitness": 0.2}


def test_an_exception_fails_the_run_and_the_next_training_is_another(
    home: Path, model: Model
) -> None:
    held = add_callbacks(model, "detect", home=home)
    with pytest.raises(RuntimeError):
        model.train(fails=1)
    model.train()
    model.train(epochs=1)
    held.finish()
    with runbase.open(home=home) as store:
        runs = store.runs(order_by="number")
        assert [run.status.value for run in runs] == ["FAILED", "COMPLETED", "COMPLETED"]
        assert runs[0].error is not None
        assert (runs[0].error["type"], runs[0].error["message"]) == (
            "RuntimeError",
            "out of memory",
        )
        assert [run.metrics["train/box_loss"].count for run in runs] == [1, 3, 1]


def test_a_run_is_continued_and_one_of_the_user_stays_open(home: Path, model: Model) -> None:
    add_callbacks(model, "detect", run_id="the-run", home=home)
    model.train(epochs=1)
    other = Model(model.folder)
    add_callbacks(other, "detect", run_id="the-run", home=home)
    other.train(epochs=2)
    with runbase.start_run("mine", name="mine", home=home) as run:
        third = Model(model.folder)
        add_callbacks(third, run=run)
        third.train(epochs=1)
        assert not run.finished
    with runbase.open(home=home) as store:
        runs = {run.name: run for run in store.runs()}
        assert set(runs) == {"train", "mine"}
        assert (runs["train"].id, runs["train"].metrics["train/box_loss"].count) == ("the-run", 3)
        assert runs["mine"].params["epochs"] == 1


def test_processes_of_a_distributed_training(
    home: Path, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ultralytics passes the callbacks to its processes by cloudpickle; rank one logs nothing."""
    held = add_callbacks(model, "detect", home=home)
    monkeypatch.setenv("RUNBASE_JOIN_RANKS", "false")
    for rank in ("0", "1"):
        copied = Model(model.folder)
        for event, callback in pickle.loads(pickle.dumps(held)).events().items():
            copied.add_callback(event, callback)
        monkeypatch.setenv("RANK", rank)
        copied.train(epochs=2)
    with runbase.open(home=home) as store:
        [run] = store.runs()
        assert run.metrics["train/box_loss"].count == 2
