"""A real cluster of Ray on this machine, beside a real Slurm, and a store on PostgreSQL."""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import runbase
from runbase.trials.launchers.launch import Launch
from tests.conftest import close_storages
from tests.environments.slurm.cluster import Cluster, wait_until
from tests.environments.slurm.conftest import cluster

__all__ = ["cluster"]

Run = Callable[..., str]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """The address of a cluster of one node with four CPUs, which asks for a token of its own.

    Ray reads the token once in a process, so that there is one cluster for all tests. `ray stop` would end all clusters of
    the machine: with `--block`, the program ends its own.
    """
    program = str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="ray") as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
        start = ["start", "--head", "--block", "--port=0", "--num-cpus=4"]
        start += ["--include-dashboard=false", "--disable-usage-stats", f"--temp-dir={folder}"]
        log = Path(folder, "start.log")
        with log.open("wb") as output:
            process = subprocess.Popen([program, *start], stdout=output, stderr=output)
        try:
            wait_until(
                lambda: "Ray runtime started" in log.read_text() or process.poll() is not None,
                log.read_text,
            )
            assert process.poll() is None, log.read_text()
            yield Path(folder, "ray_current_cluster").read_text().strip()
        finally:
            if "ray" in sys.modules:
                sys.modules["ray"].shutdown()
            process.terminate()
            process.wait()


@pytest.fixture
def store(
    tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[runbase.Store]:
    monkeypatch.setenv("RUNBASE_STORE", postgres)
    home = tmp_path / ".runbase"
    home.mkdir()
    with runbase.open(home=home) as opened:
        yield opened
    close_storages()


@pytest.fixture
def run() -> Run:
    """Runs `runbase …` and returns what it printed."""

    def call(*arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runbase", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def over(launch: Launch, slurm: Cluster | None = None) -> None:
    """Wait until no worker of a launch waits or runs."""

    def describe() -> str:
        return f"{launch.status()}\n{launch.logs()}\n{slurm.logs() if slurm else ''}"

    wait_until(lambda: launch.status().workers.over, describe)
