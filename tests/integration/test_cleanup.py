"""Space given back, and damage made good: journals packed, files without a use removed, databases made anew."""

import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from runbase.errors import FilterError, UsageError
from runbase.journal import files, pack, read, size

Script = Callable[..., "subprocess.Popen[str]"]


def make(home: Path, count: int = 100, **more: Any) -> runbase.Run:
    run = runbase.start_run("e", home=home, capture=False, **more)
    for step in range(count):
        run.log({"x": step}, step=step)
    return run


def command(home: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "runbase", *arguments, "--home", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def age(path: Path, days: float = 3) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_packed_journals_are_read_as_before(home: Path) -> None:
    runs = [make(home) for _ in range(3)]
    for run in runs[:2]:
        run.finish()
    with runbase.open(home=home) as store:
        plan = store.gc(journals=0, dry_run=True)
        assert (plan.packed, plan.saved) == (2, 0)
        assert store.gc(journals=3600).packed == 0, "they are over for less than an hour"
        seen: list[tuple[int, int]] = []
        done = store.gc(journals=0, progress=lambda *at: seen.append(at))
        assert (done.packed, seen[-1]) == (2, (3, 3))
        assert done.saved > 1000
        assert store.gc(journals=0).packed == 0
        names = {run.id: [path.name for path in files(run.folder)] for run in runs}
        assert names[runs[0].id] == ["journal.jsonl.gz"]
        assert names[runs[2].id] == ["journal.jsonl"], "it is being written"
        assert store.sync().lines < 110
        assert store.sync().lines == 0
    runs[2].finish()
    command(home, "sync", "--rebuild")
    with runbase.open(home=home) as store:
        for run in runs:
            values = store.metrics(run.id, "x").values
            np.testing.assert_array_equal(values, np.arange(100))
            assert store.run(run.id).status.value == "COMPLETED"
        report = store.scan(home)
        assert (report.found, report.points) == (3, 0)
    again = runbase.start_run(resume=runs[0].id, home=home, capture=False)
    again.log({"x": 7.0})
    again.finish()
    assert [p.name for p in files(again.folder)] == ["journal.1.jsonl", "journal.jsonl.gz"]
    with runbase.open(home=home) as store:
        assert store.metrics(runs[0].id, "x", every=True).steps.tolist() == list(range(101))


def test_a_run_that_may_write_again_is_not_packed(home: Path, script: Script) -> None:
    """Taken for lost, on another host: its process may be there yet, and hold the file."""
    run = make(home)
    run.flush()
    with runbase.open(home=home) as store:
        store.sql("update journals set host = 'elsewhere'", write=True)
        (path,) = files(run.folder)
        text = path.read_bytes()
        with runbase.open(home=home) as other:
            other.storage.mark_lost(run.id, time.time(), "gone")
        assert store.run(run.id).ended
        assert store.gc(journals=0).packed == 0
        assert path.read_bytes() == text
    run.finish()


def test_killed_while_packing(home: Path) -> None:
    """At every moment one of the two is whole, and nothing is counted twice."""
    run = make(home, 2000)
    run.finish()
    (path,) = files(run.folder)
    whole = path.read_bytes()
    half = path.with_name(".journal.jsonl.gz.half")
    half.write_bytes(gzip.compress(whole)[:100])  # stopped while writing
    assert files(run.folder) == [path]
    packed = path.with_name("journal.jsonl.gz")
    packed.write_bytes(gzip.compress(whole))  # stopped before the plain one was removed
    assert files(run.folder) == [path]
    age(half)
    with runbase.open(home=home) as store:
        done = store.gc(files=True)
        assert {Path(name).name for name in done.files} == {half.name, packed.name}
        assert store.gc(journals=0).packed == 1
        assert store.metrics(run.id, "x").values.tolist() == list(range(2000))
    assert files(run.folder) == [packed]


def test_a_damaged_packed_journal_is_a_problem_and_no_end(home: Path) -> None:
    run = make(home, 2000)
    run.finish()
    (path,) = files(run.folder)
    pack(path)
    (packed,) = files(run.folder)
    raw = bytearray(packed.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    packed.write_bytes(raw)
    report = command(home, "sync", "--rebuild")
    assert "not as packed" in report or "damaged" in report


def test_sizes_and_pieces_of_packed_journals(home: Path) -> None:
    run = make(home, 5000)
    run.finish()
    (path,) = files(run.folder)
    text = path.read_bytes()
    cuts = [0, *sorted(random.sample(range(len(text)), 5))]
    places = [text.rfind(b"\n", 0, cut) + 1 for cut in cuts]
    expected = [read(path, place).events for place in places]
    pack(path)
    (packed,) = files(run.folder)
    assert size(packed) == len(text)
    for place, events in zip(places, expected, strict=True):
        found = read(packed, place)
        assert found.events[: len(events) - 1] == events[:-1]
        assert found.offset == len(text)


def test_files_without_a_use(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("m")
    run = make(home)
    run.log_artifact(tmp_path / "model.pt")
    run.log_image("picture", np.zeros((4, 4), dtype="uint8"))
    run.finish()
    loose = [run.folder / "artifacts" / "old.pt", run.folder / "media" / "old.png"]
    left = [home / ".clock-abc", run.folder / ".x.half"]
    young = run.folder / "artifacts" / "young.pt"
    theirs = [home / "mine.backup", run.folder / "notes.tmp"]
    for path in (*loose, *left, *theirs, young):
        path.write_text("x")
    gone = make(home)
    gone.finish()
    for path in (*loose, *left, *theirs, *run.folder.rglob("*.p*")):
        if path != young:
            age(path)
    with runbase.open(home=home) as store:
        text = "update runs set ended_at = '2020-01-01T00:00:00.000000Z'"
        store.sql(text, write=True)
        folder = gone.folder
        kept = {p.name: p.read_bytes() for p in folder.iterdir()}
        store.purge(gone.id)
        folder.mkdir()
        for name, data in kept.items():  # as where a file server refused to remove them
            (folder / name).write_bytes(data)
        plan = store.gc(files=True, dry_run=True)
        names = {str((home / name).relative_to(home)) for name in plan.files}
        assert names == {str(p.relative_to(home)) for p in (*loose, *left, folder)}
        assert plan.bytes > 4
        assert all(path.exists() for path in (*loose, *left, folder))
        assert sorted(store.gc(files=True).files) == sorted(plan.files)
        assert not any(path.exists() for path in (*loose, *left, folder))
        assert young.exists()
        assert all(path.exists() for path in theirs)
        assert len(store.artifacts(run.id)) == 2
        for artifact in store.artifacts(run.id):
            assert store.download(artifact).is_file()
        assert store.gc(files=True).files == []


def test_files_that_the_store_may_be_told_of_yet_stay(home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_text("m")
    run = make(home)
    run.finish()
    later = runbase.start_run(resume=run.id, home=home, store="none", capture=False)
    later.log_artifact(tmp_path / "model.pt")
    later.finish()  # in its journal, and not in the store
    age(run.folder / "artifacts" / "model.pt")
    with runbase.open(home=home, sync=False) as store:
        text = "update runs set ended_at = '2020-01-01T00:00:00.000000Z', status = 'COMPLETED'"
        store.sql(text, write=True)
        assert store.gc(files=True, dry_run=True).files == []
        store.sync()
        store.sql(text, write=True)
        assert store.gc(files=True, dry_run=True).files == []
        assert [artifact.path for artifact in store.artifacts(run.id)] == ["model.pt"]


def test_old_runs_by_a_filter(home: Path) -> None:
    runs = [make(home, tags=["keep"] if n == 0 else None) for n in range(3)]
    for run in runs[:2]:
        run.finish()
    with runbase.open(home=home) as store:
        plan = store.gc(where="tags.keep is null", dry_run=True)
        assert plan.runs == 1, "and not the one that goes on"
        with pytest.raises(FilterError):
            store.gc(where="nonsense ===")
        assert store.gc(where="tags.keep is null").runs == 1
        assert {run.id for run in store.runs()} == {runs[0].id, runs[2].id}
        assert not runs[1].folder.exists()
    runs[2].finish()
    out = command(home, "gc", "name = 'none'", "--yes", "--files", "--journals", "0s", "--json")
    assert json.loads(out)["packed"] == 2
    command(home, "gc", "tags.keep is null", code=2)  # it asks, and nobody is there
    command(home, "gc", "--journals", "soon", code=2)
    with runbase.open("sqlite://") as store, pytest.raises(UsageError, match="has no home"):
        store.gc(files=True)


def test_a_rebuild_takes_over_what_no_folder_holds(home: Path, tmp_path: Path) -> None:
    runs = [make(home) for _ in range(3)]
    for run in runs:
        run.finish()
    table = tmp_path / "a.csv"
    table.write_text("run,step,loss\nforeign,0,1\nforeign,1,2\n")
    command(home, "import", str(table))
    command(home, "note", runs[0].id, "a note")
    command(home, "tag", runs[0].id, "mine")
    command(home, "rm", runs[1].id)
    before = (home / "runbase.db").stat().st_ino
    plan = command(home, "sync", "--rebuild", "--dry-run")
    assert f"Would rename {home}/runbase.db" in plan
    assert "Would ingest 3 journals" in plan
    assert "Would ingest 0 journals" in command(home, "sync", "--dry-run")
    assert (home / "runbase.db").stat().st_ino == before
    out = command(home, "sync", "--rebuild")
    assert "of 4 runs, 1 of them in no folder" in out
    with runbase.open(home=home) as store:
        assert {run.name for run in store.runs()} == {runs[0].name, runs[2].name, "foreign"}
        assert (store.run(runs[0].id).notes, store.run(runs[0].id).tags) == (
            "a note",
            {"mine": None},
        )
        assert [run.id for run in store.runs(deleted=True)] == [runs[1].id]
        assert store.metrics("foreign", "loss").values.tolist() == [1.0, 2.0]
        assert store.metrics(runs[2].id, "x").values.tolist() == list(range(100))


def test_doctor_repairs(home: Path) -> None:
    run = make(home, 5000)
    run.finish()
    assert "All is well" in command(home, "doctor", "--fix")
    database = home / "runbase.db"
    with runbase.open(home=home) as store:
        store.backup(home / "flat")
    for part in home.glob("runbase.db*"):
        part.unlink()
    raw = bytearray((home / "flat").read_bytes())
    middle = len(raw) // 2 // 4096 * 4096
    raw[middle : middle + 5 * 4096] = random.Random(3).randbytes(5 * 4096)
    database.write_bytes(raw)
    (home / "flat").unlink()
    stale = home / ".clock-abc"
    stale.touch()
    age(stale)
    assert "damaged" in command(home, "doctor", code=1)
    plan = command(home, "doctor", "--fix", "--dry-run", code=1)
    assert "would rebuild sqlite:///" in plan
    assert "would remove 1 partial files" in plan
    assert database.read_bytes() == raw
    told = json.loads(command(home, "doctor", "--fix", "--json"))
    assert told["problems"] == []
    assert any("keep the old database" in text for text in told["repaired"])
    assert not stale.exists()
    command(home, "doctor")
    with runbase.open(home=home) as store:
        assert store.metrics(run.id, "x").values.tolist() == list(range(5000))
    command(home, "doctor", "--dry-run", code=2)
