"""Full disks, damaged journals, and databases that cannot be opened."""

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.errors import StoreCorrupt
from runbase.ingest.sync import sync
from runbase.storage.open import open_storage
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]
FULL = """
import resource, sys, warnings, runbase
run = runbase.start_run('full', capture=False)
said = []
warnings.showwarning = lambda *a, **k: said.append(str(a[0]))
size = run.folder.joinpath('journal.jsonl').stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2050, resource.RLIM_INFINITY))
for step in range(1000):
    run.log({'x': step})
print(len(said), said[:1])
if sys.argv[1] == 'freed':
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
run.finish()
print(len(said))
"""


@pytest.mark.parametrize("then", ["freed", "full"])
def test_a_full_disk_does_not_stop_training(script: Script, home: Path, then: str) -> None:
    process = script(FULL, then)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.startswith("1 ['runbase: cannot write")
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        series = store.metrics(run, "x")
        np.testing.assert_array_equal(series.values, np.arange(len(series)))
        if then == "freed":
            assert len(series) == 1000
            assert run.status.value == "COMPLETED"
        else:
            assert 20 < len(series) < 1000
            assert run.status.value == "NODE_FAIL"


def test_the_limit_is_this_systems(script: Script) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


def test_a_database_that_is_away_does_not_stop_training(home: Path) -> None:
    home.mkdir()
    (home / "runbase.db").write_bytes(
        b"this is no database, and long enough to be read as one" * 50
    )
    warned = pytest.warns(RuntimeWarning, match="runbase sync")
    with warned, runbase.start_run("away", home=home, capture=False) as run:
        run.log({"x": 1})
        run.flush()
    with pytest.raises(StoreCorrupt, match="sync --rebuild"):
        runbase.open(home=home)


def test_damage_in_a_journal_is_named(home: Path) -> None:
    with runbase.start_run("damage", home=home, store="none", capture=False) as run:
        for step in range(100):
            run.log({"x": step})
    path = run.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[50] = lines[50].replace(b'"x"', b'"y"')
    path.write_bytes(b"".join(lines))
    storage = open_storage(f"sqlite:///{home / 'runbase.db'}")
    report = sync(storage, home)
    assert [(p.file, p.offset) for p in report.problems] == [(str(path), sum(map(len, lines[:50])))]
    assert storage.runs()[0].metrics["x"].count == 99
    assert sync(storage, home).problems == []
    storage.close()
