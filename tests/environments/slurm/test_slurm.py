"""What real jobs of Slurm record."""

import sys

import runbase
from runbase.capture import slurm
from tests.environments.slurm.cluster import wait_until
from tests.environments.slurm.conftest import Lab, start_now

SHORT = """
import runbase
with runbase.start_run("job", capture=["slurm"]) as run:
    run.log({"loss": 1.0})
"""
LONG = """
import time, runbase
with runbase.start_run("job", capture=["slurm"]) as run:
    run.log({"loss": 1.0})
    run.capturing.join()
    run.flush()
    open("ready", "w").close()
    time.sleep(600)
"""
FAILING = """
import runbase
with runbase.start_run("job", capture=["slurm"]) as run:
    raise ValueError("the loss is NaN")
"""
KILLED = """
import os, runbase
run = runbase.start_run("job", capture=["slurm"])
run.flush()
os.kill(os.getpid(), 9)
"""
REQUEUED = """
import os, time, runbase
with runbase.start_run("job", capture=["slurm"]) as run:
    for step in range(10):
        run.log({"loss": 1.0})
    run.flush()
    if os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        open("ready", "w").close()
        time.sleep(600)
"""
TRIAL = """
import os, time, runbase
with runbase.start_run("tuning", capture=False) as run:
    run.log({"loss": 1.0})
    run.flush()
    if run.attempt == 1:
        open("ready", "w").close()
        time.sleep(600)
"""
RANKS = """
import pathlib, time, runbase
with runbase.start_run("ranks", capture=["slurm"]) as run:
    for step in range(5):
        run.log({"loss": 1.0}, step=step)
    pathlib.Path(f"ready{run._suffix.replace('/', '-')}").touch()
    while len(list(pathlib.Path().glob("ready*"))) < 2:
        time.sleep(0.01)
"""


def started(lab: Lab) -> None:
    wait_until((lab.folder / "ready").exists, lab.describe)


def test_each_task_of_an_array_is_a_run(lab: Lab) -> None:
    job = lab.submit(SHORT, "--array=0-3")
    runs = lab.wait(*["COMPLETED"] * 4)
    assert {run.system["slurm"]["array_task_id"] for run in runs} == {"0", "1", "2", "3"}
    assert all(run.tags == {f"sweep:{job}": None} for run in runs)


def test_the_time_limit(lab: Lab) -> None:
    """The batch script does not replace itself by the program: Slurm signals all processes of the job."""
    job = lab.submit(LONG, "--time=1", start="")
    started(lab)
    (run,) = lab.wait("RUNNING")
    left = slurm.seconds_left(run.system["slurm"], run.started_at)
    assert left is not None
    assert 0 < left <= 60
    lab.wait("TIMEOUT")
    lab.wait_for_state(job, "TIMEOUT")


def test_a_signal_before_the_time_limit(lab: Lab) -> None:
    lab.submit(LONG, "--time=1", "--signal=B:TERM@50")
    lab.wait("TIMEOUT")


def test_scancel(lab: Lab) -> None:
    job = lab.submit(LONG, "--time=10")
    started(lab)
    lab.cluster.ask("scancel", job)
    lab.wait("CANCELLED")


def test_a_failing_job(lab: Lab) -> None:
    job = lab.submit(FAILING)
    (run,) = lab.wait("FAILED")
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "the loss is NaN")
    assert "train.py" in run.error["traceback"]
    lab.wait_for_state(job, "FAILED")


def test_a_requeued_job_goes_on_with_its_run(lab: Lab) -> None:
    job = lab.submit(REQUEUED, "--requeue")
    started(lab)
    lab.cluster.ask("scontrol", "requeue", job)
    (first,) = lab.wait("PREEMPTED")
    start_now(lab, job)
    (run,) = lab.wait("COMPLETED")
    assert run.id == first.id
    assert run.metrics["loss"].count == 20
    assert run.metrics["loss"].last_step == 19
    assert run.system["slurm"]["restarts"] == "1"


def test_a_preempted_job_goes_on_with_its_run(lab: Lab) -> None:
    job = lab.submit(REQUEUED, "--partition=low", "--requeue", "--cpus-per-task=8")
    started(lab)
    (lab.folder / "other.sh").write_text("#!/bin/sh\n")
    other = lab.cluster.ask(
        "sbatch", "--parsable", "--partition=high", "--cpus-per-task=8", "other.sh", cwd=lab.folder
    )
    (first,) = lab.wait("PREEMPTED")
    lab.wait_for_state(other, "COMPLETED")
    start_now(lab, job)
    (run,) = lab.wait("COMPLETED")
    assert run.id == first.id


def test_a_killed_process(lab: Lab) -> None:
    """SIGKILL leaves no time to ask: who reads the run asks for the final state of the job."""
    job = lab.submit(KILLED, start="")
    lab.wait_for_state(job, "FAILED")
    (run,) = lab.wait("FAILED")
    with runbase.open(home=lab.home) as store:
        reason = store.run(run.id).history[-1].reason or ""
    assert f"Slurm job {job} ended with FAILED" in reason


def test_a_node_that_fails(lab: Lab) -> None:
    node = lab.cluster.ask("sinfo", "--noheader", "--format=%n")
    job = lab.submit(LONG, "--no-requeue")
    started(lab)
    lab.cluster.ask("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        lab.wait_for_state(job, "NODE_FAIL")
        lab.wait("NODE_FAIL")
    finally:
        lab.cluster.ask("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)


def test_the_tasks_of_a_step_log_into_one_run(lab: Lab) -> None:
    lab.submit(RANKS, "--ntasks=2", start="srun")
    (run,) = lab.wait("COMPLETED")
    assert {key: metric.count for key, metric in run.metrics.items()} == {
        "loss": 5,
        "loss/rank1": 5,
    }


def test_a_worker_that_is_cancelled_gives_its_trial_back(lab: Lab) -> None:
    with runbase.open(home=lab.home) as store:
        store.create_experiment("tuning").new_trial({"lr": 0.1})
    (lab.folder / "train.py").write_text(TRIAL)
    worker = f"-m runbase worker tuning --wait 0 -- {sys.executable} train.py"
    (lab.folder / "worker.sh").write_text(f"#!/bin/sh\n{sys.executable} {worker}\n")
    first = lab.cluster.ask("sbatch", "--parsable", "worker.sh", cwd=lab.folder)
    started(lab)
    lab.cluster.ask("scancel", first)
    lab.wait("PENDING")
    lab.wait_for_state(first, "CANCELLED")
    lab.cluster.ask("sbatch", "worker.sh", cwd=lab.folder)
    (run,) = lab.wait("COMPLETED")
    assert run.attempt == 2
