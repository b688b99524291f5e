"""A source that grows in any order, imported at any moments, is in the end the same as one import of all of it."""

import json
import math
import shutil
import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbase
from runbase.ingest.readers import importer_for
from tests.integrations.test_mlflow_import import mlflow
from tests.integrations.test_sqltrack_import import source
from tests.integrations.test_trackers_import import make

__all__ = ["source"]

START = 1_790_000_000
FIGURES = [0.0, 1.0, -2.5, 1e300, math.inf, math.nan]

Point = tuple[str, int, int, float]
"""(metric, step, seconds after the start, value)"""
Source = Callable[[Path, list[Point]], str]
"""Puts points into the record at a place, which it makes first; what to import."""

points = st.tuples(
    st.sampled_from(["loss", "val/acc"]),
    st.integers(0, 6),
    st.integers(0, 3),
    st.sampled_from(FIGURES),
)
growth = st.lists(points, min_size=1, max_size=14, unique=True)
moments = st.lists(st.integers(0, 14), max_size=4)
slow = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def check(source: Source, grown: list[Point], cuts: list[int], *, has_times: bool = True) -> None:
    """Import at each of the moments and at the end, and once into a fresh store."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        with (
            runbase.open(folder / "often.db") as often,
            runbase.open(folder / "once.db") as once,
        ):
            done = 0
            for cut in [*sorted(cut for cut in cuts if cut < len(grown)), len(grown)]:
                place = source(folder / "record", grown[done:cut])
                done = cut
                report = often.import_from(place, system_of(place))
                assert report.problems == []
            once.import_from(place, system_of(place))
            assert figures(often, has_times) == figures(once, has_times)
            again = often.import_from(place, system_of(place))
            assert (again.points, again.counts) == (0, {})
            assert again.unchanged == again.runs


def system_of(place: str) -> str:
    found = importer_for(place)
    assert found is not None
    return found


def figures(store: runbase.Store, has_times: bool = True) -> Any:
    """Every point, and what is known of each metric."""
    found: list[Any] = []
    for run in sorted(store.runs(), key=lambda run: run.id):
        for key, metric in sorted(run.metrics.items()):
            series = store.storage.series(run.id, key, every=True)
            times = series.times.tolist() if has_times else [0.0] * len(series)
            rows = zip(series.steps.tolist(), times, series.values.tolist(), strict=True)
            kept = (metric.count, metric.nans, metric.min, metric.max, metric.last_step)
            found.append((run.name, key, sorted(map(repr, rows)), repr(kept)))
        records = sorted(repr((r["key"], r["step"], r["value"])) for r in store.records(run))
        found.append((run.name, run.status, run.params, records))
    return found


# The sources. Empty records are made by the real packages; rows are added as these packages would.


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("templates")
    make(
        'import trackio; trackio.init(project="p", name="first"); trackio.log({"x": 1}); trackio.finish()',
        folder,
    )
    make(
        'import goodseed; run = goodseed.Run(name="first", project="lab", storage="local"); '
        'run.log_metrics({"loss": 1.0}, step=0); run.close()',
        folder,
    )
    script = (
        "import mlflow, sys; mlflow.set_tracking_uri(sys.argv[1]); "
        "run = mlflow.MlflowClient().create_run('0'); print(run.info.run_id)"
    )
    mlflow(script, f"sqlite:///{folder / 'mlflow.db'}")
    mlflow(script, str(folder / "mlruns"))
    return folder


def grow(path: Path, template: Path, rows: Callable[[sqlite3.Connection], None]) -> str:
    """A copy of a database, with more rows."""
    path.mkdir(exist_ok=True)
    copy = path / template.name
    if not copy.exists():
        shutil.copy(template, copy)
    with closing(sqlite3.connect(copy)) as database:
        rows(database)
        database.commit()
    return str(copy)


@slow
@given(growth, moments)
def test_trackio(templates: Path, grown: list[Point], cuts: list[int]) -> None:
    def source(path: Path, more: list[Point]) -> str:
        def rows(database: sqlite3.Connection) -> None:
            run, name = database.execute("select run_id, run_name from metrics").fetchone()
            for key, step, after, value in more:
                words = {math.inf: "Infinity"}.get(value, "NaN" if value != value else value)
                when = datetime.fromtimestamp(START + after, UTC).isoformat()
                database.execute(
                    "insert into metrics (run_id, timestamp, run_name, step, metrics) values (?,?,?,?,?)",
                    [run, when, name, step, json.dumps({key: words, "said": f"{key} {value}"})],
                )

        return grow(path, templates / "trackio" / "p.db", rows)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_goodseed(templates: Path, grown: list[Point], cuts: list[int]) -> None:
    [template] = (templates / "goodseed").rglob("*.sqlite")

    def source(path: Path, more: list[Point]) -> str:
        def rows(database: sqlite3.Connection) -> None:
            for key, step, after, value in more:
                if value != value:  # its columns take no NaN
                    continue
                database.execute("insert or ignore into metric_series (path) values (?)", [key])
                database.execute(
                    "insert or ignore into metric_points (series_id, step, y, ts) "
                    "select id, ?, ?, ? from metric_series where path = ?",
                    [step, value, START + after, key],
                )

        return grow(path, template, rows)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_mlflow_database(templates: Path, grown: list[Point], cuts: list[int]) -> None:
    def source(path: Path, more: list[Point]) -> str:
        def rows(database: sqlite3.Connection) -> None:
            [(run,)] = database.execute("select run_uuid from runs").fetchall()
            for key, step, after, value in more:
                figure = 0.0 if value != value else min(value, 1.7976931348623157e308)
                database.execute(
                    "insert or ignore into metrics (key, value, timestamp, step, is_nan, run_uuid) "
                    "values (?,?,?,?,?,?)",
                    [key, figure, (START + after) * 1000, step, value != value, run],
                )

        return grow(path, templates / "mlflow.db", rows)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_mlflow_folder(templates: Path, grown: list[Point], cuts: list[int]) -> None:
    def source(path: Path, more: list[Point]) -> str:
        if not path.exists():
            shutil.copytree(templates / "mlruns", path)
        [run] = [meta.parent for meta in path.glob("*/*/meta.yaml")]
        for key, step, after, value in more:
            file = run / "metrics" / key
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as lines:
                lines.write(f"{(START + after) * 1000} {value!r} {step}\n")
        return str(path)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_experiment_store(grown: list[Point], cuts: list[int]) -> None:
    from tests.integrations.test_experiment_store_import import SCHEMA

    def source(path: Path, more: list[Point]) -> str:
        path.mkdir(exist_ok=True)
        file = path / "experiments.db"
        fresh = not file.exists()
        with closing(sqlite3.connect(file)) as database:
            if fresh:
                database.executescript(SCHEMA)
                database.execute("insert into runs (id, status) values ('r', 'running')")
            for key, step, after, value in more:
                when = datetime.fromtimestamp(START + after, UTC).replace(tzinfo=None).isoformat()
                database.execute(
                    "insert into metrics_log (run_id, step, timestamp, metrics) values ('r', ?, ?, ?)",
                    [step, when, json.dumps({key: value, "note": f"{key} {value}"})],
                )
            database.commit()
        return str(file)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_table(grown: list[Point], cuts: list[int]) -> None:
    def source(path: Path, more: list[Point]) -> str:
        path.mkdir(exist_ok=True)
        file = path / "log.csv"
        if not file.exists():
            file.write_text("run,metric,step,time,value\n")
        rows = {tuple(line.split(",")[:3]): line for line in file.read_text().splitlines()[1:]}
        for key, step, after, value in more:  # a table has one value of a metric at a step
            rows.setdefault(("r", key, str(step)), f"r,{key},{step},{START + after},{value!r}")
        file.write_text("run,metric,step,time,value\n" + "".join(f"{r}\n" for r in rows.values()))
        return str(file)

    check(source, grown, cuts)


@slow
@given(growth, moments)
def test_sqltrack(source: str, grown: list[Point], cuts: list[int]) -> None:
    base, _, schema = source.partition("&schema=")

    def grows(path: Path, more: list[Point]) -> str:
        del path
        with psycopg.connect(base) as db:
            db.execute(f'set search_path to "{schema}"'.encode())
            for key, step, after, value in more:
                column = b"loss" if key == "loss" else b"exact"
                if column == b"exact" and not abs(value) < 1e5:
                    continue
                db.execute(
                    b"insert into metrics (run_id, step, progress, %s) values (1, %%s, %%s, %%s) "
                    b"on conflict (run_id, step, progress) do nothing" % column,
                    [100 + step, after / 4, value],
                )
            db.execute("update runs set time_updated = now() where id = 1")
        return source

    check(grows, grown, cuts, has_times=False)


WANDB = """
import wandb
run = wandb.init(project="mnist", name="first", config={"lr": 0.1})
for step in range(200):
    run.log({"loss": 1 / (step + 1), "said": f"word {step}", "table": wandb.Table(columns=["x"], data=[[step]])}
        if step % 50 == 0 else {"loss": 1 / (step + 1)})
run.finish()
"""


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wandb")
    make(WANDB, folder)
    return folder


@slow
@given(st.lists(st.floats(0, 1), max_size=5))
def test_wandb(offline: Path, cuts: list[float]) -> None:
    """A file that is read while it is written: up to any byte."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path) / "wandb"
        shutil.copytree(offline / "wandb", folder, symlinks=True)
        [file] = folder.glob("offline-run-*/*.wandb")
        whole = file.read_bytes()
        with (
            runbase.open(Path(path) / "often.db") as often,
            runbase.open(Path(path) / "once.db") as once,
        ):
            for cut in sorted(cuts):
                file.write_bytes(whole[: int(cut * len(whole))])
                if system := importer_for(str(folder)):
                    often.import_from(str(folder), system)
            file.write_bytes(whole)
            for store in (often, once):
                assert store.import_from(str(folder), "wandb").problems == []
            assert figures(often) == figures(once)
            assert often.import_from(str(folder), "wandb").unchanged == 1
