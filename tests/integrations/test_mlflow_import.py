"""MLflow's record, made by MLflow itself, imported and compared value by value."""

import json
import math
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import runbase
from runbase.errors import StoreUnavailable, UsageError
from runbase.ingest.foreign import typed
from runbase.ingest.readers import importer_for
from runbase.status import Status
from tests.patience import PATIENCE

SCRIPT = """
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
mlflow.set_experiment("digits")
with mlflow.start_run(run_name="first") as run:
    print(run.info.run_id)
    mlflow.log_params({"lr": 0.1, "opt": "adam", "deep/er": 3, "zip": "007", "flag": True, "none": None})
    mlflow.log_metrics({"loss": 1.0, "a/b": 2.0}, step=0)
    for step in range(1, 50):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metric("nan", float("nan"))
    mlflow.log_metric("inf", float("-inf"))
    mlflow.set_tag("team", "50%_'\\"")
    mlflow.set_tag("mlflow.note.content", "a note")
    mlflow.log_dict({"a": 1}, "conf/x.json")
    with mlflow.start_run(run_name="child", nested=True) as child:
        print(child.info.run_id)
        mlflow.log_metric("loss", 0.5)
try:
    with mlflow.start_run(run_name="broken") as run:
        print(run.info.run_id)
        raise ValueError
except ValueError:
    pass
client = mlflow.MlflowClient()
print(client.create_run(client.get_experiment_by_name("digits").experiment_id, run_name="open").info.run_id)
gone = client.create_run("0", run_name="gone").info.run_id
client.delete_run(gone)
print(gone)
"""
MORE = """
import mlflow, sys
mlflow.set_tracking_uri(sys.argv[1])
with mlflow.start_run(run_id=sys.argv[2]):
    for step in range(50, 60):
        mlflow.log_metric("loss", 1 / (step + 1), step=step)
    mlflow.log_metric("new", 1.0)
    mlflow.set_tag("team", "other")
"""


def mlflow(script: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"},
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both kinds of record, made once."""
    found: dict[str, Any] = {}
    for kind in ("folder", "database"):
        folder = tmp_path_factory.mktemp(kind)
        source = folder / ("mlruns" if kind == "folder" else "mlflow.db")
        uri = source.as_uri() if kind == "folder" else f"sqlite:///{source}"
        here = Path.cwd()
        os.chdir(folder)
        try:
            found[kind] = (source, uri, mlflow(SCRIPT, uri))
        finally:
            os.chdir(here)
    return found


@pytest.fixture(scope="module")
def grown(made: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of both, to which MLflow has added points and a tag."""
    found: dict[str, Path] = {}
    for kind, (path, _, ids) in made.items():
        copy = tmp_path_factory.mktemp(f"grown-{kind}") / path.name
        (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
        mlflow(MORE, copy.as_uri() if path.is_dir() else f"sqlite:///{copy}", ids[0])
        found[path.name] = copy
    return found


@pytest.fixture(params=["folder", "database"])
def source(
    request: pytest.FixtureRequest, made: dict[str, Any], tmp_path: Path
) -> tuple[str, str, list[str]]:
    """A copy of one of them: its place, MLflow's name for it, and the runs' ids."""
    path, _, ids = made[request.param]
    copy = tmp_path / path.name
    (shutil.copytree if path.is_dir() else shutil.copy)(path, copy)
    return str(copy), copy.as_uri() if path.is_dir() else f"sqlite:///{copy}", ids


@contextmanager
def server(uri: str, folder: Path) -> Iterator[str]:
    """MLflow's own server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--backend-store-uri", uri, "--artifacts-destination", str(folder)],
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urlopen(f"{address}/health").close()
                break
            except OSError:
                assert process.poll() is None, (folder / "server.log").read_text()
                time.sleep(0.1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_value_by_value(store: runbase.Store, source: tuple[str, str, list[str]]) -> None:
    path, uri, ids = source
    assert importer_for(path) == importer_for(uri) == "mlflow"
    report = store.import_from(path, "mlflow")
    assert (report.runs, report.new, report.problems) == (5, 5, [])
    check(store, ids)


def check(store: runbase.Store, ids: list[str]) -> None:
    """Everything is as it was logged."""
    first, child, broken, waits, gone = ids
    run = store.run(first)
    assert (run.id, run.name, run.experiment) == (first, "first", "digits")
    assert (run.status, run.source_status) == (Status.COMPLETED, "FINISHED")
    assert run.params == {
        "lr": 0.1,
        "opt": "adam",
        "deep/er": 3,
        "zip": "007",
        "flag": True,
        "none": None,
    }
    assert (run.tags["team"], run.notes) == ("50%_'\"", "a note")
    assert not any(key in run.tags for key in ("mlflow.user", "mlflow.runName"))
    assert run.user
    assert run.seconds is not None
    assert abs(run.started_at.timestamp() - time.time()) < 600  # type: ignore[union-attr]
    loss = store.metrics(run, "loss")
    assert loss.values.tolist() == [1 / (n + 1) for n in range(50)]
    assert loss.steps.tolist() == list(range(50))
    assert abs(loss.times[0] - run.started_at.timestamp()) < 60  # type: ignore[union-attr]
    assert store.metrics(run, "a/b").values.tolist() == [2]
    assert math.isnan(store.metrics(run, "nan").values[0])
    assert store.metrics(run, "inf").values.tolist() == [-math.inf]
    assert store.run(child).parent_id == first
    assert store.run(broken).status is Status.FAILED
    assert (store.run(waits).status, store.run(waits).ended_at) == (Status.RUNNING, None)
    assert [each.id for each in store.runs(deleted=True)] == [gone]
    assert gone not in {each.id for each in store.runs()}


def test_a_running_server(made: dict[str, Any], tmp_path: Path) -> None:
    path, _, ids = made["database"]
    copy = Path(shutil.copy(path, tmp_path / "mlflow.db"))
    with server(f"sqlite:///{copy}", tmp_path) as address, runbase.open(tmp_path / "c.db") as store:
        assert importer_for(address) == "mlflow"
        report = store.import_from(address, "mlflow")
        assert (report.runs, report.new, report.problems) == (5, 5, [])
        check(store, ids)
        again = store.import_from(address, "mlflow")
        assert (again.unchanged, again.points) == (5, 0)
        mlflow(MORE, address, ids[0])
        more = store.import_from(address, "mlflow")
        assert (more.new, more.updated, more.unchanged, more.points) == (0, 1, 4, 11)
        assert store.metrics(ids[0], "loss").values.tolist() == [1 / (n + 1) for n in range(60)]
        assert store.run(ids[0]).tags["team"] == "other"
        wrong = f"{address}/nothing"
        with pytest.raises(UsageError, match="does not answer as a server"):
            importer_for(wrong)
        with pytest.raises(StoreUnavailable, match="404"):
            store.import_from(wrong, "mlflow")


def test_artifacts_are_found_where_they_are(
    store: runbase.Store, source: tuple[str, str, list[str]]
) -> None:
    path, _, (first, *_) = source
    store.import_from(str(path), "mlflow")
    [artifact] = store.artifacts(first)
    assert artifact.path == "conf/x.json"
    assert json.loads(store.download(artifact).read_text()) == {"a": 1}


def test_again_brings_what_is_new(
    store: runbase.Store, source: tuple[str, str, list[str]], grown: dict[str, Path]
) -> None:
    path, _, (first, *_) = source
    store.import_from(path, "mlflow")
    store.add_to_run(first, tags=["mine"])
    again = store.import_from(str(path), "mlflow")
    assert (again.new, again.updated, again.unchanged, again.points) == (0, 0, 5, 0)
    newer = grown[Path(path).name]
    if newer.is_dir():
        shutil.copytree(newer, path, dirs_exist_ok=True)
    else:
        shutil.copy(newer, path)
    more = store.import_from(str(path), "mlflow")
    assert (more.new, more.updated, more.unchanged, more.points) == (0, 1, 4, 11)
    run = store.run(first)
    assert store.metrics(run, "loss").values.tolist() == [1 / (n + 1) for n in range(60)]
    assert run.tags["team"] == "other"
    assert "mine" in run.tags
    assert store.import_from(str(path), "mlflow").points == 0


def test_damage_is_listed_and_the_rest_comes(
    store: runbase.Store, made: dict[str, Any], tmp_path: Path
) -> None:
    path, _, (first, child, broken, *_) = made["folder"]
    copy = tmp_path / "mlruns"
    shutil.copytree(path, copy)
    [one] = copy.glob(f"*/{broken}/meta.yaml")
    one.write_text("")  # an interrupted write
    [two] = copy.glob(f"*/{child}/metrics/loss")
    two.write_text("12 not-a-number 3\n")
    report = store.import_from(str(copy), "mlflow")
    assert report.new == 3
    assert len(report.problems) == 2
    assert {broken in text or child in text for text in report.problems} == {True}
    assert store.run(first).metrics["loss"].count == 50


def test_the_command(source: tuple[str, str, list[str]], tmp_path: Path) -> None:
    path, *_ = source
    command = [sys.executable, "-m", "runbase", "import", "--store", str(tmp_path / "c.db")]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    assert "5 runs of mlflow: 5 new" in done.stdout
    done = subprocess.run(
        [*command, "--json", str(path)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["unchanged"] == 5
    for wrong in (["--from", "nothing", str(path)], [str(path), "metrics.loss < 1"]):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2, done.stdout


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 0.1),
        ("1e-05", 1e-5),
        ("3", 3),
        ("-3", -3),
        ("007", "007"),
        ("1_000", "1_000"),
        ("True", True),
        ("None", None),
        ("inf", math.inf),
        ("infinite", "infinite"),
        ("", ""),
        ("1.", 1.0),
    ],
)
def test_parameters_become_what_they_were(text: str, value: Any) -> None:
    assert (typed(text), type(typed(text))) == (value, type(value))


def test_a_damaged_database_gives_what_is_sound(
    store: runbase.Store, made: dict[str, Any], tmp_path: Path
) -> None:
    path, _, ids = made["database"]
    copy = Path(shutil.copy(path, tmp_path / "mlflow.db"))
    with closing(sqlite3.connect(copy)) as db:
        size = db.execute("pragma page_size").fetchone()[0]
        pages = db.execute("pragma page_count").fetchone()[0]
        columns = "name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, source_version, lifecycle_stage, artifact_uri, experiment_id"
        db.execute(
            f"insert into runs (run_uuid, {columns}) select ?, {columns} from runs where run_uuid = ?",
            ("f" * 32, ids[0]),
        )
        rows = [("long", step / 7, step, step, False, "f" * 32) for step in range(20_000)]
        db.executemany(
            "insert into metrics (key, value, timestamp, step, is_nan, run_uuid) values (?, ?, ?, ?, ?, ?)",
            rows,
        )
        db.commit()
    raw = bytearray(copy.read_bytes())
    for page in range(pages + 40, pages + 60):
        raw[page * size : (page + 1) * size] = b"\x99" * size
    copy.write_bytes(raw)
    report = store.import_from(str(copy), "mlflow")
    assert report.new == 5
    assert len(report.problems) == 1
    assert "f" * 32 in report.problems[0]
    check(store, ids)


EXTRAS = """
import mlflow, numpy, pandas, sys
mlflow.set_tracking_uri(sys.argv[1])
experiment = mlflow.create_experiment("pictures", artifact_location=sys.argv[2])
mlflow.set_experiment("pictures")
mlflow.set_experiment_tag("team", "vision")
mlflow.set_experiment_tag("mlflow.note.content", "what it is about")
with mlflow.start_run(run_name="first") as run:
    mlflow.log_table({"a": [1, 2], "b": ["x", "y"]}, "table.json")
    mlflow.log_image(numpy.full((4, 4, 3), 9, dtype="uint8"), key="val/img", step=3)
    frame = pandas.DataFrame({"x": [1]})
    mlflow.log_input(mlflow.data.from_pandas(frame, name="numbers"), context="training")
"""


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of a folder and of a database with images and tables, and of a server of the database."""
    folder = tmp_path_factory.mktemp("pictured")
    found = {"folder": str(folder / "mlruns"), "database": f"sqlite:///{folder / 'm.db'}"}
    for kind, source in found.items():
        mlflow(EXTRAS, source, str(folder / f"artifacts-{kind}"))
    with server(found["database"], folder) as address:
        yield {**found, "server": address}


@pytest.mark.parametrize("kind", ["folder", "database", "server"])
def test_images_tables_datasets_and_experiments(
    kind: str, store: runbase.Store, pictured: dict[str, str]
) -> None:
    address = pictured[kind]
    system = importer_for(address)
    assert system is not None
    report = store.import_from(address, system)
    again = store.import_from(address, system)
    assert report.problems == []
    assert (again.unchanged, again.counts) == (1, {})
    experiment = store.experiment("pictures")
    assert (experiment.tags, experiment.description) == ({"team": "vision"}, "what it is about")
    assert abs(experiment.created_at.timestamp() - time.time()) < PATIENCE
    [run] = store.runs(experiment="pictures")
    assert not [tag for tag in run.tags if tag.startswith("mlflow.logged")]
    kept = store.storage.attributes("run", [run.id], "mlflow")[run.id]
    assert json.loads(kept["loggedArtifacts"]) == [{"path": "table.json", "type": "table"}]
    [dataset] = kept["datasets"]
    assert (dataset["name"], dataset["context"]) == ("numbers", "training")
    records = {r["key"]: r for r in store.records(run)}
    assert (records["val/img"]["kind"], records["val/img"]["step"]) == ("image", 3)
    assert store.read_record(records["val/img"]).size == (4, 4)
    assert records["table.json"]["value"] == {
        "columns": ["a", "b"],
        "rows": [[1, "x"], [2, "y"]],
    }
    assert all(artifact.sha256 for artifact in store.artifacts(run))
