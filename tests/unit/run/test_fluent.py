"""Functions on the current run, the decorator, and names of other trackers."""

from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.read_back import stored


def test_track(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_HOME", str(home))

    @runbase.track
    def train(lr: float, layers: int = 2, run: Any = None) -> dict[str, float]:
        run.log({"loss": lr * layers})
        return {"final": 0.5}

    @runbase.track("named", tags=["t"], capture=False)
    def fails() -> None:
        raise ValueError("no")

    assert train(0.1) == {"final": 0.5}
    with pytest.raises(ValueError, match="no"):
        fails()
    with runbase.open(home=home) as store:
        failed, done = store.runs()
    assert (done.experiment, done.params) == ("train", {"lr": 0.1, "layers": 2})
    assert done.metrics["final"].last == 0.5
    assert (failed.experiment, failed.status.value, failed.tags) == ("named", "FAILED", {"t": None})


def test_names_from_elsewhere(run: runbase.Run, home: Path) -> None:
    run.log_metric("a", 1, 5)
    run.log_metrics({"b": 2}, 6)
    run.log_param("p", 1)
    with pytest.raises(AttributeError, match="use tag"):
        run.set_tag("x", "y")
    with pytest.raises(AttributeError, match="always recorded"):
        run.define_metric("a", summary="min")
    with pytest.raises(runbase.UsageError, match=r"run\.log"):
        run["train/loss"].append(1)
    with pytest.raises(runbase.UsageError, match=r"run\.params"):
        run["lr"] = 1
    assert set(stored(run).metrics) == {"a", "b"}
    other = runbase.init(
        project="w", name="n", config={"lr": 1}, tags=["a"], group="g", dir=str(home.parent)
    )
    runbase.log({"x": 1})
    runbase.finish()
    with runbase.open(home=home) as store:
        record = store.run(other.id)
    assert (record.experiment, record.name, record.tags) == ("w", "n", {"a": None, "group": "g"})
