"""The fault campaign: SIGKILL at random moments of whatever runbase does to a record. Nothing is to be repaired by hand."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.importers import import_from

ROUNDS = {"sqlite": 70, "postgres": 40}
OLD = Path(__file__).parents[1] / "migrations" / "fixtures" / "0001_first.db.gz"
"""A database of the first schema there was."""
IMPORTED, POINTS = 60, 200
"""Runs, and points of each, of the table that is imported."""

TRAIN = """
import os, sys, runbase
from runbase import background
background.EVERY = 0.001
run = runbase.start_run('train', store=sys.argv[1] or None, home=sys.argv[2], capture=False)
os.write(1, (run.id + chr(10)).encode())
for step in range(10_000_000):
    run.log({'loss': step * 0.5, 'acc': step}, step=step)
    os.write(1, b'%d\\n' % step)
"""
WORKS = {
    "sync": "runbase.open(home=home, sync=False).sync()",
    "scan": "runbase.open(team, sync=False).scan(cluster, full=True)",
    "import": "import_from(runbase.open(team, sync=False), table, 'table')",
    "copy": "runbase.open(home=home, sync=False).copy_to(runbase.open(team, sync=False))",
    "backup": "runbase.open(home=home, sync=False).backup(backups)",
    "tidy": "runbase.open(home=home, sync=False).gc(journals=0, files=True)",
    "rebuild": "main(['sync', '--rebuild', '--home', home])",
    "migrate": "migrate(os.path.join(os.path.dirname(home), 'old'), sys.argv[6])",
}
"""What is killed, beside training. Each is told where everything is."""
WORK = """
import gzip, os, sys, runbase, runbase.ids
from runbase.importers import import_from
import runbase.registry.scan, runbase.storage.postgres, runbase.storage.sql.store, runbase.storage.sqlite
from typer.testing import CliRunner
from runbase.cli.app import app
def main(words): CliRunner().invoke(app, words)
def migrate(folder, old):
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, runbase.ids.new_id())
    with open(path + '.half', 'wb') as file: file.write(gzip.open(old).read())
    os.rename(path + '.half', path + '.db')
    runbase.open(path + '.db').create_experiment('after')
home, cluster, team, table, backups = sys.argv[1:6]
os.write(1, b'ready\\n')
for _ in range(1 if len(sys.argv) > 7 else 1000):
    {work}
os.write(1, b'done\\n')
"""


class Campaign:
    """A home, a tree of files-only runs, a team's store, a table, a folder of backups; and what was acknowledged."""

    def __init__(self, folder: Path, team: str, seed: int) -> None:
        self.folder, self.team, self.dice = folder, team, random.Random(seed)
        self.home, self.cluster = folder / "home", folder / "cluster"
        self.table, self.backups = folder / "runs.jsonl", folder / "backups"
        self.backups.mkdir()
        self.acknowledged: dict[str, int] = {}
        self.files_only: set[str] = set()
        lines = [
            {"run": f"r{run}", "step": step, "loss": run * 1000 + step, "params": {"n": run}}
            for run in range(IMPORTED)
            for step in range(POINTS)
        ]
        self.mine = folder / "mine.csv"
        self.mine.write_text("run,step,loss\nforeign,0,1\nforeign,1,2\n")
        self.table.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def train(self, *, files_only: bool) -> None:
        """Train, and be killed; remember what `log` returned from."""
        place = self.cluster if files_only else self.home
        process = self._start(TRAIN, "none" if files_only else "", str(place))
        assert process.stdout is not None
        run = process.stdout.readline().decode().strip()
        self.acknowledged[run] = self._kill(process).count("\n") - 1
        if files_only:
            self.files_only.add(run)

    def work(self, name: str) -> None:
        """Begin something, and be killed."""
        process = self._work(name)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        self._kill(process)

    def finish(self, name: str) -> None:
        """The same, to its end."""
        out, err = self._work(name, "once").communicate()
        assert out.endswith(b"done\n"), err.decode()

    def _work(self, name: str, *more: str) -> "subprocess.Popen[bytes]":
        places = [self.home, self.cluster, self.team, self.table, self.backups, OLD]
        return self._start(WORK.replace("{work}", WORKS[name]), *map(str, places), *more)

    def _start(self, code: str, *arguments: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if len(arguments) < 7 else subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "RUNBASE_QUIET": "1"},
        )

    def _kill(self, process: "subprocess.Popen[bytes]") -> str:
        """What it had printed."""
        said: list[bytes] = []
        stdout = process.stdout
        assert stdout is not None
        reader = threading.Thread(target=lambda: said.append(stdout.read()))
        reader.start()
        time.sleep(self.dice.uniform(0, 0.4))  # the moment is what is tried
        process.kill()
        reader.join()
        process.wait()
        return said[0].decode()


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_campaign_of_faults(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    team = f"sqlite:///{tmp_path}/team.db"
    if dialect == "postgres":
        team = request.getfixturevalue("postgres")
    campaign = Campaign(tmp_path, team, seed=11)
    campaign.train(files_only=False)
    campaign.train(files_only=True)
    with runbase.open(home=campaign.home) as store:  # what no folder holds
        import_from(store, str(campaign.mine), "table")
        store.note("foreign", "a note")
    kinds = ["train", "cluster", *WORKS]
    for number in range(ROUNDS[dialect] - 2):
        kind = kinds[number % len(kinds)]
        if kind in ("train", "cluster"):
            campaign.train(files_only=kind == "cluster")
        else:
            campaign.work(kind)

    for name in ("sync", "scan", "import", "copy", "backup", "tidy"):
        campaign.finish(name)
    for arguments in (
        ["--home", str(campaign.home)],
        ["--home", str(campaign.cluster), "--store", team],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "runbase", "doctor", "--json", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        assert json.loads(done.stdout)["problems"] == []

    assert len(campaign.acknowledged) >= ROUNDS[dialect] // 5
    assert sum(campaign.acknowledged.values()) > 1000 * len(campaign.acknowledged)
    with runbase.open(campaign.home / "runbase.db") as ours, runbase.open(team) as shared:
        for run, acknowledged in campaign.acknowledged.items():
            for store in (shared,) if run in campaign.files_only else (ours, shared):
                if acknowledged < 0:
                    continue  # no call of `log` had returned yet
                for key, factor in (("loss", 0.5), ("acc", 1.0)):
                    series = store.metrics(run, key, every=True)
                    steps = np.arange(len(series))
                    np.testing.assert_array_equal(series.steps, steps)
                    np.testing.assert_array_equal(series.values, steps * factor)
                    assert len(series) > acknowledged
        for number in range(IMPORTED):
            values = shared.metrics(f"r{number}", "loss", every=True).values
            np.testing.assert_array_equal(values, number * 1000 + np.arange(POINTS))
        assert ours.run("foreign").notes == "a note"
        assert ours.metrics("foreign", "loss", every=True).values.tolist() == [1.0, 2.0]
        assert shared.check() == []
        assert ours.check() == []
    upgraded = list((tmp_path / "old").glob("*.db"))
    assert upgraded
    for path in upgraded:  # some were killed while they were brought up to date
        with runbase.open(path) as old:
            old.create_experiment("after the kill")
            assert old.check() == []
            assert len(old.metrics("released", "loss")) == 3000
    whole = sorted(campaign.backups.glob("*.db"))
    assert whole
    for path in whole:
        with runbase.open(shutil.copy(path, tmp_path / "one.db")) as backup:
            assert backup.check() == []
