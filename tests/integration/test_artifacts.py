"""Artifacts: uploaded in the background, resumed, fetched with their bytes checked, versioned, kept."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.artifacts import remote
from runbase.errors import InvalidValue, NotFound, StoreError, UsageError
from tests.conftest import close_storages
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


def objects() -> set[str]:
    import boto3

    listed = boto3.client("s3").list_objects_v2(Bucket="lab").get("Contents", [])
    return {item["Key"] for item in listed}


def file(tmp_path: Path, name: str, content: bytes = b"weights") -> Path:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_uploaded_and_fetched(bucket: str, home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    with runbase.start_run("up", home=home) as run:
        run.log_artifact(file(tmp_path, "model.pt"), kind="model")
        file(tmp_path, "data/a.bin", b"a")
        file(tmp_path, "data/deep/b.bin", b"b")
        run.log_artifact(tmp_path / "data", kind="data")
    prefix = f"runs/up/{run.id}"
    assert objects() == {
        f"{prefix}/{name}" for name in ("model.pt", "data/a.bin", "data/deep/b.bin")
    }
    assert not list((run.folder / "uploads").iterdir())
    close_storages()
    database = home / "runbase.db"
    with runbase.open(f"sqlite:///{database}", home=tmp_path / "elsewhere") as store:
        model = next(a for a in store.artifacts(run.id) if a.path == "model.pt")
        assert model.uri == f"s3://lab/{prefix}/model.pt"
        assert store.download(model).read_bytes() == b"weights"
        assert store.download(f"{run.id}/model.pt", tmp_path / "copy.pt").read_bytes() == b"weights"
        import boto3

        boto3.client("s3").put_object(Bucket="lab", Key=f"{prefix}/model.pt", Body=b"tampered")
        assert store.download(model).read_bytes() == b"weights", "the cache holds the right bytes"
        with pytest.raises(StoreError, match="another SHA-256"):
            store.download(model, tmp_path / "wrong.pt")
        assert not (tmp_path / "wrong.pt").exists()


STALLS = """
import os, sys, time, runbase
run = runbase.start_run('stalls', capture=False)
run.log_artifact(sys.argv[1])
began = time.perf_counter()
for step in range(2000): run.log({'loss': step})
print(run.id, len(list((run.folder / 'uploads').glob('*.json'))), flush=True)
if sys.argv[2] == 'hang': time.sleep(600)
"""


@pytest.mark.parametrize("end", ["hang", "end"])
def test_a_place_that_is_away_and_a_killed_upload(
    bucket: str, home: Path, tmp_path: Path, script: Script, end: str
) -> None:
    """Training goes on; killed or ended, the file is uploaded by `runbase sync`, once it can be."""
    path = file(tmp_path, "model.pt", b"x" * 100_000)
    process = script(
        STALLS,
        str(path),
        end,
        RUNBASE_ARTIFACTS=bucket,
        AWS_ENDPOINT_URL="http://127.0.0.1:9",
        RUNBASE_FINISH_TIMEOUT="0.5",
    )
    assert process.stdout is not None
    run, waiting = process.stdout.readline().split()
    assert waiting == "1"
    if end == "hang":
        process.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=PATIENCE)
    if end == "end":
        assert process.returncode == 0
        assert "run `runbase sync` to upload them" in err
    assert objects() == set()
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync"], capture_output=True, text=True, check=True
    )
    assert "1 artifact uploaded" in done.stdout
    assert objects() == {f"runs/stalls/{run}/model.pt"}
    with runbase.open(home=home) as store:
        [artifact] = store.artifacts(run)
        assert artifact.uri == f"{bucket}/stalls/{run}/model.pt"
        assert store.run(run).status.value == ("NODE_FAIL" if end == "hang" else "COMPLETED")


def test_a_folder_as_the_place(home: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("RUNBASE_ARTIFACTS", str(tmp_path / "share"))
    with runbase.start_run("up", home=home, capture=False) as run:
        run.log_artifact(file(tmp_path, "model.pt"))
    assert (tmp_path / "share" / "up" / run.id / "model.pt").read_bytes() == b"weights"
    (run.folder / "artifacts" / "model.pt").unlink()
    with runbase.open(home=home) as store:
        assert store.locate(f"{run.id}/model.pt") == str(
            tmp_path / "share" / "up" / run.id / "model.pt"
        )


def test_purge_takes_uploads_along(
    bucket: str, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    with runbase.start_run("gone", home=home, capture=False) as run:
        run.log_artifact(file(tmp_path, "model.pt"))
        run.log_image("picture", [[0, 255]], step=1)
    assert len(objects()) == 2
    with runbase.open(home=home) as store:
        copy = store.fork("gone", "kept", runs=True)
        assert store.purge("gone").uploads == []
        assert len(objects()) == 2, "the fork still refers to them"
        done = store.purge(copy)
        assert (len(done.uploads), done.left) == (2, [])
    assert objects() == set()
    assert not run.folder.exists()


def test_versions_by_name(home: Path, tmp_path: Path) -> None:
    with runbase.start_run("v", home=home, capture=False) as first:
        first.log_artifact(file(tmp_path, "data.csv", b"1"), version_of="digits", kind="data")
        first.log_artifact(file(tmp_path, "data.csv", b"2"), version_of="digits", kind="data")
        first.log_artifact(file(tmp_path, "data.csv", b"1"), version_of="digits", kind="data")
    with runbase.start_run("v", home=home, capture=False) as second:
        file(tmp_path, "many/a", b"a")
        file(tmp_path, "many/b", b"b")
        second.log_artifact(tmp_path / "many", version_of="digits")
    with runbase.start_run("v", home=home, capture=False) as user:
        assert user.use_artifact("digits:v1").read_bytes() == b"1"
        assert user.use_artifact("digits:v2").read_bytes() == b"2"
        folder = user.use_artifact("digits:latest")
        assert sorted(p.name for p in folder.iterdir()) == ["a", "b"]
        with pytest.raises(NotFound, match="newest is v3"):
            user.use_artifact("digits:v9")
        with pytest.raises(NotFound, match="did you mean 'digits'"):
            user.use_artifact("digit")
    with runbase.open(home=home) as store:
        assert [a.version for a in store.artifact_versions("digits")] == [1, 2, 3]
        assert {(u.owner_id, u.path) for u in store.uses(user.id)} == {
            (a.run_id, a.path) for a in store.artifact_versions("digits")
        }
        assert {u.run_id for u in store.uses(first.id)} == {user.id}


def test_checkpoints_best_and_last(
    bucket: str, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    run = runbase.start_run("c", home=home, capture=False)
    for step, accuracy in enumerate([0.5, 0.9, 0.7, 0.8]):
        path = file(tmp_path, "model.pt", bytes([step]))
        run.log_checkpoint(path, step=step, metrics={"val/acc": accuracy}, keep=1)
    run.finish()
    close_storages()
    run = runbase.start_run("c", home=home, resume=run.id, capture=False)
    run.log({"val/acc": 0.1}, step=9)
    run.log_checkpoint(file(tmp_path, "model.pt", b"\x09"), metrics={"val/acc": 0.1}, keep=2)
    run.finish()
    with runbase.open(home=home) as store:
        kept = {a.step: a for a in store.artifacts(run.id) if a.removed_at is None}
        assert sorted(kept) == [1, 3, 9]
        assert [step for step, a in kept.items() if a.metadata["best"]] == [1]
        assert store.best_checkpoint("c", "val/acc").step == 1
        assert store.download(store.best_checkpoint("c", "val/acc")).read_bytes() == b"\x01"
        gone = next(a for a in store.artifacts(run.id) if a.step == 0)
        with pytest.raises(NotFound, match="were removed"):
            store.locate(gone)
    assert {key.split("/")[-2] for key in objects()} == {
        "step-00000001",
        "step-00000003",
        "step-00000009",
    }
    assert len(list((run.folder / "artifacts" / "checkpoints").iterdir())) == 3


def test_less_is_better_where_the_name_says_so(home: Path, tmp_path: Path) -> None:
    with runbase.start_run("c", home=home, capture=False) as run:
        for step, loss in enumerate([0.5, 0.1, float("nan")]):
            path = file(tmp_path, "m.pt", bytes([step]))
            run.log_checkpoint(path, step=step, metrics={"val/loss": loss, "epoch": step}, monitor="val/loss", keep=1)  # fmt: skip
        with pytest.raises(UsageError, match="monitor is 'acc'"):
            run.log_checkpoint(path, monitor="acc", metrics={"loss": 1})
        with pytest.raises(UsageError, match="at least 1"):
            run.log_checkpoint(path, keep=0)
        with pytest.raises(InvalidValue, match="does not exist"):
            run.log_checkpoint(tmp_path / "none.pt")
    with runbase.open(home=home) as store:
        kept = [a for a in store.artifacts(run.id) if a.removed_at is None]
        assert [(a.step, a.metadata["best"]) for a in kept] == [(1, True), (2, False)]


def test_what_is_on_another_machine(home: Path, tmp_path: Path) -> None:
    with runbase.start_run("far", home=home, capture=False) as run:
        run.log_artifact(file(tmp_path, "model.pt"))
    close_storages()
    url = f"sqlite:///{home / 'runbase.db'}"
    with (
        runbase.open(url, home=tmp_path / "other") as store,
        pytest.raises(NotFound, match="not on this machine"),
    ):
        store.download(f"{run.id}/model.pt")


def test_training_does_not_wait_for_an_upload(
    bucket: str, home: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """While a place takes its time, `log_artifact` has returned long ago."""
    import threading

    from runbase.artifacts import remote

    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    may_go_on, began = threading.Event(), threading.Event()
    real = remote.store_file

    def slow(*arguments: Any) -> None:
        began.set()
        assert may_go_on.wait(60)
        real(*arguments)

    monkeypatch.setattr(remote, "store_file", slow)
    run = runbase.start_run("slow", home=home, capture=False)
    run.log_artifact(file(tmp_path, "model.pt"))
    assert began.wait(60)
    for step in range(1000):
        run.log({"loss": step})
    assert objects() == set()
    may_go_on.set()
    run.finish()
    assert len(objects()) == 1


@pytest.mark.parametrize("engine", ["obstore", "fsspec"])
def test_both_engines_store_in_parts_and_say_what_is_missing(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    if engine == "fsspec":
        monkeypatch.setitem(sys.modules, "obstore.store", None)  # as if it were not installed
    assert (remote.bucket_of(f"{bucket}/a") is None) == (engine == "fsspec")
    content = os.urandom(20 * 2**20)
    url = f"{bucket}/large ü #1.bin"
    remote.store_file(file(tmp_path, "large.bin", content), url)
    assert objects() == {"runs/large ü #1.bin"}
    remote.fetch(url, tmp_path / "back.bin")
    assert (tmp_path / "back.bin").read_bytes() == content
    remote.remove(url)
    remote.remove(url)
    assert objects() == set()
    with pytest.raises(StoreError, match="does not exist any more"):
        remote.fetch(url, tmp_path / "again.bin")
