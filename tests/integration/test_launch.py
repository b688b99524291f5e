"""`runbase launch` with processes of this machine, on SQLite and PostgreSQL."""

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import runbase
from runbase.errors import NotFound, RunbaseError, RunbaseWarning, UsageError
from runbase.status import Phase, Status
from runbase.trials.experiment import Experiment
from runbase.trials.launchers.launch import Launch
from tests.patience import PATIENCE, wait_until

TRAINS = """
import pathlib, sys, time, runbase
with runbase.start_run("launched", capture=False) as run:
    run.log({"loss": 1.0})
    run.flush()
    pathlib.Path(f"begun{run.number}.{run.attempt}").touch()
    if len(sys.argv) > 1 and run.attempt == 1:
        time.sleep(float(sys.argv[1]))
    print("trained", run.number)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[runbase.Store]:
    if request.param == "postgres":
        monkeypatch.setenv("RUNBASE_STORE", request.getfixturevalue("postgres"))
    home.mkdir()
    (home.parent / "train.py").write_text(TRAINS)
    with runbase.open(home=home) as opened:
        yield opened
        for launch in (launch for e in opened.experiments() for launch in e.launches()):
            launch.cancel()


@pytest.fixture
def experiment(store: runbase.Store) -> Experiment:
    return store.create_experiment("tuning")


def end(launch: Launch) -> None:
    wait_until(lambda: launch.status().workers.over)


def begun(home: Path) -> int:
    return len(list(home.parent.glob("begun*")))


def test_workers_drain_a_queue_while_one_is_killed(
    store: runbase.Store, experiment: Experiment, home: Path
) -> None:
    experiment.new_trials([{"seconds": 600 if n == 0 else 0} for n in range(30)])
    launch = experiment.launch(
        ["sh", "-c", "touch begun{seconds}; test $RUNBASE_ATTEMPT -gt 1 || sleep {seconds}"],
        n=3,
        wait="3s",
        lease=2,
    )
    wait_until((home.parent / "begun600").exists)
    held = experiment.trial(1)
    pid = int(str(held.runner).rpartition(":")[2])
    command = psutil.Process(pid).children()
    os.kill(pid, signal.SIGKILL)
    assert launch.status().workers.running in (2, 3)
    _, alive = psutil.wait_procs(command, timeout=PATIENCE)  # the guard of the worker ends them
    assert alive == []
    end(launch)
    trials = store.runs("queued_at is not null", experiment="tuning", limit=None)
    assert len(trials) == 30
    for trial in map(store.run, trials):
        assert trial.status is Status.COMPLETED
        assert trial.tags == {"launch": launch.id}
        ends = [change for change in trial.history if change.status.phase is Phase.ENDED]
        assert len([change for change in ends if change.attempt == trial.attempt]) == 1
    assert store.run(held.id).attempt > 1  # 3 if a slow machine lost a lease
    state = launch.status()
    assert (state.workers.ended, state.workers.failed) == (2, 1)
    assert state.queue == state.runs == {"COMPLETED": 30}
    logs = launch.logs()
    assert list(logs) == ["0", "1", "2"]
    # More than 30 if a slow machine lost a lease of 2 s: both workers tell of their attempt.
    assert sum(text.count("COMPLETED") for text in logs.values()) >= 30


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="groups of processes are read from /proc")
def test_a_worker_whose_parent_was_killed_is_seen_and_cancelled(
    store: runbase.Store, experiment: Experiment, home: Path
) -> None:
    experiment.new_trials([{"n": n} for n in range(3)])
    launch = experiment.launch([sys.executable, "train.py", "600"], n=1)
    wait_until(lambda: begun(home) == 1)
    [[parent, _]] = launch.record.job["processes"]
    [worker] = psutil.Process(parent).children()
    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: worker.ppid() != parent)
    assert launch.status().workers.running == 1
    launch.cancel()
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
    assert launch.status().workers.over
    states = [(trial.status, trial.attempt) for trial in experiment.trials()]
    assert states == [(Status.PENDING, 2), (Status.PENDING, 1), (Status.PENDING, 1)]


def test_cancel_gives_trials_back(store: runbase.Store, experiment: Experiment, home: Path) -> None:
    experiment.new_trials([{"n": n} for n in range(3)])
    launch = experiment.launch([sys.executable, "train.py", "600"], n=2)
    wait_until(lambda: begun(home) == 2)
    [found] = experiment.launches()
    assert found.id == launch.id
    found.cancel()
    store.sync()
    assert found.status().workers.over
    assert found.status().workers.ended == 2
    states = [(trial.status, trial.attempt) for trial in experiment.trials()]
    assert states == [(Status.PENDING, 2), (Status.PENDING, 2), (Status.PENDING, 1)]
    experiment.cancel(3)
    end(experiment.launch([sys.executable, "train.py", "600"], n=2, max_parallel=1, time="1h"))
    assert {trial.status for trial in experiment.trials("number < 3")} == {Status.COMPLETED}


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_command_that_runs_once(store: runbase.Store, experiment: Experiment, home: Path) -> None:
    """Its trial is its own: a worker of the queue does not claim it, and it claims no other."""
    waiting = experiment.new_trial()
    done = experiment.launch([sys.executable, "train.py"], once=True)
    failing = experiment.launch(["sh", "-c", "exit 3"], once=True)
    late = experiment.launch(["sleep", "600"], once=True, time="1s")
    stopped = experiment.launch([sys.executable, "train.py", "600"], once=True)
    wait_until(lambda: begun(home) == 2)
    claim = experiment.claim_trial()
    assert claim is not None
    assert claim.id == waiting.id
    assert experiment.claim_trial() is None
    stopped.cancel()
    for launch in (done, failing, late):
        end(launch)
    store.sync()

    assert done.status().runs == {"COMPLETED": 1}
    run = store.run(str(done.record.trial))
    assert (run.status, run.exit_code, run.tags) == (Status.COMPLETED, 0, {"launch": done.id})
    assert run.metrics["loss"].last == 1.0
    folder = store.folder(run)
    assert folder is not None
    assert (folder / "output.log").read_text() == f"trained {run.number}\n"
    assert failing.status().workers.failed == 1
    assert store.run(str(failing.record.trial)).exit_code == 3
    assert store.run(str(late.record.trial)).status is Status.TIMEOUT
    assert store.run(str(stopped.record.trial)).status is Status.CANCELLED


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_what_cannot_be_launched(store: runbase.Store, experiment: Experiment) -> None:
    for wrong, what in (
        ({"n": 0}, "number of workers is 0"),
        ({"max_parallel": 0}, "max_parallel is 0"),
        ({"n": 2, "once": True}, "has one worker, not 2"),
        ({"time": "soon"}, "'soon' is not a time limit"),
        ({"mem": "lots"}, "'lots' is not a size"),
        ({"gpus": 1}, "use a scheduler with --on"),
        ({"command": ["no-such-program"]}, "'no-such-program' is not a program"),
        ({"command": ["./no-such-script"]}, "'./no-such-script' is not a program"),
        ({"on": "slum"}, "did you mean 'slurm'"),
        ({"on": "kubernetes"}, "needs --image"),
    ):
        with pytest.raises(UsageError, match=what):
            experiment.launch(**{"command": ["true"], **wrong})
    with pytest.raises(UsageError, match="no command"):
        experiment.launch([])
    with pytest.raises(UsageError, match="cannot use the store"):
        experiment.launch(["true"], on="kubernetes", image="lab/train")
    assert experiment.launches() == []


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_scheduler_that_is_not_here(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunbaseError, match="sinfo is not installed here"):
        experiment.launch(["true"], on="slurm")
    assert experiment.launches() == []
    with pytest.raises(NotFound, match="no launch 'abc'"):
        runbase.trials.launchers.launch.find(experiment._store, "abc")


def test_a_script_is_launched_in_a_new_folder(tmp_path: Path) -> None:
    """No `runbase init` is needed, as for a script; --dry-run creates nothing."""
    (tmp_path / "train.py").write_text("print('trained')")
    words = [sys.executable, "-m", "runbase", "launch"]
    command = ["--", sys.executable, "train.py"]
    dry = subprocess.run([*words, "--dry-run", *command], cwd=tmp_path, check=False)
    assert dry.returncode == 1
    assert not (tmp_path / ".runbase").exists()
    subprocess.run([*words, *command], cwd=tmp_path, check=True)
    with runbase.open(home=tmp_path / ".runbase") as store:
        [launch] = store.experiment("train").launches()
        end(launch)
        store.sync()
        [run] = store.runs()
        assert run.status is Status.COMPLETED


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_a_dry_run_without_the_scheduler(
    experiment: Experiment, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A laptop can show what the cluster would be asked, and says what it could not check."""
    words = ["launch", "tuning", "--on", "slurm", "-n", "4", "--home", str(home)]
    command = [sys.executable, "-m", "runbase", *words, "--dry-run", "--", "true"]
    shown = subprocess.run(
        command,
        env={**os.environ, "PATH": str(tmp_path), "RUNBASE_QUIET": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sbatch --parsable --array=0-3" in shown.stdout
    assert "not checked whether the workers can use the store: sinfo is not" in shown.stderr
    assert experiment.launches() == []


def test_a_misspelled_placeholder_is_named(store: runbase.Store, experiment: Experiment) -> None:
    command = ["sh", "-c", "true {lr} {layres}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end(experiment.launch(command))  # no trial waits: its parameters are not known
    experiment.new_trial({"lr": 0.1, "layers": 3})
    with pytest.warns(RunbaseWarning, match=r"contains \{layres\}.* are layers, lr"):
        end(experiment.launch(command))
    experiment.new_trial({"lr": 0.1, "layres": 3})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        end(experiment.launch(command))
