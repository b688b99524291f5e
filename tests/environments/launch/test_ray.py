"""Workers that `launch` starts as tasks of a real Ray."""

import json
import os
import signal
from pathlib import Path

import pytest

import runbase
from runbase.errors import UsageError
from runbase.status import Status
from runbase.trials.launchers import ray as on_ray
from runbase.trials.launchers.launch import find
from tests.environments.launch.conftest import Run, over
from tests.environments.slurm.cluster import wait_until

SLEEPS = ["sh", "-c", "touch begun{n}; if test $RUNBASE_ATTEMPT = 1; then sleep {seconds}; fi"]


def test_a_local_ray_ends_with_the_command(
    store: runbase.Store, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command waits for its workers."""
    experiment = store.create_experiment("tuning")
    experiment.new_trials([{"n": n, "seconds": 0.1} for n in range(12)])
    options = ["--on", "ray", "-n", "4", "--cpus", "0.5", "--option", "address=local"]
    text = run("launch", "tuning", *options, "--", *SLEEPS)
    assert "4 workers on ray" in text
    assert text.splitlines()[-1] == "workers: 4 ended"
    assert {trial.status for trial in experiment.trials()} == {Status.COMPLETED}
    (launch,) = experiment.launches()
    state = json.loads(run("launch", "--status", launch.id, "--json"))
    assert state["runs"] == {"COMPLETED": 12}
    assert state["workers"]["unknown"] == 4
    assert "ended with the process" in state["workers"]["note"]
    assert len(launch.logs()) == 4


def test_a_cluster_keeps_the_workers(
    store: runbase.Store, run: Run, ray_cluster: str, tmp_path: Path
) -> None:
    """The command ends at once. One worker is killed; each trial ends once; the counts stay when the actor has ended."""
    experiment = store.create_experiment("tuning")
    seconds = [600, *[0.1] * 29]
    experiment.new_trials([{"n": n, "seconds": s} for n, s in enumerate(seconds)])
    options = ["--on", "ray", "-n", "4", "--cpus", "1", "--wait", "10s", "--lease", "3"]
    record = json.loads(
        run("launch", "tuning", *options, "--json", "--", *SLEEPS, RAY_ADDRESS=ray_cluster)
    )
    assert record["job"]["local"] is False
    assert str(store.address) not in json.dumps(record)
    wait_until((tmp_path / "begun0").exists, lambda: str(experiment.trials()))
    killed = experiment.trial(1)
    os.kill(int(str(killed.runner).rpartition(":")[2]), signal.SIGKILL)
    launch = find(store, record["id"])
    over(launch)
    trials = experiment.trials()
    assert {trial.status for trial in trials} == {Status.COMPLETED}
    assert len(trials) == 30
    assert store.run(killed.id).attempt == 2
    wait_until(lambda: "counts" in find(store, launch.id).record.job, lambda: str(launch.record))
    workers = launch.status().workers
    assert (workers.ended, workers.failed) == (3, 1)
    assert launch.status().runs == {"COMPLETED": 30}


def test_cancel_gives_trials_back(
    store: runbase.Store, run: Run, ray_cluster: str, tmp_path: Path
) -> None:
    experiment = store.create_experiment("tuning")
    experiment.new_trials([{"n": n, "seconds": 600} for n in range(6)])
    options = ["--on", "ray", "-n", "6", "--cpus", "1", "--max-parallel", "3"]
    run("launch", "tuning", *options, "--", *SLEEPS, RAY_ADDRESS=ray_cluster)
    wait_until(lambda: len(list(tmp_path.glob("begun*"))) == 3, lambda: str(experiment.trials()))
    (launch,) = experiment.launches()
    workers = launch.status().workers
    assert (workers.running, workers.pending) == (3, 3)
    run("launch", "--cancel", launch.id)
    over(launch)
    states = sorted((trial.status.value, trial.attempt) for trial in experiment.trials())
    assert states == [("PENDING", 1)] * 3 + [("PENDING", 2)] * 3
    assert launch.status().workers.ended == 6


def test_a_worker_whose_time_is_over(store: runbase.Store, run: Run, ray_cluster: str) -> None:
    options = ["--on", "ray", "--time", "2s", "--once"]
    run("launch", "late", *options, "--", "sleep", "600", RAY_ADDRESS=ray_cluster)
    (launch,) = store.experiment("late").launches()
    over(launch)
    assert store.run(str(launch.record.trial)).status is Status.TIMEOUT


def test_a_store_of_this_machine_on_other_nodes(
    store: runbase.Store, ray_cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_ray, "is_this_machine", lambda name: False)
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    experiment = store.create_experiment("tuning")
    with pytest.raises(UsageError, match=r"nodes of Ray are on other machines \([\d.]+\)"):
        experiment.launch(["true"], on="ray")
    with pytest.raises(UsageError, match="is not an option for Ray"):
        experiment.launch(["true"], on="ray", options=["--gpu"])
