"""The journal while a run logs: short writes, damaged files, many writers."""

import os
import random
import threading
import time
import warnings
from pathlib import Path

import pytest

import runbase
from runbase.journal import files, writer
from runbase.run import background
from tests.patience import wait_until
from tests.read_back import stored, values


def test_writes_cut_short_tear_no_line(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(0)

    def short(fd: int, data: bytes) -> int:
        cut = len(data) > 1 and chance.random() < 0.3
        written = os.write(fd, data[: chance.randrange(1, len(data))] if cut else data)
        if cut:
            time.sleep(0)  # others come in between, if they can
        return written

    monkeypatch.setattr(writer, "_write", short)
    run = runbase.start_run("short", home=home, capture=False)
    threads = [
        threading.Thread(target=lambda n=n: [run.log({f"t{n}": float(i)}) for i in range(500)])
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    run.finish()
    with runbase.open(home=home) as store:
        for number in range(8):
            found = store.metrics(run.id, f"t{number}", every=True).values.tolist()
            assert sorted(found) == [float(i) for i in range(500)]
        assert all("half a line" in str(p) or "checksum" in str(p) for p in store.problems())


def beat(run: runbase.Run) -> None:
    """What the background thread does once a second."""
    run._monitor.maintain_files()


def damage(run: runbase.Run, how: str) -> None:
    path = run._journal.path
    if how == "deleted":
        path.unlink()
    elif how == "folder deleted":
        for inner in run.folder.iterdir():
            inner.unlink()
        run.folder.rmdir()
    elif how == "replaced":
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    elif how == "replaced by rubbish":
        path.unlink()
        path.write_bytes(b"not a journal\n")
    elif how == "emptied":
        os.truncate(path, 0)
    else:
        os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "how",
    ["deleted", "folder deleted", "replaced", "replaced by rubbish", "emptied", "cut in half"],
)
@pytest.mark.parametrize("taken_in", [True, False], ids=["taken in", "not taken in"])
def test_a_journal_that_is_damaged_while_training(
    home: Path, how: str, taken_in: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:  # this test does the work of the background thread itself
        patch.setattr(background, "add", lambda monitor: None)
        run = runbase.start_run("damage", home=home, capture=False)
    beat(run)
    for step in range(10):
        run.log({"loss": float(step)})
    beat(run)
    if taken_in:
        run.flush()
    damage(run, how)
    for step in range(10, 20):
        run.log({"loss": float(step)})
    with pytest.warns(RuntimeWarning, match="continues in"):
        beat(run)
    for step in range(20, 30):
        run.log({"loss": float(step)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        beat(run)
    found = values(run)
    lost = [] if taken_in or how not in ("emptied", "cut in half") else range(10)
    assert [v for v in found if v not in lost] == [float(s) for s in range(30) if s not in lost]
    assert stored(run).status == "COMPLETED"


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_warnings_as_errors_do_not_stop_heartbeats(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "BEAT_EVERY", 0.0)
    run = runbase.start_run("strict", home=home, capture=False)
    run.log({"loss": 1.0})
    wait_until((run.folder / "heartbeat").exists)
    beaten = (run.folder / "heartbeat").stat().st_mtime
    damage(run, "deleted")
    wait_until(run._journal.path.exists)
    wait_until(lambda: (run.folder / "heartbeat").stat().st_mtime > beaten)
    run.finish()
    assert stored(run).status == "COMPLETED"


def test_a_purged_run_is_not_brought_back(home: Path) -> None:
    run = runbase.start_run("purged", home=home, capture=False)
    run.log({"loss": 1.0})
    run.flush()
    with runbase.open(home=home) as store:
        store.purge(run.id)
    assert not run._journal.path.exists()
    run.log({"loss": 2.0})
    beat(run)
    assert not run._journal.path.exists()
    run.finish()
    with runbase.open(home=home) as store:
        assert store.runs() == []


def test_a_journal_with_writers_while_it_is_restored(home: Path) -> None:
    run = runbase.start_run("busy", home=home, capture=False)
    stop = threading.Event()
    logged: list[int] = [0] * 4

    def work(n: int) -> None:
        while not stop.is_set():
            run.log({f"t{n}": float(logged[n])})
            logged[n] += 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(5):
            time.sleep(0.05)
            for path in files(run.folder):
                path.unlink()
            with run._monitor.guard:
                beat(run)
    stop.set()
    for thread in threads:
        thread.join()
    run.finish()
    with runbase.open(home=home) as store:
        for n in range(4):
            found = store.metrics(run.id, f"t{n}", every=True).values.tolist()
            assert found == [float(i) for i in range(logged[n])]
