"""The database is made again from the folders of the runs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import runbase
from tests.integration.processes import MANY

Script = Callable[..., "subprocess.Popen[str]"]


def test_rebuild_from_the_folders(script: Script, home: Path) -> None:
    for number in range(3):
        assert script(MANY, str(number), "2000").wait() == 0
    with runbase.open(home=home) as store:
        before = [(r.id, r.status, r.metrics, r.number) for r in store.runs(order_by="id")]
    data = bytearray((home / "runbase.db").read_bytes())
    data[4096 * 3 : 4096 * 20] = os.urandom(4096 * 17)
    (home / "runbase.db").write_bytes(data)
    command = [sys.executable, "-m", "runbase", "sync", "--rebuild", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["totals"]["points"] == 24_000
    assert Path(report["set_aside"][0]).exists()
    with runbase.open(home=home) as store:
        assert [(r.id, r.status, r.metrics, r.number) for r in store.runs(order_by="id")] == before


def test_copied_run_folders_are_an_import(script: Script, home: Path, tmp_path: Path) -> None:
    """Partly, in any order, twice."""
    for number in range(3):
        assert script(MANY, str(number), "3000").wait() == 0
    other = tmp_path / "elsewhere" / ".runbase"
    folders = sorted(home.glob("runs/*/*"))
    for folder in reversed(folders):
        target = other / folder.relative_to(home)
        target.mkdir(parents=True)
        whole = (folder / "journal.jsonl").read_bytes()
        for part in (len(whole) // 3, len(whole) // 2, len(whole)):
            (target / "journal.jsonl").write_bytes(whole[:part])
            with runbase.open(home=other):
                pass
        shutil.copytree(folder, target, dirs_exist_ok=True)
    shutil.copytree(other / "runs", other / "runs" / "again", dirs_exist_ok=True)
    with runbase.open(home=home) as mine, runbase.open(home=other) as theirs:
        assert theirs.totals()["points"] == 36_000

        def told(store: runbase.Store) -> list[object]:
            return [
                (run.id, run.name, run.status, run.metrics, run.started_at, run.ended_at)
                for run in store.runs(order_by="id")
            ]

        assert told(mine) == told(theirs)


def test_a_database_replaced_under_a_training_run(home: Path) -> None:
    run = runbase.start_run("replaced", home=home, capture=False)
    run.log({"x": 1})
    run.flush()
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync", "--rebuild"], capture_output=True, check=False
    )
    assert done.returncode == 0
    run.log({"x": 2})
    run.flush()
    with runbase.open(home=home, sync=False) as store:
        assert store.metrics(run.id, "x").values.tolist() == [1, 2]
        for path in home.glob("runbase.db*"):
            path.unlink()
        run.log({"x": 3})
        run.finish()
    with runbase.open(home=home, sync=False) as store:
        assert store.metrics(run.id, "x").values.tolist() == [1, 2, 3]
