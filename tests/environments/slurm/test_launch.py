"""Workers that `launch` starts as the tasks of an array of a real Slurm, on PostgreSQL."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

import runbase
from runbase.errors import RunbaseError
from runbase.status import Phase, Status
from runbase.trials.experiment import Experiment
from runbase.trials.launchers.launch import Launch
from tests.environments.slurm.cluster import wait_until
from tests.environments.slurm.conftest import Lab, start_now

TRAINS = """
import os, pathlib, sys, time, runbase
with runbase.start_run("launched", capture=["slurm"]) as run:
    run.log({"loss": 1.0})
    run.flush()
    pathlib.Path(f"begun{run.number}.{run.attempt}").touch()
    if len(sys.argv) > 1 and run.attempt == 1:
        time.sleep(float(sys.argv[1]))
    print("trained", run.number)
"""
SLEEPS = ["sh", "-c", "touch begun{n}; if test $RUNBASE_ATTEMPT = 1; then sleep {seconds}; fi"]


@pytest.fixture
def store(lab: Lab, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[runbase.Store]:
    monkeypatch.setenv("RUNBASE_STORE", postgres)
    (lab.folder / "train.py").write_text(TRAINS)
    lab.home.mkdir()
    with runbase.open(home=lab.home) as opened:
        yield opened


@pytest.fixture
def experiment(store: runbase.Store) -> Experiment:
    return store.create_experiment("tuning")


def over(launch: Launch, lab: Lab) -> None:
    wait_until(lambda: launch.status().workers.over, lab.describe)


def test_an_array_drains_a_queue(lab: Lab, store: runbase.Store, experiment: Experiment) -> None:
    """One worker is killed, and the job of another is requeued; each trial ends once."""
    seconds = [600, 600, *[0.1] * 38]
    experiment.new_trials([{"n": n, "seconds": s} for n, s in enumerate(seconds)], retries=2)
    launch = experiment.launch(SLEEPS, on="slurm", n=4, cpus=1, time="1h", wait="15s", lease=3)
    for number in (0, 1):
        wait_until((lab.folder / f"begun{number}").exists, lab.describe)
    ids = [experiment.trial(number).id for number in (1, 2)]
    wait_until(lambda: all("slurm" in store.run(key).system for key in ids), lab.describe)
    killed, requeued = map(store.run, ids)
    os.kill(int(str(killed.runner).rpartition(":")[2]), signal.SIGKILL)
    task = f"{launch.record.job['array']}_{requeued.system['slurm']['array_task_id']}"
    lab.cluster.ask("scontrol", "requeue", task)
    start_now(lab, task)
    over(launch, lab)
    trials = store.runs(experiment="tuning", limit=None)
    assert len(trials) == 40
    for trial in map(store.run, trials):
        assert trial.status is Status.COMPLETED
        assert trial.tags["launch"] == launch.id
        ends = [c for c in trial.history if c.status.phase is Phase.ENDED]
        assert len([c for c in ends if c.attempt == trial.attempt]) == 1
    assert [store.run(run.id).attempt for run in (killed, requeued)] == [2, 2]
    state = launch.status()
    assert (state.workers.ended, state.workers.failed, state.workers.unknown) == (3, 1, 0)
    assert state.runs == state.queue == {"COMPLETED": 40}
    assert sorted(launch.logs()) == ["0", "1", "2", "3"]
    assert "COMPLETED" in "".join(launch.logs().values())


def test_at_most_so_many_at_once(lab: Lab, store: runbase.Store, experiment: Experiment) -> None:
    experiment.new_trials([{"n": n, "seconds": 600} for n in range(3)])
    launch = experiment.launch(SLEEPS, on="slurm", n=3, max_parallel=1)
    wait_until(lambda: len(list(lab.folder.glob("begun*"))) == 1, lab.describe)
    workers = launch.status().workers
    assert (workers.pending, workers.running) == (2, 1)
    launch.cancel()
    over(launch, lab)
    lab.wait("PENDING", "PENDING", "PENDING")


def test_cancel_gives_trials_back(lab: Lab, store: runbase.Store, experiment: Experiment) -> None:
    experiment.new_trials([{"n": n, "seconds": 600} for n in range(4)])
    launch = experiment.launch(SLEEPS, on="slurm", n=4)
    wait_until(lambda: len(list(lab.folder.glob("begun*"))) == 4, lab.describe)
    launch.cancel()
    lab.wait("PENDING", "PENDING", "PENDING", "PENDING")
    over(launch, lab)
    assert launch.status().workers.ended == 4
    assert {trial.attempt for trial in experiment.trials()} == {2}


def test_a_script_that_runs_once(lab: Lab, store: runbase.Store) -> None:
    """A job that is requeued runs again, as the next attempt."""
    command = [sys.executable, "train.py", "600"]
    launch = store.create_experiment("train").launch(command, on="slurm", once=True)
    wait_until((lab.folder / "begun1.1").exists, lab.describe)
    task = f"{launch.record.job['array']}_0"
    lab.cluster.ask("scontrol", "requeue", task)
    start_now(lab, task)
    (run,) = lab.wait("COMPLETED")
    assert (run.attempt, run.exit_code) == (2, 0)
    assert run.system["slurm"]["array_job_id"] == launch.record.job["array"]
    over(launch, lab)
    assert "trained 1" in launch.logs()["0"]


def test_a_script_that_reaches_its_time_limit(lab: Lab, store: runbase.Store) -> None:
    command = [sys.executable, "train.py", "600"]
    launch = store.create_experiment("train").launch(command, on="slurm", once=True, time="1m")
    lab.wait("TIMEOUT")
    over(launch, lab)
    workers = launch.status().workers
    assert (workers.ended, workers.failed) == (1, 0), "it was stopped, and did not fail"


def test_no_secret_is_in_a_script_or_in_the_queue(
    lab: Lab, store: runbase.Store, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_password = store.address.replace("postgresql://", "postgresql://postgres:geheim@").replace(
        "postgres:geheim@postgres:@", "postgres:geheim@"
    )
    with runbase.open(with_password, home=lab.home) as opened:
        trial = opened.experiment("tuning").new_trial({"n": 0, "seconds": 0.1})
        launch = opened.experiment("tuning").launch(SLEEPS, on="slurm")
        over(launch, lab)
        assert opened.run(trial.id).status is Status.COMPLETED
        records = opened.sql("select text from experiment_attributes where scope = 'launch'")
    folder = lab.home / "launches" / launch.id
    shown = lab.cluster.ask("scontrol", "show", "job", launch.record.job["array"])
    texts = [path.read_text() for path in folder.iterdir()]
    assert not any("geheim" in text for text in [shown, str(list(records)), *texts])
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "worker.sh").stat().st_mode & 0o077 == 0


def test_what_sbatch_refuses(experiment: Experiment) -> None:
    with pytest.raises(RunbaseError, match=r"sbatch failed: .* feature"):
        experiment.launch(SLEEPS, on="slurm", options=["--constraint=nowhere"])
    assert experiment.launches() == []
