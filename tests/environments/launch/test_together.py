"""Slurm and Ray drain one queue together."""

import json
import time
from pathlib import Path

import psutil
import pytest

import runbase
from runbase.status import Phase, Status
from runbase.trials.launchers.launch import find
from tests.environments.launch.conftest import Run, over
from tests.environments.slurm.cluster import Cluster, wait_until
from tests.environments.slurm.conftest import Lab, start_now

TRIALS = 400
COMMAND = ["sh", "-c", "touch begun{n}.$RUNBASE_ATTEMPT; sleep {seconds}"]


def test_slurm_and_ray_drain_one_queue(
    store: runbase.Store,
    run: Run,
    ray_cluster: str,
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Four tasks of an array and four tasks of Ray; one worker is killed, one job is requeued; each trial ends once."""
    monkeypatch.setenv("SLURM_CONF", str(cluster.config))
    monkeypatch.setenv("RAY_ADDRESS", ray_cluster)
    experiment = store.create_experiment("tuning")
    experiment.new_trials([{"n": n, "seconds": 0.2} for n in range(TRIALS)], retries=5)
    began = time.monotonic()
    options = ["-n", "4", "--wait", "30s", "--lease", "5", "--json", "--", *COMMAND]
    ids = [
        json.loads(run("launch", "tuning", "--on", on, *options))["id"] for on in ("slurm", "ray")
    ]
    slurm, ray = (find(store, key) for key in ids)

    def runs(launch: str, where: str = "true") -> list[runbase.model.Run]:
        return list(store.runs(f"tags.launch = '{launch}' and {where}", limit=None))

    wait_until(lambda: all(len(runs(key)) >= 20 for key in ids), cluster.logs)
    # One worker of Ray is killed while it holds a trial.
    held = _kill_one(store, ray.id)
    # One job of Slurm is requeued.
    task = f"{slurm.record.job['array']}_0"
    cluster.ask("scontrol", "requeue", task)
    start_now(Lab(cluster, tmp_path), task)

    over(slurm, cluster)
    over(ray, cluster)
    seconds = time.monotonic() - began
    trials = [store.run(trial) for trial in experiment.trials(limit=None)]
    assert len(trials) == TRIALS
    for trial in trials:
        assert trial.status is Status.COMPLETED
        ends = [c for c in trial.history if c.status.phase is Phase.ENDED]
        assert [c.status for c in ends if c.attempt == trial.attempt] == [Status.COMPLETED]
    assert store.run(held.id).attempt >= 2
    counts = [len(runs(key)) for key in ids]
    assert sum(counts) == TRIALS
    assert min(counts) > 20
    again = sum(trial.attempt > 1 for trial in trials)
    states = [launch.status().workers for launch in (slurm, ray)]
    told = {name: text[-2000:] for name, text in slurm.logs().items()}
    assert (states[0].ended, states[0].failed) == (4, 0), f"{told}\n{cluster.logs()}"
    assert (states[1].ended, states[1].failed) == (3, 1)
    print(
        f"\n{TRIALS} trials in {seconds:.0f} s: {counts[0]} on Slurm, {counts[1]} on Ray, {again} tried again"
    )


def _kill_one(store: runbase.Store, launch: str) -> runbase.model.Run:
    """Kill a worker of a launch while it runs the command of a trial, and return the trial."""
    killed: list[runbase.model.Run] = []

    def kill() -> bool:
        for run in store.runs("status = 'RUNNING' and runner is not null"):
            worker = psutil.Process(int(str(run.runner).rpartition(":")[2]))
            if worker.environ().get("RUNBASE_LAUNCH") != launch:
                continue  # the tag of a short trial is stored at its end
            worker.suspend()  # so that nothing changes between the look and the kill
            now = store.run(run.id)
            if worker.children() and (now.status, now.runner) == (Status.RUNNING, run.runner):
                worker.kill()
                killed.append(now)
                return True
            worker.resume()
        return False

    wait_until(kill, lambda: launch)
    return killed[0]
