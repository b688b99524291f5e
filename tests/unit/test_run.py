"""A run as a training script uses it."""

import asyncio
import datetime as dt
import hashlib
import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase


@pytest.fixture
def run(home: Path) -> runbase.Run:
    return runbase.start_run("unit", home=home, capture=False)


def read(run: runbase.Run) -> Any:
    """The run, finished, as the store has it."""
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        return store.run(run.id)


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
    record = read(run)
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
    assert set(read(run).metrics) == {"fine"}


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
    record = read(run)
    assert record.params == {"lr": 0.1, "model/layers": [1, 2], "model/act": "relu", "batch": 32}
    assert record.tags == {"two": "2", "stage": "test"}
    assert record.notes == "second"


def test_records(run: runbase.Run) -> None:
    run.log({"x": 1}, step=7)
    run.log_text("sample", "once upon a time")
    run.log_text("long", "x" * 100_000, step=1)
    run.log_dict("config", {"a": [1, {"b": None}]})
    run.log_table("rows", [{"a": 1, "b": "x"}, {"a": 2}])
    run.log_table("columns", {"a": [1, 2], "b": [3, 4]})
    run.log_histogram("weights", np.append(np.arange(100.0), np.nan), bins=10)
    run.log_image("pixels", np.zeros((4, 6, 3)), step=2)
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        found = {record["key"]: record for record in store.records(run)}
    assert (found["sample"]["value"], found["sample"]["step"]) == ("once upon a time", 7)
    assert json.loads((run.folder / found["long"]["path"]).read_text()) == "x" * 100_000
    assert found["config"]["value"] == {"a": [1, {"b": None}]}
    assert found["rows"]["value"] == {"columns": ["a", "b"], "rows": [[1, "x"], [2, None]]}
    assert found["columns"]["value"]["rows"] == [[1, 3], [2, 4]]
    assert found["weights"]["value"]["counts"] == [10] * 10
    assert found["weights"]["value"]["not_finite"] == 1
    assert (run.folder / found["pixels"]["path"]).read_bytes().startswith(b"\x89PNG")


def test_artifacts(run: runbase.Run, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("one")
    (folder / "b.json").write_text("{}")
    run.log_artifact(folder, kind="data", step=4, metadata={"rows": 1})
    run.log_artifact(folder / "b.json", name="other/name.json")
    with pytest.raises(runbase.InvalidValue, match="does not exist"):
        run.log_artifact(tmp_path / "missing")
    for name in ("../out", "/abs", "a/../../b"):
        with pytest.raises(runbase.InvalidValue, match="below the run"):
            run.log_artifact(folder / "b.json", name=name)
    found = {artifact.path: artifact for artifact in read(run).artifacts}
    assert set(found) == {"out/deep/a.txt", "out/b.json", "other/name.json"}
    one = found["out/deep/a.txt"]
    assert (one.size, one.mime, one.step, one.metadata) == (3, "text/plain", 4, {"rows": 1})
    assert one.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (run.folder / one.uri).read_text() == "one"


def test_telemetry(run: runbase.Run) -> None:
    run.log_telemetry({"cpu": 10.0, "net": {"in": 5}}, at=1_800_000_000.0)
    run.log_telemetry({"cpu": 20.0}, at=1_800_000_001.0)
    run.finish()
    with runbase.open(home=run.folder.parents[2]) as store:
        found = store.telemetry(run, "cpu")
        assert found.values.tolist() == [10.0, 20.0]
        assert found.times.tolist() == [1_800_000_000.0, 1_800_000_001.0]


def test_the_current_run_is_of_the_thread_and_the_task(home: Path) -> None:
    with pytest.raises(runbase.UsageError, match="no active run"):
        runbase.log({"x": 1})
    ids: dict[str, str] = {}

    def work(name: str) -> None:
        with runbase.start_run("threads", name=name, home=home, capture=False) as run:
            barrier.wait()
            runbase.log({"x": 1})
            current = runbase.current_run()
            assert current is not None
            ids[name] = current.id
            assert current.id == run.id
            barrier.wait()

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids.values())) == 3

    async def task(name: str) -> str:
        with runbase.start_run("tasks", name=name, home=home, capture=False) as run:
            await asyncio.sleep(0)
            runbase.log({"x": 1})
            current = runbase.current_run()
            assert current is not None
            assert current.id == run.id
            return current.id

    async def both() -> list[str]:
        return await asyncio.gather(task("a"), task("b"))

    assert len(set(asyncio.run(both()))) == 2
    assert runbase.current_run() is None


def test_a_helper_thread_finds_the_only_run(run: runbase.Run, home: Path) -> None:
    thread = threading.Thread(target=lambda: runbase.log({"from_thread": 1}))
    thread.start()
    thread.join()
    assert "from_thread" in read(run).metrics


def test_nested_runs_and_several_at_once(home: Path) -> None:
    with runbase.start_run("outer", home=home, capture=False) as outer:
        with runbase.start_run("inner", home=home, capture=False) as inner:
            runbase.log({"x": 1})
        alone = runbase.start_run("inner", home=home, parent=False, capture=False)
        alone.finish()
        runbase.log({"y": 1})
    first = runbase.start_run("side", home=home, capture=False)
    second = runbase.start_run("side", home=home, capture=False)
    given = runbase.start_run("side", home=home, capture=False, parent=first)
    first.log({"a": 1})
    second.log({"b": 2})
    for run in (given, second, first):
        run.finish()
    with runbase.open(home=home) as store:
        assert store.run(inner.id).parent_id == outer.id
        assert store.run(alone.id).parent_id is None
        assert store.run(second.id).parent_id is None
        assert store.run(given.id).parent_id == first.id
        assert set(store.run(outer.id).metrics) == {"y"}
        assert set(store.run(first.id).metrics) == {"a"}


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
    assert set(read(run).metrics) == {"a", "b"}
    other = runbase.init(
        project="w", name="n", config={"lr": 1}, tags=["a"], group="g", dir=str(home.parent)
    )
    runbase.log({"x": 1})
    runbase.finish()
    with runbase.open(home=home) as store:
        record = store.run(other.id)
    assert (record.experiment, record.name, record.tags) == ("w", "n", {"a": None, "group": "g"})


def test_settings_from_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "HOME": str(home),
        "EXPERIMENT": "from-env",
        "RUN_NAME": "named",
        "RUN_ID": "job-77",
        "TAGS": "a,b",
        "NOTES": "said",
        "CAPTURE": "false",
    }.items():
        monkeypatch.setenv(f"RUNBASE_{name}", value)
    runbase.start_run().finish()
    with runbase.start_run() as again:  # the same id goes on
        again.log({"x": 1})
    with runbase.open() as store:
        record = store.run("job-77")
    assert (record.experiment, record.name) == ("from-env", "named")
    assert (record.tags, record.notes) == ({"a": None, "b": None}, "said")
    assert len(record.history) == 4


def test_the_environments_id_is_for_one_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_RUN_ID", "job-7")
    outer = runbase.start_run("e", home=home, capture=False)
    inner = runbase.start_run("e", home=home, capture=False)
    assert (outer.id, inner.id != "job-7") == ("job-7", True)
    inner.finish()
    outer.finish()


def test_bad_arguments_begin_nothing(home: Path) -> None:
    with pytest.raises(runbase.InvalidValue, match="not int"):
        runbase.start_run("e", home=home, params=5)  # type: ignore[arg-type]
    assert runbase.current_run() is None
    assert not home.exists()


def test_disabled_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_MODE", "disabled")
    with runbase.start_run("e", home=home) as run:
        run.log({"x": 1})
        folder = run.folder
    assert not home.exists()
    assert not folder.exists()


def test_files_only(home: Path) -> None:
    with runbase.start_run("e", home=home, store="none", capture=False) as run:
        run.log({"x": 1})
    assert not (home / "runbase.db").exists()
    with runbase.open(home=home) as store:
        assert store.run(run.id).metrics["x"].last == 1


def test_the_place_is_said_once(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RUNBASE_QUIET")
    for _ in range(2):
        runbase.start_run("said", home=home, capture=False).finish()
    said = capsys.readouterr().err
    assert said.count(str(home / "runbase.db")) == 1


def test_an_unwritable_home(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(runbase.HomeError, match="RUNBASE_HOME"):
        runbase.start_run("e", home=blocked / "home")


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
    assert read(run).history[1].reason == "lunch"
