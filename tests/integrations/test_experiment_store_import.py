"""The async experiment store's file, as its tables are, imported and compared."""

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

import runbase
from runbase.ingest.readers import importer_for
from runbase.status import Status

SCHEMA = """
create table experiments (id text primary key, name text, base_model text, method text, status text,
  description text, tags json, config json, metrics json, best_checkpoint text, parent_experiment_id text,
  created_at text, updated_at text);
create table runs (id text primary key, experiment_id text, status text, config json, metrics json,
  artifacts json, error_message text, started_at text, ended_at text);
create table metrics_log (id integer primary key, run_id text, step integer, timestamp text, metrics json);
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "experiments.db"
    database = sqlite3.connect(path)
    database.executescript(SCHEMA)
    tags, config = json.dumps(["a", "50%_'\""]), json.dumps({"lr": 0.1, "deep": {"x": [1, 2]}})
    for key, name, parent in (
        ("e1", "base", None),
        ("e2", "base-fork", "e1"),
        ("e3", "base", None),
        ("e4", "orphan", "gone1234"),
    ):
        database.execute(
            "insert into experiments values (?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [
                key,
                name,
                "qwen",
                "lora",
                "running",
                f"about {key}",
                tags,
                config,
                '{"acc": 0.5}',
                "best.pt",
                parent,
                f"2026-01-0{key[1]}T10:00:00.500000",
                f"2026-02-0{key[1]}T10:00:00",
            ],
        )
    ended = "2026-01-01T11:00:00"
    for key, experiment, word, end in (
        ("r1", "e1", "completed", ended),
        ("r2", "e2", "PENDING", None),
        ("r3", "e3", "pending", None),
    ):
        database.execute(
            "insert into runs values (?,?,?,?,?,?,?,?,?)",
            [
                key,
                experiment,
                word,
                config,
                '{"best": 1}',
                '["a/b.pt"]',
                "boom",
                "2026-01-01T10:00:00",
                end,
            ],
        )
    odd = {
        "note": "warm",
        "list": [1, 2.5],
        "nested": {"a": {"b": 3}, "c": "x"},
        "flag": True,
        "none": None,
    }
    for step, values in ((0, {"loss": 2.0}), (1, odd)):
        database.execute(
            "insert into metrics_log (run_id, step, timestamp, metrics) values (?,?,?,?)",
            ["r3", step, f"2026-01-01T12:00:{step:02d}", json.dumps(values)],
        )
    for step in range(20):
        database.execute(
            "insert into metrics_log (run_id, step, timestamp, metrics) values (?,?,?,?)",
            [
                "r1",
                step,
                f"2026-01-01T10:00:{step:02d}",
                json.dumps({"loss": 1 / (step + 1), "odd": step}),
            ],
        )
    database.execute(
        "insert into metrics_log (run_id, step, timestamp, metrics) values ('r1', 99, '', 'x')"
    )
    database.execute(
        "insert into metrics_log (run_id, step, timestamp, metrics) values ('gone', 0, '', '{}')"
    )
    database.commit()
    database.close()
    return path


def test_everything_comes_along(source: Path, tmp_path: Path) -> None:
    assert importer_for(str(source)) == "experiment-store"
    with runbase.open(tmp_path / "ours.db") as store:
        report = store.import_from(str(source), "experiment-store")
        assert (report.runs, report.new, report.experiments) == (3, 3, 4)
        assert report.points == 43
        assert report.counts == {"parameters": 6, "texts": 2, "documents": 1, "files": 3}
        assert report.left_out == {"steps of runs that were deleted": 1}
        [problem] = report.problems
        assert "of run r1: 'x' is not a JSON object" in problem
        experiments = store.experiments(order_by="created_at")
        assert [e.name for e in experiments] == ["base", "base-fork", "base", "orphan"]
        assert [(e.created_at, e.updated_at) for e in experiments] == [
            (datetime(2026, 1, day, 10, 0, 0, 500_000, UTC), datetime(2026, 2, day, 10, tzinfo=UTC))
            for day in (1, 2, 3, 4)
        ]
        base, fork, newest, orphan = experiments
        assert store.experiment("base").id == newest.id
        assert [e.description for e in experiments] == [f"about e{n}" for n in (1, 2, 3, 4)]
        assert (base.base_model, base.method, base.status) == ("qwen", "lora", "running")
        assert (base.description, base.config) == ("about e1", {"lr": 0.1, "deep": {"x": [1, 2]}})
        assert (set(base.tags), base.metrics, base.checkpoint) == (
            {"a", "50%_'\""},
            {"acc": 0.5},
            "best.pt",
        )
        assert fork.parent_id == base.id
        [ancestor] = store.ancestors(orphan)
        assert (ancestor.id, ancestor.name) == ("gone1234", "gone1234")
        [run] = store.runs(experiment=base)
        assert (run.name, run.status, run.source_status) == ("r1", Status.COMPLETED, "completed")
        assert (run.params, run.notes, run.seconds) == ({"lr": 0.1, "deep/x": [1, 2]}, "boom", 3600)
        assert store.metrics(run, "loss").values.tolist() == [1 / (n + 1) for n in range(20)]
        assert store.metrics(run, "loss").times[3] == 1767261603
        [waiting] = store.runs(experiment="base-fork")
        assert (waiting.status, waiting.started_at) == (Status.PENDING, None)
        [pending] = store.runs(experiment=newest)
        assert (pending.status, pending.source_status) == (Status.PENDING, "pending")
        assert pending.started_at == datetime(2026, 1, 1, 10, tzinfo=UTC)
        assert {k: m.last for k, m in pending.metrics.items()} == {
            "loss": 2.0,
            "nested/a/b": 3.0,
            "flag": 1.0,
        }
        assert pending.metrics["flag"].type == "bool"
        records = {r["key"]: (r["kind"], r["step"], r["value"]) for r in store.records(pending)}
        assert records == {
            "note": ("text", 1, "warm"),
            "list": ("json", 1, [1, 2.5]),
            "nested/c": ("text", 1, "x"),
        }
        again = store.import_from(str(source), "experiment-store")
        assert (again.unchanged, again.experiments, again.counts) == (3, 0, {})


def test_a_store_of_ours_is_not_taken_for_one(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "ours.db") as store:
        store.create_experiment("x")
    assert importer_for(str(tmp_path / "ours.db")) is None
    assert importer_for(str(tmp_path / "nowhere.db")) is None
