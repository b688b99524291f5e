"""Records that somebody else wrote: what they say reaches no other file, stops nothing, and costs no more than it is."""

import csv
import json
import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbase
from runbase.errors import NotFound
from runbase.ids import new_id
from runbase.ingest.untrusted import load_yaml
from runbase.integrations.tensorboard.tfevents import _masked


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[runbase.Store]:
    url = (
        str(tmp_path / "ours.db")
        if request.param == "sqlite"
        else request.getfixturevalue("postgres")
    )
    with runbase.open(url, home=tmp_path / "home", sync=False) as opened:
        yield opened


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text("hunter2")
    return path


@pytest.mark.parametrize(
    "uri", ["../../../secret.txt", "{}", "file://{}", "local://{}", "a::file://{}"]
)
def test_an_exported_store_points_at_no_other_file(
    store: runbase.Store, secret: Path, tmp_path: Path, uri: str
) -> None:
    run = runbase.start_run("evil", home=tmp_path / "their", capture=False)
    (tmp_path / "x.bin").write_bytes(b"x")
    run.log_artifact(tmp_path / "x.bin", name="secret.txt")
    run.finish()
    with runbase.open(home=tmp_path / "their") as theirs:
        theirs.export(tmp_path / "evil.db")
    with sqlite3.connect(tmp_path / "evil.db") as connection:
        connection.execute("update artifacts set uri = ?", [uri.format(secret)])
        connection.execute("update artifacts set sha256 = null")
        connection.execute("update runs set folder = 'runs/evil/x'")
    (tmp_path / "home" / "runs" / "evil" / "x").mkdir(parents=True)
    store.import_file(tmp_path / "evil.db")
    (artifact,) = store.artifacts(run.id)
    for call in (store.locate, store.download):
        with pytest.raises(NotFound):
            call(artifact)


def test_a_link_in_a_run_folder_is_not_followed_out(
    store: runbase.Store, secret: Path, tmp_path: Path
) -> None:
    run = runbase.start_run("mine", home=tmp_path / "home", store="none", capture=False)
    (tmp_path / "x.bin").write_bytes(b"x")
    run.log_artifact(tmp_path / "x.bin")
    run.finish()
    store.sync()
    (artifact,) = store.artifacts(run.id)
    assert store.download(artifact).read_bytes() == b"x"
    place = run.folder / "artifacts" / "x.bin"
    place.unlink()
    place.symlink_to(secret)
    with pytest.raises(NotFound):
        store.locate(artifact)


def mlruns(root: Path, **meta: Any) -> Path:
    run = root / "mlruns" / "1" / ("a" * 32)
    (run / "metrics").mkdir(parents=True)
    (run / "params").mkdir()
    (run / "artifacts").mkdir()
    (root / "mlruns" / "1" / "meta.yaml").write_text("name: theirs\nexperiment_id: '1'\n")
    told = {"run_id": "a" * 32, "status": 3, "start_time": 1_700_000_000_000, "end_time": None}
    (run / "meta.yaml").write_text(json.dumps({**told, **meta}))
    (run / "metrics" / "loss").write_text("1700000000000 0.5 0\n1700000001000 0.25 1\n")
    return run


def test_links_in_an_mlruns_folder_are_not_followed_out(
    store: runbase.Store, secret: Path, tmp_path: Path
) -> None:
    run = mlruns(tmp_path / "their")
    (run / "params" / "stolen").symlink_to(secret)
    (run / "artifacts" / "stolen").symlink_to(secret)
    (run / "artifacts" / "folder").symlink_to(secret.parent)
    (run / "artifacts" / "kept").write_text("kept")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "meta.yaml").write_text(json.dumps({"run_id": "b" * 32, "status": 3}))
    (run.parent / ("b" * 32)).symlink_to(outside)
    report = store.import_from(str(tmp_path / "their" / "mlruns"), "mlflow")
    (found,) = store.runs()
    assert found.params == {}
    (artifact,) = store.artifacts(found)
    assert store.download(artifact).read_text() == "kept"
    assert any("points outside" in problem for problem in report.problems)


@pytest.mark.parametrize(
    "meta",
    [
        {"status": [1]},
        {"status": 99},
        {"start_time": "noon"},
        {"start_time": 1e300},
        {"start_time": -(10**400)},
        {"end_time": {"a": 1}},
        {"end_time": 10**30},
        {"artifact_uri": "/etc"},
        {"artifact_uri": "\0"},
        {"run_name": ["x"]},
        {"lifecycle_stage": 5},
        {"run_id": "x" * 9000},
        {"run_id": 5},
    ],
    ids=str,
)
def test_odd_runs_of_mlflow_keep_no_others_out(
    store: runbase.Store, tmp_path: Path, meta: dict[str, Any]
) -> None:
    odd = mlruns(tmp_path / "their", **meta)
    good = odd.parent / ("c" * 32)
    (good / "metrics").mkdir(parents=True)
    (good / "meta.yaml").write_text(
        json.dumps(
            {"run_id": "c" * 32, "run_name": "good", "status": 3, "start_time": 1_700_000_000_000}
        )
    )
    (good / "metrics" / "loss").write_text("1700000000000 0.5 0\n1 nan 2\nrubbish\n1 2 3\n")
    (good / "metrics" / "acc").write_text("1700000000000 0.5 0\n")
    store.import_from(str(tmp_path / "their" / "mlruns"), "mlflow")
    for run in store.runs():
        store.run(run.id)
        assert all("/etc" not in a.uri for a in store.artifacts(run))
    store.import_from(str(tmp_path / "their" / "mlruns"), "mlflow")


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)
)


def test_yaml_bombs(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    for text in (BOMB, "a: " + "[" * 5000, "a: &a [*a]", "a: \0", "x" * (5 * 2**20)):
        path.write_text(text)
        began = time.monotonic()
        with pytest.raises(ValueError):
            load_yaml(path)
        assert time.monotonic() - began < 10
    path.write_text("base: &b {lr: 0.1}\nrun: {<<: *b, wd: 2}\n")
    assert load_yaml(path)["run"] == {"lr": 0.1, "wd": 2}
    run = mlruns(tmp_path / "their")
    (run / "meta.yaml").write_text(BOMB)
    report = store.import_from(str(tmp_path / "their" / "mlruns"), "mlflow")
    assert len(report.problems) == 1
    folder = tmp_path / "logs" / "mnist" / "version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("step,loss\n0,1.0\n")
    (folder / "hparams.yaml").write_text(BOMB)
    store.scan(tmp_path / "logs")
    assert [run.metrics["loss"].last for run in store.runs("experiment = 'mnist'")] == [1.0]


def test_tables_with_odd_rows(store: runbase.Store, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "step", "time", "loss", "note"])
        writer.writerow(["a", 0, 1_700_000_000, 0.5, "x"])
        writer.writerow(["a", 1, 1_700_000_001, 0.4, "y" * 200_000])
        writer.writerow(["a", 2, "1e400", 0.3, ""])
        writer.writerow(["a", "1e300", 1_700_000_003, 0.2, ""])
        writer.writerow(["a", 4, 1_700_000_004, 0.1, ""])
    report = store.import_from(str(path), "table")
    assert store.metrics("a", "loss").values.tolist() == [0.5, 0.1]
    assert len(report.problems) == 3
    path = tmp_path / "t.jsonl"
    deep = '{"run": "b", "x": ' + "[" * 100_000 + "]" * 100_000 + "}"
    many = '{"run": "b", "x": ' + '{"a":' * 200 + "1" + "}" * 200 + "}"
    path.write_text(f'{deep}\n{many}\n5\n{{"run": "b", "step": 1, "loss": 2}}\n')
    report = store.import_from(str(path), "table")
    assert store.metrics("b", "loss").values.tolist() == [2.0]
    assert len(report.problems) == 3


def record(when: float, step: int, value: float) -> bytes:
    """A scalar in TensorBoard's framing."""
    tag = b"loss"
    scalar = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + bytes([len(scalar)]) + scalar
    count = bytearray(b"\x10")
    number = step & (2**64 - 1)
    while number > 127:
        count.append(number & 127 | 128)
        number >>= 7
    count.append(number)
    data = (
        b"\x09" + struct.pack("<d", when) + bytes(count) + b"\x2a" + bytes([len(summary)]) + summary
    )
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", _masked(head)) + data + struct.pack("<I", _masked(data))


def test_odd_times_of_tensorboard(store: runbase.Store, tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "run"
    folder.mkdir(parents=True)
    now = time.time()
    odd = [float("nan"), 1e300, -1e300, float("inf")]
    records = [record(odd[0], 0, 1.0), *(record(now + n, n, float(n)) for n in range(5))]
    records += [record(when, 9, 1.0) for when in odd[1:]] + [record(now + 9, 9, 9.0)]
    (folder / "events.out.tfevents.1.host").write_bytes(b"".join(records))
    report = store.scan(tmp_path / "logs")
    (run,) = store.runs()
    assert store.metrics(run, "loss").values.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0, 9.0]
    assert len(report.problems) == len(store.problems(run)) == 4
    assert run.created_at.year > 2000


SIDECARS = st.dictionaries(
    st.sampled_from(
        [
            "run_id",
            "status",
            "created_at",
            "updated_at",
            "ended_at",
            "hparams",
            "tags",
            "notes",
            "summary",
            "checkpoint_path",
        ]
    ),
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=3) | st.integers(), max_size=3)
    | st.dictionaries(st.text(max_size=3), st.none() | st.floats() | st.text(), max_size=3),
    max_size=8,
)
CELLS = st.sampled_from(["", "1", "nan", "inf", "-1e999", "1e300", "x", "\0", "9" * 400, "true"])
TABLES = st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=6)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sidecar=SIDECARS, table=TABLES)
def test_any_run_folder_at_all(
    store: runbase.Store, tmp_path: Path, sidecar: dict[str, Any], table: list[list[str]]
) -> None:
    """Whatever a folder says: the scan goes on, and the good one beside it is there."""
    number = new_id()
    root = tmp_path / f"tree{number}"
    odd, good = root / "runs" / "odd", root / "runs" / "good"
    for folder in (odd, good):
        folder.mkdir(parents=True)
    (odd / "sidecar.json").write_text(json.dumps({"run_id": f"odd{number}", **sidecar}))
    lines = [",".join(row) for row in [["step", "loss", "acc"], *table]]
    (odd / "metrics.csv").write_text("\n".join(lines) + "\n")
    (good / "sidecar.json").write_text(
        json.dumps({"run_id": f"good{number}", "status": "completed"})
    )
    (good / "metrics.csv").write_text("step,loss\n0,1.0\n1,0.5\n")
    store.scan(root)
    run = store.run(f"good{number}")
    assert (run.status, run.metrics["loss"].count) == ("COMPLETED", 2)
    for one in store.runs("experiment = 'runs'", limit=3):
        store.run(one.id)
    assert store.check() == []


TABLE_CELLS = st.sampled_from(
    ["", "a", "0", "1", "-1", "1e300", "1e400", "nan", "\0", "2026-01-01", "99999-01-01", "x" * 600]
)
COLUMNS = st.lists(
    st.sampled_from(
        [
            "run",
            "step",
            "time",
            "started",
            "ended",
            "status",
            "loss",
            "params.lr",
            "tags.t",
            "notes",
        ]
    ),
    min_size=1,
    max_size=6,
    unique=True,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(columns=COLUMNS, data=st.data())
def test_any_table_at_all(
    store: runbase.Store, tmp_path: Path, columns: list[str], data: st.DataObject
) -> None:
    rows = data.draw(st.lists(st.lists(TABLE_CELLS, min_size=len(columns), max_size=len(columns))))
    number = new_id()
    path = tmp_path / f"t{number}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run", "sure", *(c for c in columns if c != "run")])
        for row in rows:
            writer.writerow([f"odd{number}", "1", *row[: len(columns) - ("run" in columns)]])
        writer.writerow([f"good{number}", "2"])
    report = store.import_from(str(path), "table")
    assert report.runs >= 1
    assert store.run(f"good{number}").metrics["sure"].last == 2.0
    assert store.check() == []
    os.unlink(path)


@pytest.mark.parametrize("crashed", [False, True])
def test_an_import_makes_no_file_beside_a_database(
    store: runbase.Store, tmp_path: Path, crashed: bool
) -> None:
    from tests.integrations.test_experiment_store_import import SCHEMA

    folder = tmp_path / "source"
    folder.mkdir()
    database = sqlite3.connect(folder / "live.db")
    database.execute("pragma journal_mode = wal")
    database.executescript(SCHEMA)
    database.execute("insert into runs (id, status) values ('r', 'running')")
    database.commit()
    if not crashed:
        database.close()
    before = {path.name: path.stat().st_size for path in folder.iterdir()}
    assert ("live.db-wal" in before) is crashed
    assert store.import_from(str(folder / "live.db"), "experiment-store").new == 1
    assert {path.name: path.stat().st_size for path in folder.iterdir()} == before
    database.close()


def test_artifacts_that_are_no_files_are_not_read(store: runbase.Store, tmp_path: Path) -> None:
    from tests.integrations.test_experiment_store_import import SCHEMA

    os.mkfifo(tmp_path / "pipe")
    database = sqlite3.connect(tmp_path / "e.db")
    database.executescript(SCHEMA)
    places = json.dumps(["/dev/zero", str(tmp_path / "pipe"), "relative"])
    database.execute(
        "insert into runs (id, status, artifacts) values ('r', 'completed', ?)", [places]
    )
    database.commit()
    database.close()
    store.import_from(str(tmp_path / "e.db"), "experiment-store")
    assert [artifact.sha256 for artifact in store.artifacts("r")] == [None] * 3
