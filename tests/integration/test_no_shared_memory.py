"""Run folders where files cannot be mapped shared and cannot be locked, as on NFS: nothing but the database needs that."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase

FOLDERS = int(os.environ.get("RUNBASE_TEST_FOLDERS", "400"))

TRAIN = """
import runbase
for number in range(3):
    with runbase.start_run('far', params={'n': number}, capture=['output']) as run:
        for step in range(500):
            run.log({'loss': step * 0.5 + number}, step=step)
        run.log_text('said', 'hello')
    print(run.id, run.store)
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that takes shared memory and locks away."""
    library = tmp_path_factory.mktemp("shim") / "no_shared_memory.so"
    source = Path(__file__).with_name("no_shared_memory.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Cluster:
    """A folder without shared memory, and commands that run with it."""

    def __init__(self, shim: Path, tmp_path: Path) -> None:
        self.folder = tmp_path / "nfs"
        self.folder.mkdir()
        self.local = tmp_path / "local"
        self.local.mkdir()
        self._shim = shim

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """A Python process."""
        there = {"LD_PRELOAD": str(self._shim), "NO_SHARED_MEMORY": f"{self.folder}/"}
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.folder,
            env={**os.environ, **there, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What one prints."""
        process = self.start(*arguments, **environment)
        out, err = process.communicate()
        assert process.returncode == code, out + err
        return out

    def command(self, *words: str, code: int = 0) -> Any:
        """A command, and what it says in JSON."""
        return json.loads(self.run("-m", "runbase", *words, "--json", code=code))


@pytest.fixture
def cluster(shim: Path, tmp_path: Path) -> Cluster:
    return Cluster(shim, tmp_path)


def test_a_database_there_would_not_work(cluster: Cluster) -> None:
    """The shim does what it is for."""
    code = "import sqlite3; c = sqlite3.connect('a.db'); c.execute('pragma journal_mode = wal'); c.execute('create table t (x)')"
    assert cluster.start("-c", code).wait() != 0
    code = "import mmap; f = open('b', 'w+b'); f.write(b'x' * 4096); f.flush(); mmap.mmap(f.fileno(), 4096)"
    assert cluster.start("-c", code).wait() != 0


def test_everything_but_the_database_works_there(cluster: Cluster) -> None:
    out = cluster.run("-c", TRAIN, RUNBASE_STORE="none").split()
    ids = out[::2]
    assert set(out[1::2]) == {"None"}
    store = str(cluster.local / "team.db")
    scanned = cluster.command("scan", ".", "--store", store)
    assert (scanned["new"], scanned["points"], scanned["problems"]) == (3, 1500, [])
    assert cluster.command("scan", ".", "--store", store)["unchanged"] == 3
    with runbase.open(store) as opened:
        for number, run in enumerate(ids):
            values = opened.metrics(run, "loss").values
            np.testing.assert_array_equal(values, np.arange(500) * 0.5 + number)
            assert opened.run(run).status.value == "COMPLETED"
    code = "import runbase; r = runbase.open_registry('.'); print(len(r), r.query(hparams={'n': 1})[0].run_id)"
    assert cluster.run("-c", code).split() == ["3", ids[1]]
    home = ["--home", str(cluster.folder / ".runbase"), "--store", store]
    assert cluster.command("doctor", *home)["problems"] == []
    assert cluster.command("gc", "--journals", "0s", "--files", *home)["packed"] == 3
    assert cluster.command("scan", ".", "--full", "--store", store)["points"] == 0
    (cluster.folder / "t.csv").write_text("step,loss\n0,1\n1,2\n")
    assert cluster.command("import", "t.csv", "--store", store)["points"] == 2
    cluster.run("-c", TRAIN.replace("range(3)", "range(1)"), RUNBASE_STORE=store)
    with runbase.open(store) as opened:
        assert opened.count() == 5


def test_a_run_whose_database_is_there_by_mistake_loses_nothing(cluster: Cluster) -> None:
    process = cluster.start("-W", "always", "-c", TRAIN.replace("range(3)", "range(1)"))
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "could not be ingested" in err
    run = out.split()[0]
    store = str(cluster.local / "team.db")
    cluster.command("scan", ".", "--store", store)
    with runbase.open(store) as opened:
        assert len(opened.metrics(run, "loss")) == 500


def test_many_folders_two_scanners(cluster: Cluster) -> None:
    code = """
import runbase, sys
for number in range(int(sys.argv[1])):
    run = runbase.start_run('many', store='none', capture=False)
    for step in range(10): run.log({'x': step * number})
    run.finish()
"""
    makers = [cluster.start("-c", code, str(FOLDERS // 2)) for _ in range(2)]
    assert [maker.communicate() and maker.returncode for maker in makers] == [0, 0]
    store = str(cluster.local / "team.db")
    scan = ["-m", "runbase", "scan", ".", "--store", store, "--json"]
    scanners = [cluster.start(*scan) for _ in range(2)]
    reports = []
    for scanner in scanners:
        out, err = scanner.communicate()
        assert scanner.returncode == 0, err
        reports.append(json.loads(out))
    assert [report["found"] for report in reports] == [FOLDERS, FOLDERS]
    with runbase.open(store) as opened:
        assert opened.totals()["points"] == FOLDERS * 10
        assert opened.sql("select count(*) from metrics") == [(FOLDERS * 10,)]
        assert opened.check() == []
    warm = cluster.command("scan", ".", "--store", store)
    assert (warm["unchanged"], warm["points"]) == (FOLDERS, 0)
    print("cold", [report["seconds"] for report in reports], "warm", warm["seconds"])
