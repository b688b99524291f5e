"""`hydra/launcher=runbase`: jobs are trials; a killed sweep continues, processes share one, failures are run again."""

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import runbase
from tests.patience import wait_until

SCRIPT = """
import os, sys, time
import hydra, runbase

@hydra.main(version_base=None, config_path=None)
def main(config):
    with open("begun.txt", "a") as file:
        file.write(f"{config.lr}\\n")
    deadline = time.monotonic() + 600
    while config.lr == 0.3 and os.path.exists("hold") and time.monotonic() < deadline:
        time.sleep(0.02)
    runbase.log({"loss": config.lr}, step=1)
    if config.lr == 0.2 and os.path.exists("broken"):
        raise ValueError("broken")
    return config.lr * 2

main()
"""
LEASE = "hydra.launcher.lease=2"


class Sweep:
    """A folder with a script that is swept over."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "train.py").write_text(SCRIPT)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        """Start a multirun over four learning rates."""
        command = [sys.executable, "train.py", "-m", "hydra/launcher=runbase", LEASE]
        return subprocess.Popen(
            [*command, "+lr=0.1,0.2,0.3,0.4", *words],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "RUNBASE_QUIET": "1"},
        )

    def run(self, *words: str, code: int = 0) -> str:
        """Run one to its end, and return what it printed."""
        process = self.start(*words)
        said = process.communicate(timeout=900)[0]
        assert process.returncode == code, said
        return said

    def begun(self) -> Counter[str]:
        """How often a job began, by its learning rate."""
        path = self.folder / "begun.txt"
        return Counter(path.read_text().split() if path.exists() else [])

    def statuses(self) -> dict[float, tuple[str, float]]:
        """Status and attempt of each trial, by its learning rate."""
        with runbase.open(home=self.folder / ".runbase") as store:
            return {run.params["lr"]: (run.status.value, run.attempt) for run in store.runs()}


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return Sweep(tmp_path)


def test_jobs_are_trials_with_configuration_and_result(sweep: Sweep) -> None:
    sweep.run("+net.width=8")
    with runbase.open(home=sweep.folder / ".runbase") as store:
        runs = store.runs(order_by="number")
        assert [run.params for run in runs] == [
            {"lr": lr, "net/width": 8} for lr in (0.1, 0.2, 0.3, 0.4)
        ]
        assert [run.metrics["result"].last for run in runs] == [0.2, 0.4, 0.6, 0.8]
        assert [run.metrics["loss"].last_step for run in runs] == [1, 1, 1, 1]
        assert runs[0].name == "+lr=0.1 +net.width=8"
        assert {run.experiment for run in runs} == {"train"}
    assert len(list(sweep.folder.glob("multirun/*/*/[0-3]/.hydra/config.yaml"))) == 4


def test_a_killed_sweep_continues(sweep: Sweep) -> None:
    (sweep.folder / "hold").touch()
    process = sweep.start()
    wait_until(lambda: sweep.begun()["0.3"] == 1)
    process.kill()
    process.communicate()
    (sweep.folder / "hold").unlink()
    said = sweep.run()
    assert "4 jobs, 2 of them done before" in said
    assert sweep.begun() == {"0.1": 1, "0.2": 1, "0.3": 2, "0.4": 1}
    assert sweep.statuses() == {
        0.1: ("COMPLETED", 1),
        0.2: ("COMPLETED", 1),
        0.3: ("COMPLETED", 2),
        0.4: ("COMPLETED", 1),
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_job_goes_back_at_once(sweep: Sweep, number: int) -> None:
    (sweep.folder / "hold").touch()
    process = sweep.start("hydra.launcher.lease=600")
    wait_until(lambda: sweep.begun()["0.3"] == 1)
    process.send_signal(number)
    process.communicate()
    assert sweep.statuses()[0.3][0] == "PENDING"
    (sweep.folder / "hold").unlink()
    sweep.run("hydra.launcher.lease=600")
    assert sweep.statuses()[0.3][0] == "COMPLETED"


def test_processes_share_a_sweep(sweep: Sweep) -> None:
    """Each job runs once; both return all results."""
    (sweep.folder / "hold").touch()
    first, second = sweep.start(), sweep.start()
    wait_until(lambda: len(sweep.begun()) == 4)
    (sweep.folder / "hold").unlink()
    for process in (first, second):
        said = process.communicate(timeout=900)[0]
        assert process.returncode == 0, said
    assert set(sweep.begun().values()) == {1}


def test_a_failed_job_is_named_and_run_again(sweep: Sweep) -> None:
    (sweep.folder / "broken").touch()
    said = sweep.run("hydra.launcher.sweep=mine", code=1)
    assert "ValueError: broken" in said
    assert sweep.statuses()[0.2][0] == "FAILED"
    (sweep.folder / "broken").unlink()
    assert "4 jobs, 3 of them done before" in sweep.run("hydra.launcher.sweep=mine")
    assert sweep.begun() == {"0.1": 1, "0.2": 2, "0.3": 1, "0.4": 1}
    assert "4 jobs, 4 of them done before" in sweep.run("hydra.launcher.sweep=mine")


def test_a_sweep_that_has_ended_begins_again(sweep: Sweep) -> None:
    sweep.run()
    sweep.run()
    assert set(sweep.begun().values()) == {2}
    with runbase.open(home=sweep.folder / ".runbase") as store:
        assert store.count() == 8


def test_with_the_callback_there_is_one_run_a_job(sweep: Sweep) -> None:
    callback = "{_target_: runbase.integrations.hydra.RunbaseCallback, tags: [mine]}"
    sweep.run(f"+hydra.callbacks.runbase={callback}")
    with runbase.open(home=sweep.folder / ".runbase") as store:
        runs = store.runs()
        assert len(runs) == 4
        assert {tuple(sorted(run.tags)) for run in runs} == {("hydra", "mine")}
        assert {run.status.value for run in runs} == {"COMPLETED"}
        assert len(store.artifacts(runs[0])) == 2
