"""What a sync of a home looks at, and what it leaves alone."""

import os
import time
from pathlib import Path

import pytest

import runbase
from runbase.ingest import sync as module

LONG_AGO = time.time() - 3600


def runs(home: Path, count: int, **options: object) -> list[str]:
    ids: list[str] = []
    for number in range(count):
        with runbase.start_run(
            "e", name=f"r{number}", home=home, store="none", capture=False
        ) as run:
            run.log({"loss": 1.0})
        ids.append(run.id)
        os.utime(run.folder, (LONG_AGO, LONG_AGO))
    return ids


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders of the journals that a sync opens."""
    seen: list[str] = []
    monkeypatch.setattr(module, "_WORTH", 1)
    inner = module.opened
    monkeypatch.setattr(
        module, "opened", lambda path: [seen.append(path.parent.name), inner(path)][1]
    )
    return seen


def test_a_complete_folder_is_opened_once(home: Path, opened: list[str]) -> None:
    ids = runs(home, 3)
    store = runbase.open(home=home)
    assert sorted(set(opened)) == sorted(ids)
    opened.clear()
    report = store.sync()
    assert (report.folders, report.journals, opened) == (3, 0, [])
    assert len(store.runs()) == 3


def test_a_resumed_run_and_a_new_one_are_seen(home: Path, opened: list[str]) -> None:
    first, second = runs(home, 2)
    store = runbase.open(home=home)
    opened.clear()
    with runbase.start_run(resume=first, home=home, store="none", capture=False) as run:
        run.log({"loss": 0.5})
    new = runs(home, 1)
    store.sync()
    assert set(opened) == {first, *new}
    assert store.metrics(first, "loss").values.tolist() == [1.0, 0.5]
    assert second not in opened
    assert len(store.runs()) == 3


def test_a_folder_that_has_just_changed_is_looked_at_again(home: Path, opened: list[str]) -> None:
    [run] = runs(home, 1)
    folder = next((home / "runs").glob(f"*/{run}"))
    os.utime(folder)
    store = runbase.open(home=home)
    opened.clear()
    store.sync()
    assert set(opened) == {run}
    os.utime(folder, (LONG_AGO, LONG_AGO))
    store.sync()
    opened.clear()
    store.sync()
    assert opened == []


def test_a_journal_that_may_grow_is_looked_at_again(home: Path, opened: list[str]) -> None:
    run = runbase.start_run("e", home=home, store="none", capture=False)
    run.log({"loss": 1.0})
    os.utime(run.folder, (LONG_AGO, LONG_AGO))
    store = runbase.open(home=home)
    run.log({"loss": 2.0})
    os.utime(run.folder, (LONG_AGO, LONG_AGO))
    store.sync()
    assert store.metrics(run, "loss").values.tolist() == [1.0, 2.0]
    run.finish()


def test_another_database_of_the_same_home_gets_everything(home: Path, tmp_path: Path) -> None:
    runs(home, 2)
    assert len(runbase.open(home=home).runs()) == 2
    with runbase.open(tmp_path / "other.db", home=home) as other:
        assert len(other.runs()) == 2


def test_a_few_folders_are_not_worth_a_write(home: Path) -> None:
    runs(home, 3)
    store = runbase.open(home=home)
    assert store.storage.synced_folders() == {}
    runs(home, 25)
    store.sync()
    assert len(store.storage.synced_folders()) == 28
