"""Run folders of several kinds in one tree, scanned into a store: once, live, and by several at once."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.status import Status
from tests.patience import PATIENCE

LONG_AGO = time.time() - 3600


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[runbase.Store]:
    url = str(tmp_path / "scans.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    with runbase.open(url) as opened:
        yield opened


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    folder.mkdir()
    return folder


def sidecar(folder: Path, **changes: Any) -> Path:
    """A run of stable-pretraining, as its files are."""
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        "schema_version": 1,
        "run_id": folder.name,
        "run_dir": str(folder),
        "status": "running",
        "created_at": LONG_AGO,
        "ended_at": None,
        "updated_at": time.time(),
        "tags": ["vit", "sweep:17"],
        "notes": "first try",
        "hparams": {"lr": 0.1, "model": {"name": "vit.base", "heads": 8}, "a'b": 'c"d'},
        "summary": {"loss": 0.5},
        "checkpoint_path": None,
        **changes,
    }
    partial = folder / "sidecar.json.tmp"
    partial.write_text(json.dumps(told))
    partial.replace(folder / "sidecar.json")
    (folder / "heartbeat").touch()
    return folder


def table(path: Path, rows: list[dict[str, Any]]) -> None:
    """metrics.csv, with the columns that there are so far."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = list({key: None for row in rows for key in row})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, keys)
        writer.writeheader()
        writer.writerows(rows)


def own(folder: Path, name: str, steps: int = 3, **options: Any) -> str:
    run = runbase.start_run(
        "scanned", name=name, home=folder, store="none", capture=False, **options
    )
    for step in range(steps):
        run.log({"loss": 1 / (step + 1)}, step=step)
    run.finish()
    return run.id


def test_a_mixed_tree(store: runbase.Store, tree: Path) -> None:
    own(tree / "a" / ".runbase", "ours", params={"lr": 0.5})
    spt = sidecar(tree / "cache" / "runs" / "vit" / "run-1")
    table(
        spt / "metrics.csv",
        [{"step": n, "train/loss": 1 / (n + 1), "val/acc": n if n % 2 else ""} for n in range(6)],
    )
    lightning = tree / "lightning_logs" / "version_0"
    table(
        lightning / "metrics.csv", [{"epoch": n, "loss": n / 2, "step": n * 10} for n in range(4)]
    )
    (lightning / "hparams.yaml").write_text("lr: 0.25\nlayers: [1, 2]\n")
    os.utime(lightning / "metrics.csv", (LONG_AGO, LONG_AGO))
    (tree / "broken").mkdir()
    (tree / "broken" / "sidecar.json").write_text('{"run_id": "half')
    (tree / "notes.txt").write_text("not a run")

    report = store.scan(tree)
    assert (report.found, report.new, report.invalid) == (4, 3, 1)
    assert [problem.split(": ")[0] for problem in report.problems] == [str(tree / "broken")]
    runs = {run.name: run for run in store.runs()}
    assert set(runs) == {"ours", "run-1", "lightning_logs/version_0"}
    one, other = runs["run-1"], runs["lightning_logs/version_0"]
    assert (one.experiment, one.status, one.source_status) == ("vit", Status.RUNNING, "running")
    assert one.params == {"lr": 0.1, "model/name": "vit.base", "model/heads": 8, "a'b": 'c"d'}
    assert (set(one.tags), one.notes) == ({"vit", "sweep:17"}, "first try")
    assert store.metrics(one, "train/loss").values.tolist() == [1 / (n + 1) for n in range(6)]
    assert store.metrics(one, "val/acc").steps.tolist() == [1, 3, 5]
    assert other.status is Status.COMPLETED  # its files have been still for an hour
    assert other.params == {"lr": 0.25, "layers": [1, 2]}
    assert store.metrics(other, "loss").steps.tolist() == [0, 10, 20, 30]
    assert runs["ours"].params == {"lr": 0.5}
    assert store.metrics(runs["ours"], "loss").values.tolist() == [1, 1 / 2, 1 / 3]
    assert store.scan(tree).points == 0
    again = store.scan(tree)
    assert (again.unchanged, again.new, again.updated) == (3, 0, 0)
    assert store.scan(tree, full=True).updated == 3
    assert store.sql("select count(*) from metrics") == [(3 + 6 + 3 + 8,)]


def test_what_grows_is_followed(
    store: runbase.Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spt = sidecar(tree / "runs" / "grows")
    rows: list[dict[str, Any]] = [{"step": 0, "loss": 1.0}]
    lightning = tree / "lightning_logs" / "version_3" / "metrics.csv"
    for n in range(1, 5):
        table(spt / "metrics.csv", rows)
        table(lightning, rows)
        sidecar(spt, hparams={"lr": n}, notes=f"note {n}", updated_at=time.time() + n)
        store.scan(tree)
        rows.append({"step": n, "loss": 1 / n, f"new{n}": n})  # columns are added
    with (spt / "metrics.csv").open("a") as file:
        file.write("99,0.5")  # a line that is being written
    store.scan(tree)
    [one] = store.runs("name = 'grows'")
    assert (one.params, one.notes) == ({"lr": 4}, "note 4")
    for run in store.runs():
        assert store.metrics(run, "loss").steps.tolist() == [0, 1, 2, 3]
        assert store.metrics(run, "new2").values.tolist() == [2]
    with monkeypatch.context() as patch:  # three minutes later
        patch.setattr("runbase.ingest.metric_tables.STILL", -1.0)
        store.scan(tree)
    [other] = store.runs("name = 'lightning_logs/version_3'")
    assert other.status is Status.COMPLETED
    table(lightning, rows)  # it goes on after all
    store.scan(tree)
    [other] = store.runs("name = 'lightning_logs/version_3'")
    assert (other.status, other.metrics["loss"].count) == (Status.RUNNING, 5)


def test_how_runs_end_and_die(store: runbase.Store, tree: Path) -> None:
    for name, status in (
        ("a", "completed"),
        ("b", "failed"),
        ("c", "interrupted"),
        ("d", "running"),
    ):
        sidecar(tree / "runs" / name, status=status, ended_at=LONG_AGO + 60)
    os.utime(tree / "runs" / "d" / "heartbeat", (LONG_AGO, LONG_AGO))
    report = store.scan(tree)
    assert report.lost == 1
    found = {run.name: run for run in store.runs()}
    assert {name: run.status.value for name, run in found.items()} == {
        "a": "COMPLETED",
        "b": "FAILED",
        "c": "CANCELLED",
        "d": "NODE_FAIL",
    }
    assert [found[n].source_status for n in "abcd"] == [
        "completed",
        "failed",
        "interrupted",
        "running",
    ]
    assert found["a"].seconds == pytest.approx(60, abs=1)
    (tree / "runs" / "d" / "heartbeat").touch()  # it lives after all
    store.scan(tree)
    assert store.runs("name = 'd'")[0].status is Status.RUNNING


def test_folders_that_go_and_come_back(store: runbase.Store, tree: Path) -> None:
    sidecar(tree / "runs" / "stays", status="completed")
    moving = sidecar(tree / "runs" / "moves", status="completed")
    table(moving / "metrics.csv", [{"step": 0, "loss": 1.0}])
    store.scan(tree)
    shutil.move(moving, tree.parent / "aside")
    report = store.scan(tree)
    assert (report.found, report.missing) == (1, 1)
    assert [run.name for run in store.runs("missing_at is not null")] == ["moves"]
    assert store.scan(tree).missing == 0
    (tree / "other" / "runs").mkdir(parents=True)
    shutil.move(tree.parent / "aside", tree / "other" / "runs" / "moves")  # elsewhere
    report = store.scan(tree)
    assert (report.returned, report.points) == (1, 0)
    [run] = store.runs("name = 'moves'")
    assert (run.missing_at, run.metrics["loss"].count) == (None, 1)
    assert run.folder == str(tree / "other" / "runs" / "moves")


def test_media_and_checkpoints(store: runbase.Store, tree: Path) -> None:
    folder = tree / "runs" / "media"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_bytes(b"weights")
    sidecar(folder, checkpoint_path="checkpoints/last.ckpt")
    (folder / "media").mkdir()
    (folder / "media" / "a.png").write_bytes(b"\x89PNG")
    lines = [
        {"step": 3, "key": "samples", "path": "media/a.png", "type": "image"},
        {"step": 4, "key": "evil", "path": "../../../etc/passwd"},
    ]
    (folder / "media.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"st')
    report = store.scan(tree)
    assert len(report.problems) == 1
    [run] = store.runs()
    assert [(r["key"], r["step"]) for r in store.records(run)] == [("samples", 3)]
    [artifact] = store.artifacts(run)
    assert (artifact.kind, artifact.size) == ("checkpoint", 7)
    assert store.download(artifact).read_bytes() == b"weights"


_SCAN = (
    "import runbase, sys; s = runbase.open(sys.argv[1]); r = s.scan(sys.argv[2]); print(r.points)"
)


def test_several_scanners_take_everything_once(store: runbase.Store, tree: Path) -> None:
    for n in range(40):
        own(tree / f"home{n % 4}" / ".runbase", f"ours-{n}", steps=20)
        table(
            sidecar(tree / "runs" / f"theirs-{n}") / "metrics.csv",
            [{"step": s, "loss": s} for s in range(20)],
        )
    scanners = [
        subprocess.Popen(
            [sys.executable, "-c", _SCAN, store.address, str(tree)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    told = [scanner.communicate(timeout=PATIENCE)[0] for scanner in scanners]
    assert [scanner.returncode for scanner in scanners] == [0, 0, 0]
    assert sum(map(int, told)) == 80 * 20  # each point is counted by the scanner that stored it
    assert store.sql("select count(*) from metrics") == [(80 * 20,)]
    assert store.sql("select count(distinct run_id), count(*) from latest") == [(80, 80)]
    assert store.scan(tree).unchanged == 80


_LOOP = (
    "import runbase, sys, time\n"
    "s = runbase.open(sys.argv[1])\n"
    "print('ready', flush=True)\n"
    "while not sys.stdin.readline.__self__.closed and time.time() < float(sys.argv[3]):\n"
    "    s.scan(sys.argv[2])\n"
    "    if __import__('os').path.exists(sys.argv[2] + '/stop'): break\n"
)


def rewrite(path: Path, rows: list[dict[str, Any]], pause: float) -> None:
    """As a program does that writes the whole file again: it is empty at first, then half."""
    keys = list({key: None for row in rows for key in row})
    text = ",".join(keys) + "\n"
    text += "".join(",".join(str(row.get(key, "")) for key in keys) + "\n" for row in rows)
    with path.open("w") as file:
        for start in range(0, len(text), 37):
            file.write(text[start : start + 37])
            file.flush()
            time.sleep(pause)


def test_tables_that_are_rewritten_while_scanners_read_them(
    store: runbase.Store, tree: Path
) -> None:
    spt = sidecar(tree / "runs" / "rewritten")
    lightning = tree / "lightning_logs" / "version_0"
    lightning.mkdir(parents=True)
    until = str(time.time() + PATIENCE)
    scanners = [
        subprocess.Popen(
            [sys.executable, "-c", _LOOP, store.address, str(tree), until],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for scanner in scanners:
        assert scanner.stdout is not None
        assert scanner.stdout.readline() == b"ready\n"
    rows: list[dict[str, Any]] = []
    for n in range(12):
        rows += [{"step": 5 * n + k, "loss": k / 7, f"new{n}": float(k)} for k in range(5)]
        for folder in (spt, lightning):
            rewrite(folder / "metrics.csv", rows, 0.0005)
    (tree / "stop").touch()
    assert [scanner.wait(PATIENCE) for scanner in scanners] == [0, 0, 0]
    store.scan(tree)
    assert len(store.runs()) == 2
    for run in store.runs():
        assert set(run.metrics) == {"loss", *(f"new{n}" for n in range(12))}
        series = store.storage.series(run.id, "loss", every=True)
        assert series.steps.tolist() == list(range(60))
        assert series.values.tolist() == [k / 7 for _ in range(12) for k in range(5)]
        for n in range(12):
            assert run.metrics[f"new{n}"].count == 5


@pytest.mark.parametrize("kind", ["stable-pretraining", "lightning"])
def test_what_another_scanner_stored_first_is_read_again(
    store: runbase.Store, tree: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scanner that read more, and was second, must not remember the folder as read."""
    folder = tree / "runs" / "r" if kind == "stable-pretraining" else tree / "x" / "version_0"
    if kind == "stable-pretraining":
        sidecar(folder)
    path = folder / "metrics.csv"
    rows = [{"step": n, "loss": 1.0} for n in range(3)]
    table(path, rows)
    before = path.stat()
    inner = store.storage.apply

    def apply(deliveries: Any) -> Any:
        monkeypatch.undo()
        table(path, rows[:2])  # what the other scanner has read
        with runbase.open(store.address, sync=False) as other:
            other.scan(tree)
        table(path, rows)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        return inner(deliveries)

    monkeypatch.setattr(store.storage, "apply", apply)
    store.scan(tree)
    store.scan(tree)
    [run] = store.runs()
    assert store.metrics(run, "loss").steps.tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["stable-pretraining", "lightning"])
def test_a_table_that_was_begun_again(
    store: runbase.Store, tree: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tree / "runs" / "again" if kind == "stable-pretraining" else tree / "x" / "version_0"
    if kind == "stable-pretraining":
        sidecar(folder)
    table(folder / "metrics.csv", [{"step": n, "loss": 1.0} for n in range(10)])
    store.scan(tree)
    table(folder / "metrics.csv", [{"step": n, "loss": 2.0} for n in range(12)])
    store.scan(tree)
    [run] = store.runs()
    assert store.metrics(run, "loss").values.tolist() == [2.0] * 12
    table(folder / "metrics.csv", [{"step": n, "loss": 3.0} for n in range(4)])  # fewer rows
    later = time.time() + 60
    os.utime(folder / "metrics.csv", (later, later))
    store.scan(tree)
    assert store.metrics(run, "loss").values.tolist() == [2.0] * 12  # more rows may follow at once
    if kind == "stable-pretraining":
        sidecar(folder, status="completed")
    monkeypatch.setattr(time, "time", lambda: later + 600)  # nobody writes any more
    store.scan(tree)
    assert store.metrics(run, "loss").values.tolist() == [3.0] * 4 + [2.0] * 8
    assert store.scan(tree).points == 0


def test_a_data_row_is_never_taken_for_the_header(store: runbase.Store, tree: Path) -> None:
    folder = tree / "runs" / "odd"
    sidecar(folder)
    (folder / "metrics.csv").write_text("0,0.0\n1,0.5\n2,0.25\n")
    report = store.scan(tree)
    assert "the first row of metrics.csv is not a header: 0, 0.0" in report.problems[0]
    [run] = store.runs()
    assert run.metrics == {}
    table(folder / "metrics.csv", [{"step": 0, "loss": 1.0}])
    assert store.scan(tree).points == 1


def test_a_last_line_without_an_end_counts_once_nobody_writes(
    store: runbase.Store, tree: Path
) -> None:
    for name, status in (("over", "completed"), ("runs", "running")):
        sidecar(tree / "runs" / name, status=status)
        (tree / "runs" / name / "metrics.csv").write_text("step,loss\n0,1.0\n1,0.5")
    store.scan(tree)
    assert {run.name: run.metrics["loss"].count for run in store.runs()} == {"over": 2, "runs": 1}


def test_a_sidecar_that_was_changed_by_hand(store: runbase.Store, tree: Path) -> None:
    folder = sidecar(tree / "runs" / "abc", updated_at=LONG_AGO, status="completed")
    store.scan(tree)
    [run] = store.runs()
    assert run.name == "abc"
    changes = {
        "display_name": "the best",
        "archived": True,
        "notes": "other",
        "tags": ["new"],
        "owner": {"team": "vision"},
        "updated_at": LONG_AGO,  # stable-pretraining's page leaves it as it was
        "status": "completed",
    }
    sidecar(folder, **changes)
    store.scan(tree)
    [run] = store.runs()
    assert (run.name, run.notes, set(run.tags)) == ("the best", "other", {"new", "archived"})
    for where in (
        "attributes.sidecar.display_name = 'the best'",
        "attributes.sidecar.archived",
        "attributes.sidecar.archived = true",
        "'archived' in tags",
        "attributes.sidecar.owner like '%vision%'",
    ):
        assert [found.id for found in store.runs(where)] == [run.id], where
    assert store.runs("attributes.sidecar.display_name = 'other'") == []
    assert store.run(run.id).attributes["sidecar"]["owner"] == {"team": "vision"}
    store.update_run(run, name="mine")  # what people changed here stays
    store.tag(run, "kept")
    sidecar(folder, **{**changes, "archived": False})
    store.scan(tree)
    [run] = store.runs()
    assert (run.name, set(run.tags)) == ("mine", {"new", "kept"})
    assert store.runs("attributes.sidecar.archived") == []
    store.purge(run)
    sidecar(folder, **changes)
    assert store.scan(tree).problems == []
    assert store.runs() == []


def test_a_run_that_is_resumed_runs_again(store: runbase.Store, tree: Path) -> None:
    folder = sidecar(tree / "runs" / "abc", status="interrupted", ended_at=LONG_AGO + 60)
    store.scan(tree)
    assert store.runs()[0].status is Status.CANCELLED
    for n in range(3):
        sidecar(folder, status="running", hparams={"n": n})
        store.scan(tree)
        [run] = store.runs()
        assert (run.status, run.params["n"]) == (Status.RUNNING, n)
    # The clock of the machine that it ended on was behind.
    sidecar(folder, status="completed", created_at=LONG_AGO, ended_at=LONG_AGO - 3600)
    store.scan(tree)
    [run] = store.runs()
    assert (run.status, run.alive) == (Status.COMPLETED, False)
    states = [change.status.value for change in store.run(run.id).history]
    assert states == ["RUNNING", "CANCELLED", "RUNNING", "COMPLETED"]


def test_unchanged_folders_are_not_listed(
    store: runbase.Store, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        folder = sidecar(tree / "runs" / f"r{n}", status="completed")
        table(folder / "metrics.csv", [{"step": 0, "loss": 1.0}])
        for path in (*folder.iterdir(), folder):
            os.utime(path, (LONG_AGO, LONG_AGO))
    store.scan(tree)
    listed: list[str] = []
    inner = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: [listed.append(str(path)), inner(path)][1])
    assert store.scan(tree).unchanged == 5
    assert listed == [str(tree), str(tree / "runs")]
    (tree / "runs" / "r3" / "media.jsonl").write_text("")  # a file that was not there
    with (tree / "runs" / "r4" / "metrics.csv").open("a") as file:
        file.write("1,0.5\n")
    report = store.scan(tree)
    assert (report.unchanged, report.updated, report.points) == (3, 2, 1)
    shutil.rmtree(tree / "runs" / "r0")
    assert store.scan(tree).missing == 1


def test_the_command(tree: Path, tmp_path: Path) -> None:
    own(tree / ".runbase", "ours")
    (tree / "runs" / "bad").mkdir(parents=True)
    (tree / "runs" / "bad" / "sidecar.json").write_text("[]")
    command = [sys.executable, "-m", "runbase", "scan", "--store", str(tmp_path / "c.db")]
    done = subprocess.run([*command, str(tree)], capture_output=True, text=True, check=True)
    assert "2 run folders (1 new, 1 unreadable), 3 points" in done.stdout
    assert "bad: sidecar.json names no run" in done.stdout
    done = subprocess.run(
        [*command, "--json", str(tree)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["unchanged"] == 1
    done = subprocess.run([*command, "nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is not a folder" in done.stderr
