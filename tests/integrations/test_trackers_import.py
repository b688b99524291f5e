"""Records of W&B (offline), Trackio and GoodSeed, made by the packages themselves, imported and compared value by value."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.ingest.imports import ImportReport
from runbase.ingest.readers import importer_for
from runbase.status import Status
from tests.patience import PATIENCE

WANDB = """
import os, sys
import numpy as np, wandb
run = wandb.init(project="mnist", name="first", notes="a note", tags=["a", "b"], group="g", job_type="train",
    config={"lr": 0.1, "opt": {"name": "sgd", "m": 0.9}, "layers": [1, 2], "flag": True, "none": None})
for step in range(3000):
    run.log({"loss": 1 / (step + 1), "nested": {"acc": step / 7}, "odd" if step % 2 else "even": step})
run.log({"nan": float("nan"), "inf": float("-inf"), "said": "hello", "list": [1, 2], "yes": True}, step=4000)
run.log({"h": wandb.Histogram([1, 2, 2, 3], num_bins=3)}, step=4001)
run.log({"img": wandb.Image(np.full((4, 5, 3), 7, dtype="uint8"))}, step=4002)
run.log({"table": wandb.Table(columns=["x", "y"], data=[[1, "a"], [2, "b"]])}, step=4003)
run.summary["best"] = 0.25
run.config.update({"later": 7})
artifact = wandb.Artifact("model", "model")
with artifact.new_file("weights.txt") as file: file.write("w")
run.log_artifact(artifact)
print(run.id)
run.finish()
"""
RESUMED = """
import sys, wandb
run = wandb.init(project="mnist", id=sys.argv[1], resume="allow")
for step in range(5000, 5010):
    run.log({"loss": 7.0}, step=step)
run.finish()
"""
BROKEN = """
import wandb
run = wandb.init(project="mnist", id="custom")
run.log({"loss": 1.0})
raise ValueError("broke")
"""
KILLED = """
import os, signal, wandb
run = wandb.init(project="mnist", id="killed")
for step in range(2000):
    run.log({"loss": step})
print("ready", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
TRACKIO = """
import numpy as np, trackio
run = trackio.init(project="digits", name="first", group="g", config={"lr": 0.1, "opt": {"name": "sgd"}})
for step in range(50):
    trackio.log({"loss": 1 / (step + 1), "acc": step})
trackio.log({"nan": float("nan"), "inf": float("inf"), "said": "hi"})
trackio.log({"img": trackio.Image(np.zeros((4, 4, 3), dtype="uint8")), "h": trackio.Histogram([1, 2, 3]),
             "t": trackio.Table(columns=["a", "b"], data=[[1, 2], [3, 4]])})
trackio.finish()
"""
TRACKIO_MORE = """
import trackio
trackio.init(project="digits", name="first", resume="must")
trackio.log({"loss": 9.0, "later": "words"}, step=60)
trackio.finish()
"""
GOODSEED = """
import datetime, goodseed
run = goodseed.Run(name="first", project="lab", storage="local", tags=["bert"])
run["learning_rate"] = 0.001
run.log_configs({"batch": 32, "word": "x", "flag": True, "when": datetime.datetime(2026, 1, 2, 3, 4, 5)})
for step in range(50):
    run.log_metrics({"train/loss": 1 / (step + 1)}, step=step)
run["said"].log("line", step=1)
run.close()
print(run.run_id if hasattr(run, "run_id") else "")
"""


def make(script: str, folder: Path, *arguments: str, code: int = 0) -> list[str]:
    """What a script prints that keeps its record in a folder."""
    folder.mkdir(exist_ok=True)
    environment = {
        "WANDB_MODE": "offline",
        "WANDB_SILENT": "true",
        "WANDB_ERROR_REPORTING": "false",
        "TRACKIO_DIR": str(folder / "trackio"),
        "GOODSEED_HOME": str(folder / "goodseed"),
        "HF_HUB_OFFLINE": "1",
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """W&B's folder with four runs, and the id of the first."""
    folder = tmp_path_factory.mktemp("wandb")
    (first,) = make(WANDB, folder, "--api-key", "hunter2")
    make(BROKEN, folder, code=1)
    make(KILLED, folder, code=-9)
    return folder, first


def counts(report: ImportReport) -> tuple[int, int, int, int]:
    return report.new, report.updated, report.unchanged, report.points


def test_wandb_value_by_value(store: runbase.Store, offline: tuple[Path, str]) -> None:
    folder, first = offline
    assert importer_for(str(folder)) == importer_for(str(folder / "wandb")) == "wandb"
    report = store.import_from(str(folder), "wandb")
    assert report.problems == []
    assert report.new == 3
    run = store.run("first")
    assert (run.experiment, run.status, run.source_status) == (
        "mnist",
        Status.COMPLETED,
        "finished",
    )
    assert run.params == {
        "lr": 0.1,
        "opt/name": "sgd",
        "opt/m": 0.9,
        "layers": [1, 2],
        "flag": True,
        "none": None,
        "later": 7,
    }
    assert run.tags == {"a": None, "b": None, "group": "g", "job_type": "train", "wandb.id": first}
    assert run.notes == "a note"
    assert run.system["hostname"]
    assert run.args["argv"][-2:] == ["--api-key", "********"]
    loss = store.metrics(run, "loss")
    assert loss.values.tolist() == [1 / (step + 1) for step in range(3000)]
    assert loss.steps.tolist() == list(range(3000))
    assert run.started_at is not None
    assert 0 <= loss.times[0] - run.started_at.timestamp() < 60
    assert store.metrics(run, "nested.acc").values.tolist() == [n / 7 for n in range(3000)]
    assert store.metrics(run, "odd").steps.tolist() == list(range(1, 3000, 2))
    assert math.isnan(store.metrics(run, "nan").values[0])
    assert store.metrics(run, "inf").values.tolist() == [-math.inf]
    assert store.metrics(run, "best").values.tolist() == [0.25]
    assert run.metrics["yes"].type == "bool"
    kept = {(r["key"], r["kind"], r["step"]) for r in store.records(run)}
    assert kept == {
        ("said", "text", 4000),
        ("list", "json", 4000),
        ("h", "histogram", 4001),
        ("img", "image", 4002),
        ("table", "table", 4003),
    }
    (histogram,) = store.records(run, "h")
    assert store.read_record(histogram)["counts"] == [1, 2, 1]
    (image,) = store.records(run, "img")
    assert np.asarray(store.read_record(image))[0, 0, 0] == 7
    (table,) = store.records(run, "table")
    assert store.read_record(table)["rows"] == [[1, "a"], [2, "b"]]
    (weights,) = [a for a in store.artifacts(run) if a.path == "model/weights.txt"]
    assert store.download(weights).read_text() == "w"
    broken = store.run("custom")
    assert (broken.status, broken.source_status, broken.exit_code) == (Status.FAILED, "failed", 1)
    assert broken.metrics["loss"].last == 1.0


def test_wandb_again_resumed_and_damaged(
    store: runbase.Store, offline: tuple[Path, str], tmp_path: Path
) -> None:
    import shutil
    import time

    folder, first = offline
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, symlinks=True)
    before = store.import_from(str(copy), "wandb")
    killed = store.run("killed")
    assert killed.status is Status.RUNNING, "until its file has been still for three minutes"
    assert killed.metrics["loss"].count > 0
    assert counts(store.import_from(str(copy), "wandb")) == (0, 0, 3, 0)
    (log,) = copy.glob("wandb/*-killed/*.wandb")
    os.utime(log, (time.time() - 400, time.time() - 400))
    make(RESUMED, copy, first)
    again = store.import_from(str(copy), "wandb")
    assert counts(again) == (0, 2, 1, 10)
    killed = store.run("killed")
    assert (killed.status, killed.source_status) == (Status.NODE_FAIL, "crashed")
    assert store.metrics("first", "loss").steps.tolist()[-10:] == list(range(5000, 5010))
    assert before.points + 10 == store.totals()["points"]

    log = min(copy.glob(f"wandb/*-{first}/*.wandb"))
    raw = bytearray(log.read_bytes())
    raw[40_000] ^= 0xFF  # in the second block
    log.write_bytes(raw)
    with runbase.open(tmp_path / "damaged.db") as other:
        report = other.import_from(str(copy), "wandb")
        assert report.new == 3
        assert len(report.problems) == 1
        assert f"{log}: damaged at byte" in report.problems[0]
        count = other.run("first").metrics["loss"].count
        assert 2000 < count < 3010
    log.write_bytes(b"nonsense")
    with runbase.open(tmp_path / "nonsense.db") as other:
        report = other.import_from(str(copy), "wandb")
        assert report.new == 3, "its second file is whole"
        assert "no run record" in report.problems[0]


def test_trackio_value_by_value(store: runbase.Store, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    make(TRACKIO, folder)
    source = str(folder / "trackio")
    assert importer_for(source) == importer_for(f"{source}/digits.db") == "trackio"
    assert counts(store.import_from(source, "trackio")) == (1, 0, 0, 102)
    run = store.run("first")
    assert (run.experiment, run.params) == ("digits", {"lr": 0.1, "opt/name": "sgd"})
    assert run.tags == {"group": "g"}
    assert len(run.id) == 32
    assert store.metrics(run, "loss").values.tolist() == [1 / (step + 1) for step in range(50)]
    assert math.isnan(store.metrics(run, "nan").values[0])
    assert store.metrics(run, "inf").values.tolist() == [math.inf]
    kept = {r["key"]: r for r in store.records(run)}
    assert store.read_record(kept["said"]) == "hi"
    assert store.read_record(kept["t"]) == {"columns": ["a", "b"], "rows": [[1, 2], [3, 4]]}
    assert sum(store.read_record(kept["h"])["counts"]) == 3
    assert store.read_record(kept["img"]).size == (4, 4)
    assert counts(store.import_from(source, "trackio")) == (0, 0, 1, 0)
    make(TRACKIO_MORE, folder)
    assert counts(store.import_from(source, "trackio")) == (0, 1, 0, 1)
    assert store.metrics(run, "loss").steps.tolist() == [*range(50), 60]
    assert [r["value"] for r in store.records(run, "later")] == ["words"]
    assert len(store.records(run, "said")) == 1, "nothing twice"


def test_goodseed_value_by_value(store: runbase.Store, tmp_path: Path) -> None:
    folder = tmp_path / "g"
    make(GOODSEED, folder)
    source = folder / "goodseed"
    assert importer_for(str(source)) == "goodseed"
    assert counts(store.import_from(str(source), "goodseed")) == (1, 0, 0, 50)
    (run,) = store.runs()
    assert (run.experiment, run.status, run.source_status) == ("lab", Status.COMPLETED, "finished")
    assert run.params["learning_rate"] == 0.001
    assert (run.params["batch"], run.params["word"], run.params["flag"]) == (32, "x", True)
    assert run.params["when"].startswith("2026-01-02T03:04:05")
    assert run.tags == {"bert": None, "name": "first"}
    values = store.metrics(run, "train/loss").values.tolist()
    assert values == [1 / (step + 1) for step in range(50)]
    assert [r["value"] for r in store.records(run, "said")] == ["line"]
    (source / "projects" / "lab" / "runs" / "odd.sqlite").write_bytes(b"SQLite format 3\0nothing")
    again = store.import_from(str(source), "goodseed")
    assert counts(again) == (0, 0, 1, 0)
    assert "odd.sqlite" in again.problems[0]


def test_the_command_says_what_it_did(offline: tuple[Path, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "runbase", "import", "--store", str(tmp_path / "c.db")]
    done = subprocess.run(
        [*command, "--json", str(offline[0])], capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert (told["system"], told["runs"], told["new"]) == ("wandb", 3, 3)


def test_an_import_that_was_stopped_goes_on(
    store: runbase.Store, offline: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped when the points were in, and what stands beside them was not."""
    from runbase.ingest import imports

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(imports._Beside, "put", stop)
    with pytest.raises(KeyboardInterrupt):
        store.import_from(str(offline[0]), "wandb")
    assert store.run("first").source_status is None
    monkeypatch.undo()
    store.import_from(str(offline[0]), "wandb")
    assert store.run("first").source_status == "finished"
    assert store.metrics("first", "loss").steps.tolist() == list(range(3000))
    assert len(store.records("first", "said")) == 1
    store.purge("first")
    assert counts(store.import_from(str(offline[0]), "wandb"))[3] == 0, "deleted for good"
    assert "first" not in {run.name for run in store.runs()}


MEDIA = """
import numpy as np, wandb
run = wandb.init(project="media", name="first")
image = np.full((4, 5, 3), 7, dtype="uint8")
run.log({"one": wandb.Image(image, caption="a cat")})
run.log({"many": [wandb.Image(image, caption="a"), wandb.Image(image + 1, caption="b")]})
run.log({"deep": {"img": wandb.Image(image)}})
run.log({"page": wandb.Html("<b>x</b>")})
open("clip.mp4", "wb").write(b"video"); open("clip.wav", "wb").write(b"RIFF")
run.log({"clip": wandb.Video("clip.mp4", format="mp4"), "sound": wandb.Audio("clip.wav", caption="beep")})
run.log({"points": wandb.Object3D(np.zeros((3, 3)))})
run.finish()
"""


def test_media_of_wandb(store: runbase.Store, tmp_path: Path) -> None:
    make(MEDIA, tmp_path / "w")
    report = store.import_from(str(tmp_path / "w"), "wandb")
    assert report.problems == []
    assert report.counts["images"] == 4
    run = store.run("first")
    assert run.metrics == {}
    records = {r["key"]: r for r in store.records(run)}
    assert {key: (r["kind"], r["step"], r["value"]) for key, r in records.items() if r["path"]} == {
        "one": ("image", 0, {"caption": "a cat"}),
        "many/0": ("image", 1, {"caption": "a"}),
        "many/1": ("image", 1, {"caption": "b"}),
        "deep.img": ("image", 2, None),
        "page": ("json", 3, records["page"]["value"]),
        "clip": ("video", 4, None),
        "sound": ("audio", 4, {"caption": "beep"}),
        "points": ("json", 5, records["points"]["value"]),
    }
    assert store.read_record(records["many/1"]).getpixel((0, 0)) == (8, 8, 8)
    assert store.read_record(records["clip"]).read_bytes() == b"video"
    assert b"<b>x</b>" in store.download(f"first/{records['page']['path']}").read_bytes()
    assert all(artifact.sha256 for artifact in store.artifacts(run))
    assert store.import_from(str(tmp_path / "w"), "wandb").unchanged == 1
