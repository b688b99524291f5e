"""The fault campaign: SIGKILL at random moments of whatever runbase does to a record. Nothing is to be repaired by hand."""

import json
import multiprocessing
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from tests.integration import faults

ROUNDS = {"sqlite": 36, "postgres": 24}
IMPORTED, POINTS = 60, 200
"""Runs, and points of each, of the table that is imported."""


class Campaign:
    """A home, a tree of files-only runs, a team's store, a table, a folder of backups; and what was acknowledged."""

    def __init__(self, folder: Path, team: str, seed: int) -> None:
        self.places, self.dice = faults.Places(folder, team), random.Random(seed)
        self.folder, self.home, self.cluster = folder, self.places.home, self.places.cluster
        self.backups = self.places.backups
        self.backups.mkdir()
        self.acknowledged: dict[str, int] = {}
        self.files_only: set[str] = set()
        self.everywhere: dict[str, dict[str, set[int]]] = {}
        self._children = multiprocessing.get_context("forkserver")
        self._children.set_forkserver_preload(
            ["tests.integration.faults", "runbase.storage.postgres.driver"]
        )
        self.mine = folder / "mine.csv"
        self.mine.write_text("run,step,loss\nforeign,0,1\nforeign,1,2\n")
        lines = [
            {"run": f"r{run}", "step": step, "loss": run * 1000 + step, "params": {"n": run}}
            for run in range(IMPORTED)
            for step in range(POINTS)
        ]
        self.places.table.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def train(self, *, files_only: bool) -> None:
        """Train, and be killed; remember what `log` returned from."""
        place = self.cluster if files_only else self.home
        said = self.folder / "said"
        said.write_bytes(b"")
        run = self._killed(faults.train, "none" if files_only else None, place, said=said)
        self.acknowledged[run] = said.stat().st_size - 1
        if files_only:
            self.files_only.add(run)

    def train_everywhere(self) -> None:
        """The same from handlers, tasks, threads and a forked child."""
        said = self.folder / "said"
        said.write_bytes(b"")
        run = self._killed(faults.train_everywhere, None, self.home, said=said)
        self.everywhere[run] = {letter: set() for letter in faults.SOURCES}
        for word in said.read_text().split():
            self.everywhere[run][word[0]].add(int(word[1:]))

    def work(self, name: str) -> None:
        """Begin something, and be killed."""
        assert self._killed(faults.work, name, self.places, said=1000) == "ready"

    def finish(self, name: str) -> None:
        """The same, to its end."""
        ours, theirs = self._children.Pipe()
        child = self._children.Process(target=faults.work, args=(name, self.places, theirs, 1))
        child.start()
        child.join()
        assert (child.exitcode, ours.recv(), ours.recv()) == (0, "ready", "done")

    def _killed(self, target: Any, *arguments: Any, said: Any) -> str:
        """The first that a child says, before it is killed."""
        ours, theirs = self._children.Pipe()
        child = self._children.Process(target=target, args=(*arguments, theirs, said), daemon=True)
        child.start()
        first = str(ours.recv())
        time.sleep(self.dice.uniform(0, 0.3))  # the moment is what is tried
        child.kill()
        child.join()
        return first


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_a_campaign_of_faults(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    team = f"sqlite:///{tmp_path}/team.db"
    if dialect == "postgres":
        team = request.getfixturevalue("postgres")
    campaign = Campaign(tmp_path, team, seed=11)
    campaign.train(files_only=False)
    campaign.train(files_only=True)
    with runbase.open(home=campaign.home) as store:  # what no folder holds
        store.import_from(str(campaign.mine), "table")
        store.note("foreign", "a note")
    with runbase.open(team, home=tmp_path / "workers") as store:
        store.create_experiment(faults.QUEUE).new_trials(
            [{"n": n} for n in range(faults.TRIALS)], retries=1000
        )
    kinds = ["train", "cluster", "everywhere", *faults.WORKS]
    for number in range(ROUNDS[dialect] - 2):
        kind = kinds[number % len(kinds)]
        if kind in ("train", "cluster"):
            campaign.train(files_only=kind == "cluster")
        elif kind == "everywhere":
            campaign.train_everywhere()
        else:
            campaign.work(kind)

    for name in ("worker", "sync", "scan", "import", "copy", "backup", "tidy"):
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
        for run, acknowledged in campaign.everywhere.items():
            for letter, numbers in acknowledged.items():
                series = ours.metrics(run, faults.SOURCES[letter], every=True)
                values = [int(value) for value in series.values]
                assert len(values) == len(set(values))
                assert numbers <= set(values)
                # A handler may interrupt itself between a number and its `log`; no other source can.
                assert letter == "s" or values == list(range(len(values)))
        for number in range(IMPORTED):
            values = shared.metrics(f"r{number}", "loss", every=True).values
            np.testing.assert_array_equal(values, number * 1000 + np.arange(POINTS))
        trials = shared.experiment(faults.QUEUE)
        assert len(shared.runs("status = 'COMPLETED'", experiment=trials)) == faults.TRIALS
        for trial in shared.runs(experiment=trials):
            ends = [c for c in shared.run(trial.id).history if c.status.value == "COMPLETED"]
            assert len(ends) == 1
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
