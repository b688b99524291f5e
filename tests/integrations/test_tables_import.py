"""Tables as records: CSV, JSON Lines, Parquet, with names that tell, or columns that are mapped."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import UsageError
from runbase.ingest.imports import ImportReport
from runbase.ingest.readers import importer_for
from runbase.status import Status

STEPS = """run,epoch,timestamp,lr,optimizer,loss,acc,remark,state
a,0,2026-01-02T03:04:05Z,0.1,adam,1.0,0.5,,finished
a,1,2026-01-02T03:04:06Z,0.1,adam,0.5,0.6,hello,finished
b,0,2026-01-02 04:00:00,0.2,sgd,2.0,,x,failed
b,1,2026-01-02 04:00:01,0.2,sgd,nan,0.45,y,failed
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[runbase.Store]:
    with runbase.open(tmp_path / "ours.db") as opened:
        yield opened


def take(store: runbase.Store, path: Path, **more: Any) -> ImportReport:
    assert importer_for(str(path)) == "table"
    return store.import_from(str(path), "table", **more)


def test_a_row_a_step(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "steps.csv"
    path.write_text(STEPS)
    report = take(store, path, columns={"lr": "param"}, experiment="sweep")
    assert (report.new, report.points, report.problems) == (2, 7, [])
    a, b = store.run("a"), store.run("b")
    assert (a.experiment, a.params) == ("sweep", {"lr": 0.1, "optimizer": "adam"})
    assert (a.status, a.source_status, b.status) == (Status.COMPLETED, "finished", Status.FAILED)
    loss = store.metrics(a, "loss")
    assert (loss.steps.tolist(), loss.values.tolist()) == ([0, 1], [1.0, 0.5])
    assert loss.times.tolist() == [1767323045.0, 1767323046.0]
    assert a.started_at is not None
    assert a.started_at.timestamp() == 1767323045.0
    assert math.isnan(store.metrics(b, "loss").values[1])
    assert [(r["step"], r["value"]) for r in store.records(b, "remark")] == [(0, "x"), (1, "y")]
    path.write_text(STEPS + "a,2,2026-01-02T03:04:07Z,0.1,adam,0.25,0.7,,finished\n")
    again = take(store, path, columns={"lr": "param"}, experiment="sweep")
    assert (again.new, again.updated, again.unchanged, again.points) == (0, 1, 1, 2)
    assert store.metrics("a", "loss").values.tolist() == [1.0, 0.5, 0.25]


def test_a_row_a_run(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("lr,batch,optimizer,acc,val_acc\n0.1,32,adam,0.9,0.8\n0.2,64,sgd,0.7,0.6\n")
    report = take(store, path, columns={"lr": "param", "batch": "param:size", "*acc": "metric"})
    assert (report.new, report.points) == (2, 4)
    first, second = sorted(store.runs(), key=lambda run: run.name)
    assert (first.experiment, first.name) == ("results", "1")
    assert first.params == {"lr": 0.1, "size": 32, "optimizer": "adam"}
    assert (second.metrics["acc"].last, second.metrics["val_acc"].last) == (0.7, 0.6)
    assert take(store, path, columns={"lr": "param", "batch": "param:size"}).points == 0


def test_a_row_a_point(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "long.tsv"
    path.write_text("run\tmetric\tvalue\tstep\nr\tloss\t1\t0\nr\tloss\t0.5\t1\nr\tacc\t0.9\t1\n")
    assert take(store, path).points == 3
    assert store.metrics("r", "loss").values.tolist() == [1.0, 0.5]
    assert store.metrics("r", "acc").steps.tolist() == [1]


def test_lines_of_json(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [
        {"step": 0, "loss": 1.0, "params": {"lr": 0.1, "opt": {"name": "adam"}}, "tags.kept": True},
        {"step": 1, "loss": 0.5, "deep": {"er": 7}, "done": True},
    ]
    path.write_text("\n".join([json.dumps(lines[0]), "broken", "[1]", json.dumps(lines[1]), ""]))
    report = take(store, path)
    assert (report.new, report.points) == (1, 4)
    assert [problem.split(": ")[0] for problem in report.problems] == [
        f"{path}, line 2",
        f"{path}, line 3",
    ]
    (run,) = store.runs()
    assert run.params == {"lr": 0.1, "opt/name": "adam"}
    assert run.tags == {"kept": None}
    assert store.metrics(run, "deep/er").steps.tolist() == [1]
    assert run.metrics["done"].type == "bool"


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_what_was_exported_comes_back(
    store: runbase.Store, home: Path, tmp_path: Path, suffix: str
) -> None:
    for number in range(3):
        with runbase.start_run(
            "e", params={"lr": number / 10}, tags=["t"], home=home, capture=False
        ) as run:
            for step in range(20):
                run.log({"loss": step * 0.1 + number}, step=step)
    with runbase.open(home=home) as origin:
        origin.export(tmp_path / f"points.{suffix}", what="metrics")
        origin.export(tmp_path / f"runs.{suffix}")
        expected = {run.id: run for run in origin.runs()}
        points = {key: origin.metrics(key, "loss").values.tolist() for key in expected}
    assert take(store, tmp_path / f"points.{suffix}").points == 60
    assert take(store, tmp_path / f"runs.{suffix}").points == 0
    assert take(store, tmp_path / f"runs.{suffix}").unchanged == 3
    for found in store.runs():
        before = expected[found.id]
        assert (found.experiment, found.params, found.tags) == ("e", before.params, before.tags)
        assert found.status is before.status
        assert store.metrics(found, "loss").values.tolist() == points[found.id]


def test_what_cannot_be(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("loss,acc\n1,2\n")
    with pytest.raises(UsageError, match=r"no column 'los'; did you mean 'loss'"):
        take(store, path, columns={"los": "param"})
    with pytest.raises(UsageError, match="a column cannot be 'colour'"):
        take(store, path, columns={"loss": "colour"})
    path.write_text("step,time,loss\n0,yesterday,1\n1,1767323045000,2\n")
    report = take(store, path)
    assert report.problems == [f"{path}, row 1: 'yesterday' is not a time"]
    assert store.runs()[0].metrics["loss"].count == 1
    assert store.metrics(store.runs()[0], "loss").times.tolist() == [1767323045.0]
    path.write_text("step,started_at,time,loss\n0,2026-01-02,0.5,1\n1,2026-01-02,2.5,2\n")
    take(store, path, experiment="relative")
    (run,) = store.runs(experiment="relative")
    assert run.started_at is not None
    began = run.started_at.timestamp()
    assert store.metrics(run, "loss").times.tolist() == [began + 0.5, began + 2.5]
    empty = tmp_path / "empty.parquet"
    empty.write_bytes(b"")
    with pytest.raises(UsageError, match="cannot be read as Parquet"):
        take(store, empty)


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("epoch,lr,loss\n0,0.1,1\n1,0.1,0.5\n")
    command = [sys.executable, "-m", "runbase", "import", "--store", str(tmp_path / "c.db")]
    more = ["-e", "mnist", "--map", "epoch=step", "--map", "lr=param"]
    done = subprocess.run(
        [*command, "a.csv", *more], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "1 run of table: 1 new, 0 updated, 0 unchanged; 2 new points" in done.stdout
    for wrong in (["--map", "epoch"], ["--map", "=step"], ["metrics.loss < 1"]):
        done = subprocess.run(
            [*command, "a.csv", *wrong], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2, done.stdout


def test_runs_that_have_ended_are_not_running(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(
        "run,status,started,ended,loss\n"
        "tie,finished,2026-01-01,2026-01-01,1\n"
        "backwards,finished,2026-01-02,2026-01-01,1\n"
        "bare,,,,2\n"
        "running,running,2026-01-03,,1\n"
    )
    with runbase.open(tmp_path / "store.db") as store:
        store.import_from(str(path), "table")
        found = {
            run.name: (run.status, run.started_at and run.started_at.day) for run in store.runs()
        }
        assert found["tie"] == ("COMPLETED", 1)
        assert found["backwards"] == ("COMPLETED", 2)
        assert found["bare"][0] == "COMPLETED"
        assert found["running"] == ("RUNNING", 3)
