"""mlos_bench's command line on runbase, unmodified, in an environment of its own: see `make test-mlos`."""

import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlos_bench.storage.base_storage import Storage
from mlos_bench.storage.storage_factory import from_config
from mlos_bench.util import datetime_parser

import runbase
import runbase.integrations.mlos.storage
from tests.patience import PATIENCE

EXAMPLE = Path(__file__).parents[3] / "examples" / "sqlite-pragmas"
OURS = "runbase.integrations.mlos.RunbaseStorage"
THEIRS = "mlos_bench.storage.sql.storage.SqlStorage"
SCRIPT = """
import csv, json, math, sys
p = json.load(open("params.json"))
if p["journal_mode"] == "TRUNCATE":
    sys.exit(3)
score = abs(p["cache_pages"] - 500) / 7 + p["mmap_mib"]
with open("results.csv", "w") as file:
    csv.writer(file).writerows([["metric", "value"], ["seconds", score], ["whole", p["mmap_mib"]], ["mode", p["journal_mode"]]])
with open("telemetry.csv", "w") as file:
    rows = [[f"2026-11-21T10:00:0{n}+00:00", "load", n * score] for n in range(3)]
    csv.writer(file).writerows([["timestamp", "metric", "value"], *rows])
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The example, with a script that measures the same every time."""
    folder = tmp_path / "tuning"
    shutil.copytree(EXAMPLE, folder)
    (folder / "measure.py").write_text(SCRIPT)
    optimizer = {
        "class": "mlos_bench.optimizers.mock_optimizer.MockOptimizer",
        "config": {"optimization_targets": {"seconds": "min"}, "max_suggestions": 6, "seed": 5},
    }
    (folder / "optimizer.jsonc").write_text(json.dumps(optimizer))
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://example.org/tuning.git"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres")
    return str(tmp_path / "runbase.db")


def name_storage(folder: Path, kind: str, config: dict[str, Any]) -> Storage:
    (folder / "storage.jsonc").write_text(json.dumps({"class": kind, "config": config}))
    return from_config(str(folder / "storage.jsonc"))


def mlos_bench(folder: Path, *arguments: str, known: bool = False) -> None:
    """The command as a user types it; `known`: with a schema of storage files that knows ours."""
    command = [str(Path(sys.executable).with_name("mlos_bench"))]
    environment = {**os.environ, "MLOS_BENCH_SKIP_SCHEMA_VALIDATION": "true"}
    if known:
        command = [sys.executable, "-m", "runbase.integrations.mlos"]
        del environment["MLOS_BENCH_SKIP_SCHEMA_VALIDATION"]
    done = subprocess.run(
        [*command, "--config", "cli.jsonc", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    # Its last word is an exception where many trials failed, or nothing was left to do.
    assert done.returncode == 0 or "Too many trials failed" in done.stderr, done.stderr


def test_frames_are_those_of_their_own_storage(folder: Path, url: str) -> None:
    path = str(folder / "theirs.db")
    expected = name_storage(folder, THEIRS, {"drivername": "sqlite", "database": path})
    mlos_bench(folder)
    found = name_storage(folder, OURS, {"store": url})
    mlos_bench(folder)
    theirs, ours = expected.experiments["sqlite-pragmas"], found.experiments["sqlite-pragmas"]
    compare(theirs.results_df, ours.results_df)
    assert len(ours.results_df) == 12
    assert set(ours.results_df["status"]) == {"SUCCEEDED", "FAILED"}
    assert ours.objectives == theirs.objectives
    assert ours.root_env_config == theirs.root_env_config
    for number, trial in theirs.trials.items():
        same = ours.trials[number]
        assert same.results_dict == trial.results_dict
        assert same.tunable_config.config_dict == trial.tunable_config.config_dict
        assert {k: str(v) for k, v in same.metadata_dict.items()} == {
            k: str(v) for k, v in trial.metadata_dict.items()
        }
        assert same.telemetry_df["value"].tolist() == trial.telemetry_df["value"].tolist()
        assert same.telemetry_df["metric"].tolist() == trial.telemetry_df["metric"].tolist()
        if trial.status.is_succeeded():
            assert len(same.telemetry_df) == 3


def compare(expected: pd.DataFrame, found: pd.DataFrame) -> None:
    """Column by column; of times, that they are such and in order."""
    assert list(found.columns) == list(expected.columns)
    for column in expected.columns:
        left, right = expected[column], found[column]
        if column.startswith("ts_"):
            assert left.dtype == right.dtype
            assert right.is_monotonic_increasing
            continue
        pd.testing.assert_series_equal(left, right, obj=column)


def test_goes_on_where_it_stopped(folder: Path, url: str) -> None:
    storage = name_storage(folder, OURS, {"store": url})
    mlos_bench(folder, "--max_suggestions", "2", known=True)
    assert list(storage.experiments["sqlite-pragmas"].trials) == [1, 2, 3, 4]
    mlos_bench(folder, "--max_suggestions", "5", known=True)
    frame = storage.experiments["sqlite-pragmas"].results_df
    assert frame["trial_id"].tolist() == list(range(1, len(frame) + 1))
    assert len(frame) > 4
    with runbase.open(url) as store:
        assert [e.status for e in store.experiments()] == ["SUCCEEDED"]
        rows = store.sql("select count(*), count(lease_until) from trials")
        assert rows == [(len(frame), 0)]


def test_the_telemetry_of_the_example_reads_on_whole_seconds(tmp_path: Path) -> None:
    ended = [datetime(2026, 11, 28, 6, 33, 49, 5, UTC), datetime(2026, 11, 28, 6, 33, 50, 0, UTC)]
    measure = runpy.run_path(str(EXAMPLE / "measure.py"))["main"]
    measure.__globals__["run"] = lambda path, params: [(when, 0.1) for when in ended]
    (tmp_path / "params.json").write_text("{}")
    results, telemetry = tmp_path / "results.csv", tmp_path / "telemetry.csv"
    measure(str(tmp_path / "params.json"), str(results), str(telemetry))
    times = datetime_parser(pd.read_csv(telemetry)["timestamp"], origin="local")
    assert times.to_list() == ended


def test_the_example_tunes_sqlite(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLE, folder)
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://example.org/x.git"],
        ["-c", "user.name=t", "-c", "user.email=t@e", "commit", "-q", "--allow-empty", "-m", "x"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    mlos_bench(folder, known=True)
    run: Callable[..., Any] = subprocess.run
    done = run([sys.executable, "report.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "journal_mode" in done.stdout
    with runbase.open(folder / "runbase.db") as store:
        experiment = store.experiment("sqlite-pragmas")
        assert len(experiment.trials()) == 16
        [best] = experiment.best_trials()
        [first] = [g for g in experiment.groups() if g.number == 1]
        assert first.metrics["seconds"].count == 2
        assert best.values["seconds"] <= first.metrics["seconds"].mean
        (batches,) = store.sql("select count(*) from telemetry where key = 'batch_seconds'")[0]
        assert batches == 16 * 20
