"""A real Slurm for all tests of this folder."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import runbase
from runbase.model import Run
from tests.environments.slurm.cluster import Cluster, wait_until


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Slurm's daemons; without its programs, the tests fail and say what to install."""
    slurm = Cluster()
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


class Lab:
    """Submits scripts that log runs, and reads the runs."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.folder = cluster, folder
        self.home = folder / ".runbase"

    def submit(self, code: str, *options: str, start: str = "exec") -> str:
        """Submit a batch script that runs a Python script; return the id of the job.

        Args:
            code: the Python script.
            options: options of sbatch.
            start: what the batch script writes before the command: `exec`, `srun`, or nothing.
        """
        (self.folder / "train.py").write_text(code)
        (self.folder / "train.sh").write_text(f"#!/bin/bash\n{start} {sys.executable} train.py\n")
        return self.cluster.ask("sbatch", "--parsable", *options, "train.sh", cwd=self.folder)

    def runs(self) -> list[Run]:
        """Read the runs, the oldest first."""
        if not self.home.exists():
            return []
        with runbase.open(home=self.home) as store:
            return sorted(store.runs(), key=lambda run: run.created_at)

    def wait(self, *statuses: str) -> list[Run]:
        """Wait until there are as many runs with these statuses, in any order; return them."""
        found: list[Run] = []

        def reached() -> bool:
            found[:] = self.runs()
            return sorted(run.status.value for run in found) == sorted(statuses)

        wait_until(reached, self.describe)
        return found

    def wait_for_state(self, job: str, state: str) -> None:
        """Wait until a job has a state."""
        wait_until(lambda: self.cluster.state(job) == state, self.describe)

    def describe(self) -> str:
        """Return the runs, the output of the jobs, and the logs of Slurm."""
        runs = [(run.name, run.status.value, run.error) for run in self.runs()]
        output = [path.read_text() for path in self.folder.glob("slurm-*.out")]
        return "\n".join([*map(str, runs), *output, self.cluster.logs()])


@pytest.fixture
def lab(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    return Lab(cluster, tmp_path)


def start_now(lab: Lab, job: str) -> None:
    """Let a requeued job start: Slurm would wait two minutes.

    The node refuses it in the second in which its last credential was revoked, and the job fails.
    """
    lab.wait_for_state(job, "PENDING")
    lab.cluster.ask("scontrol", "update", f"JobId={job}", "StartTime=now+3")
