"""The async experiment store's file, as its tables are, imported and compared."""

import json
import sqlite3
from pathlib import Path

import pytest

import runbase
from runbase.importers import import_from, importer_for
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
            ]
            + [f"2026-01-0{key[1]}T10:00:00.500000"] * 2,
        )
    ended = "2026-01-01T11:00:00"
    for key, experiment, word, end in (
        ("r1", "e1", "completed", ended),
        ("r2", "e2", "PENDING", None),
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
    database.commit()
    database.close()
    return path


def test_everything_comes_along(source: Path, tmp_path: Path) -> None:
    assert importer_for(str(source)) == "experiment-store"
    with runbase.open(tmp_path / "ours.db") as store:
        report = import_from(store, str(source), "experiment-store")
        assert (report.runs, report.new, len(report.problems)) == (2, 2, 1)
        assert [e.name for e in store.experiments(order_by="created_at")] == [
            "base",
            "base-fork",
            "base (e3)",
        ]
        base, fork = store.experiment("base"), store.experiment("base-fork")
        assert (base.base_model, base.method, base.status) == ("qwen", "lora", "running")
        assert (base.description, base.config) == ("about e1", {"lr": 0.1, "deep": {"x": [1, 2]}})
        assert (set(base.tags), base.metrics, base.checkpoint) == (
            {"a", "50%_'\""},
            {"acc": 0.5},
            "best.pt",
        )
        assert fork.parent_id == base.id
        [run] = store.runs(experiment="base")
        assert (run.name, run.status, run.source_status) == ("r1", Status.COMPLETED, "completed")
        assert (run.params, run.notes, run.seconds) == ({"lr": 0.1, "deep/x": [1, 2]}, "boom", 3600)
        assert store.metrics(run, "loss").values.tolist() == [1 / (n + 1) for n in range(20)]
        assert store.metrics(run, "loss").times[3] == 1767261603
        [waiting] = store.runs(experiment="base-fork")
        assert (waiting.status, waiting.started_at) == (Status.PENDING, None)
        assert import_from(store, str(source), "experiment-store").unchanged == 2


def test_a_store_of_ours_is_not_taken_for_one(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "ours.db") as store:
        store.create_experiment("x")
    assert importer_for(str(tmp_path / "ours.db")) is None
    assert importer_for(str(tmp_path / "nowhere.db")) is None
