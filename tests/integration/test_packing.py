"""Journals of runs that ended days ago are packed by themselves, and read as before."""

import gzip
import os
import time
from pathlib import Path

import pytest

import runbase
from runbase.ingest import packing

DAYS = 8 * 86400


@pytest.fixture(autouse=True)
def again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packing is on, and starts again with each open."""
    monkeypatch.setenv("RUNBASE_PACK_AFTER", "7")
    monkeypatch.setattr(packing, "_packed", set())


def train(home: Path, count: int, age: float = DAYS) -> None:
    """Runs that ended some time ago."""
    for number in range(count):
        run = runbase.start_run("old", name=f"r{number}", home=home, capture=False)
        for step in range(100):
            run.log({"loss": 1 / (step + 1)}, step=step)
        run.finish()
        past = time.time() - age
        with runbase.open(home=home, sync=False) as store:
            store.update_run(run.id, ended_at=past, started_at=past - 10)
        for path in (*run.folder.iterdir(), run.folder):
            os.utime(path, (past, past))


def open_and_wait(home: Path) -> None:
    packing._packed.clear()
    with runbase.open(home=home):
        pass
    for thread in packing.threading.enumerate():
        if thread.name == "runbase-pack":
            thread.join(60)
            assert not thread.is_alive()


def names(home: Path) -> set[str]:
    return {path.name for path in home.glob("runs/*/*/*journal*")}


@pytest.mark.parametrize("count", [3, 30])
def test_old_journals_are_packed(home: Path, count: int) -> None:
    train(home, count)
    with runbase.open(home=home) as store:
        before = {run.name: store.metrics(run, "loss").values.tolist() for run in store.runs()}
    open_and_wait(home)
    assert names(home) == {"journal.jsonl.gz"}
    (home / "runbase.db").unlink()
    with runbase.open(home=home) as store:
        after = {run.name: store.metrics(run, "loss").values.tolist() for run in store.runs()}
    assert after == before
    assert len(after) == count


def test_recent_journals_stay_plain(home: Path) -> None:
    train(home, 2, age=3600)
    open_and_wait(home)
    assert names(home) == {"journal.jsonl"}


def test_packing_can_be_turned_off(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_PACK_AFTER", "0")
    train(home, 2)
    open_and_wait(home)
    assert names(home) == {"journal.jsonl"}
    monkeypatch.setenv("RUNBASE_PACK_AFTER", "soon")
    with pytest.raises(runbase.UsageError, match="pack_after is 'soon'"):
        runbase.open(home=home)


def test_a_folder_is_packed_once(home: Path) -> None:
    """A home of many runs does not look at packed folders again."""
    train(home, 25)
    open_and_wait(home)
    for path in home.glob("runs/*/*"):
        os.utime(path, (time.time() - DAYS, time.time() - DAYS))
    open_and_wait(home)
    with runbase.open(home=home, sync=False) as store:
        assert store.sql("select packed, count(*) from synced_folders group by 1") == [(1, 25)]
        assert store.storage.plain_folders(time.time(), 10) == []


def test_two_processes_may_pack_one_journal(home: Path) -> None:
    train(home, 1)
    [path] = home.glob("runs/*/*/journal.jsonl")
    lines = path.read_bytes()
    half = path.with_name(f".{path.name}.gz.12345.half")
    half.write_bytes(b"of another process")
    open_and_wait(home)
    assert gzip.decompress(path.with_name("journal.jsonl.gz").read_bytes()) == lines
    assert half.read_bytes() == b"of another process"


def test_a_run_that_is_resumed_after_packing_goes_on(home: Path) -> None:
    train(home, 1)
    open_and_wait(home)
    with runbase.open(home=home) as store:
        [run] = store.runs()
    with runbase.start_run("old", resume=run.id, home=home, capture=False) as resumed:
        resumed.log({"loss": 0.0}, step=100)
    with runbase.open(home=home) as store:
        assert store.run(run.id).metrics["loss"].count == 101
