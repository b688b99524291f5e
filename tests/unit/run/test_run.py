"""A run as a training script uses it: values, steps, labels, telemetry, mistakes."""

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from tests.read_back import stored


def series(run: runbase.Run, key: str, **more: Any) -> Any:
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.metrics(run.id, key, **more)


def test_ten_lines_of_the_readme(home: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.pt"
    model.write_bytes(b"weights")
    with runbase.start_run("mnist", params={"lr": 1e-3}, tags=["baseline"], home=home) as run:
        for step in range(10):
            run.log({"train/loss": 1 / (step + 1)}, step=step)
        run.log({"val/acc": 0.95}, step=9)
        run.log_artifact(model, kind="checkpoint")
    with runbase.open(home=home) as store:
        best = store.runs(
            'metrics."val/acc" > 0.9 and params.lr < 0.01',
            order_by='metrics."val/acc" desc',
            limit=5,
        )
        frame = best.to_pandas()
        assert frame["metrics.val/acc"].tolist() == [0.95]
        assert store.metrics(best[0].id, "val/acc").values.tolist() == [0.95]
        rows = store.sql("select key, count(*) from metrics group by key order by key")
        assert rows == [("train/loss", 10), ("val/acc", 1)]
        assert store.run(best[0].id).artifacts[0].kind == "checkpoint"
        assert store.sql("select 1 as one").to_pandas()["one"].tolist() == [1]


def test_values_of_every_kind(run: runbase.Run) -> None:
    run.log(
        {
            "np": np.float32(0.5),
            "bool": True,
            "int": 2**40,
            "decimal": Decimal("0.1"),
            "when": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
            "a": {"b": {"c": 1.0}},
            "nan": float("nan"),
            "huge": 2**70,
        },
        step=np.int64(3),
    )
    record = stored(run)
    assert {k: m.type for k, m in record.metrics.items()} == {
        "np": "float",
        "bool": "bool",
        "int": "float",
        "decimal": "float",
        "when": "time",
        "a/b/c": "float",
        "nan": "float",
        "huge": "float",
    }
    assert record.metrics["int"].last == 2**40
    assert record.metrics["when"].last == 1767225600.0
    assert record.metrics["nan"].nans == 1
    assert record.metrics["np"].last_step == 3


def test_steps_count_by_themselves_and_go_on_from_given_ones(run: runbase.Run) -> None:
    for step in (None, None, 10, None, 3, None, 0.5, None):
        run.log({"x": 1.0}, step=step)
    run.finish()
    steps = series(run, "x", every=True).steps.tolist()
    assert steps == sorted([0, 1, 10, 11, 3, 4, 0.5, 1.5])


@pytest.mark.parametrize(
    ("values", "step", "says"),
    [
        ({"loss": "low"}, None, "'loss' is text"),
        ({"a": {"loss": None}}, None, "'a/loss' is of type NoneType"),
        ({"loss": np.zeros(2)}, None, r"shape \(2,\)"),
        ({"loss": 1.0}, "1", "step"),
        ({"loss": 1.0}, float("nan"), "step"),
        ({"loss": 1.0}, float("inf"), "step"),
    ],
)
def test_mistakes_raise_at_once(run: runbase.Run, values: Any, step: Any, says: str) -> None:
    with pytest.raises(runbase.InvalidValue, match=says):
        run.log(values, step)
    run.log({"fine": 1})
    assert set(stored(run).metrics) == {"fine"}


def test_log_after_finish(run: runbase.Run) -> None:
    run.finish()
    run.finish()
    for call in (lambda: run.log({"x": 1}), lambda: run.log_params({"a": 1}), lambda: run.tag("t")):
        with pytest.raises(runbase.RunFinished, match="resume"):
            call()


def test_params_tags_notes(run: runbase.Run) -> None:
    run.params.lr = 0.1
    run.params["model"] = {"layers": [1, 2], "act": "relu"}
    run.params.update(batch=32)
    assert (run.params.lr, run.params["model/act"], len(run.params)) == (0.1, "relu", 4)
    with pytest.raises(AttributeError, match="did you mean 'batch'"):
        run.params.batsh
    run.tag("one", {"two": 2}, stage="test")
    run.untag("one")
    run.note("first")
    run.note("second")
    run.note("third", append=True)
    record = stored(run)
    assert record.params == {"lr": 0.1, "model/layers": [1, 2], "model/act": "relu", "batch": 32}
    assert record.tags == {"two": "2", "stage": "test"}
    assert record.notes == "second\nthird"


def test_telemetry(run: runbase.Run) -> None:
    run.log_telemetry({"cpu": 10.0, "net": {"in": 5}}, at=1_800_000_000.0)
    run.log_telemetry({"cpu": 20.0}, at=1_800_000_001.0)
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        found = store.telemetry(run, "cpu")
        assert found.values.tolist() == [10.0, 20.0]
        assert found.times.tolist() == [1_800_000_000.0, 1_800_000_001.0]


def test_usage_mistakes(run: runbase.Run, home: Path) -> None:
    with pytest.raises(runbase.UsageError, match="did you mean 'packages'"):
        runbase.start_run("e", home=home, capture=["package"])
    with pytest.raises(runbase.UsageError, match="the statuses are"):
        run.finish("DONE")
    with pytest.raises(runbase.UsageError, match="not a final status"):
        run.finish("RUNNING")
    with pytest.raises(runbase.UsageError, match="finish"):
        run.set_status("COMPLETED")
    with pytest.raises(runbase.UsageError, match="sqlite:///"):
        runbase.open("mysql://nowhere")
    with pytest.raises(runbase.UsageError, match="run id"):
        runbase.start_run("e", home=home, run_id="../../etc")
    run.set_status("suspended", "lunch")
    assert stored(run).history[1].reason == "lunch"
