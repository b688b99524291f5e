"""Many runners on one queue: each trial is run once, also where runners are killed at random."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import runbase
from runbase.model import Run
from runbase.status import Phase, Status
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[runbase.Store]:
    if request.param == "postgres":
        monkeypatch.setenv("RUNBASE_STORE", request.getfixturevalue("postgres"))
    with runbase.open(home=home) as opened:
        yield opened


def wait(processes: list["subprocess.Popen[str]"]) -> None:
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err


EAGER = """
import runbase
experiment = runbase.open(sync=False).experiment('eager')
while (claim := experiment.claim_trial()) is not None:
    assert claim.finish(metrics={'n': claim.params['n']})
"""


def test_sixteen_processes_claim_thousands_of_trials(store: runbase.Store, script: Script) -> None:
    count = 5000 if store.url.startswith("sqlite") else 2000
    experiment = store.create_experiment("eager")
    experiment.new_trials([{"n": n} for n in range(count)])
    wait([script(EAGER) for _ in range(16)])
    trials = experiment.trials()
    assert [run.number for run in trials] == list(range(1, count + 1))
    assert {(run.status, run.attempt) for run in trials} == {(Status.COMPLETED, 1)}
    for run in trials:
        metric = run.metrics["n"]
        assert (metric.count, metric.last) == (1, run.params["n"])
    states = "select status, count(*) from status_history group by status"
    assert {row[0]: row[1] for row in store.sql(states)} == {
        "PENDING": count,
        "RUNNING": count,
        "COMPLETED": count,
    }
    assert len({run.runner for run in trials}) > 1


RUNNER = """
import time, runbase
store = runbase.open(sync=False)
experiment = store.experiment('deadly')
print('ready', flush=True)
while experiment.pending_trials(running=True, limit=1):
    with experiment.claim(lease=2, capture=False) as trial:
        if trial is None:
            time.sleep(0.05)
            continue
        for step in range(5):
            trial.log({'n': trial.params['n']}, step=step)
            time.sleep(0.04)
"""
TRIALS = 60


def test_runners_killed_at_random(store: runbase.Store, script: Script) -> None:
    """No trial is lost, each ends once, and the attempts are counted."""
    dice = random.Random(os.getpid())
    experiment = store.create_experiment("deadly")
    experiment.new_trials([{"n": n} for n in range(TRIALS)], retries=1000)
    runners = [script(RUNNER) for _ in range(4)]
    for runner in runners:
        assert runner.stdout is not None
        assert runner.stdout.readline() == "ready\n"
    kills = 0
    deadline = time.monotonic() + PATIENCE
    while waiting := experiment.pending_trials(running=True):
        assert time.monotonic() < deadline, "the queue does not become empty"
        time.sleep(dice.uniform(0.05, 0.3))
        if kills < 25:
            # Mostly a runner that holds a claim, so that some trials are tried again.
            claimed = {str(trial.runner).rpartition(":")[2] for trial in waiting}
            busy = [n for n, runner in enumerate(runners) if str(runner.pid) in claimed]
            victim = dice.choice(busy or range(len(runners)))
            runners[victim].send_signal(signal.SIGKILL)
            runners[victim].communicate()
            runners[victim] = script(RUNNER)
            kills += 1
    wait(runners)
    store.sync()
    trials = experiment.trials()
    assert len(trials) == TRIALS
    assert {run.status for run in trials} == {Status.COMPLETED}
    for run in map(store.run, trials):
        check(run)
        steps = store.metrics(run, "n").steps.tolist()
        assert steps[-5:] == list(range(steps[-1] - 4, steps[-1] + 1))
    assert sum(run.attempt for run in trials) > TRIALS, "some were tried more than once"


def check(run: Run) -> None:
    """Each attempt waited and was claimed once at most; the last one alone came to an end."""
    claims = Counter(c.attempt for c in run.history if "claimed by" in (c.reason or ""))
    assert claims == dict.fromkeys(range(1, run.attempt + 1), 1)
    # A runner killed when it had written the end of its attempt, and nobody knew of it yet, may have left
    # one of an earlier attempt: it is on record, and not what ended the trial.
    ends = Counter(c.attempt for c in run.history if c.status.phase is Phase.ENDED)
    assert ends[run.attempt] == 1
    assert set(ends.values()) == {1}


def test_a_trial_is_a_full_run(store: runbase.Store, tmp_path: Path) -> None:
    experiment = store.create_experiment("whole")
    trial = experiment.new_trial({"lr": 0.1})
    (tmp_path / "model.pt").write_bytes(b"weights")
    with experiment.claim("me", capture=["command"], tags=["mine"]) as run:
        assert run is not None
        assert run.id == trial.id
        assert run.params == {"lr": 0.1}
        assert not run.should_stop
        run.log({"loss": 0.5})
        run.log_params({"found": 7})
        run.log_artifact(tmp_path / "model.pt", kind="model")
    done = store.run(trial.id)
    assert (done.status, done.attempt, done.runner) == (Status.COMPLETED, 1, "me")
    assert done.params == {"lr": 0.1, "found": 7}
    assert [a.path for a in done.artifacts] == ["model.pt"]
    assert done.args["argv"]
    with experiment.claim() as nothing:
        assert nothing is None


def test_a_trial_that_raises_has_failed(store: runbase.Store) -> None:
    experiment = store.create_experiment("fails")
    trial = experiment.new_trial()
    with pytest.raises(ZeroDivisionError), experiment.claim(capture=False):
        _ = 1 / 0
    assert store.run(trial.id).status is Status.FAILED, "a mistake is not tried again"
    experiment.requeue(trial)
    with experiment.claim(capture=False) as run:
        assert run is not None
        run.log({"loss": 1})
    done = store.run(trial.id)
    assert (done.status, done.attempt, done.error) == (Status.COMPLETED, 2, None)


def test_a_cancelled_trial_tells_its_run(store: runbase.Store) -> None:
    experiment = store.create_experiment("stops")
    trial = experiment.new_trial()
    claim = experiment.claim_trial(lease=1)
    assert claim is not None
    run = claim.start(capture=False)
    experiment.cancel(trial)
    deadline = time.monotonic() + PATIENCE
    with pytest.warns(RuntimeWarning, match="lost"):  # from the thread that renews it
        while not run.should_stop:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    run.finish("CANCELLED")
    assert store.run(trial.id).status is Status.CANCELLED


def test_a_trial_handed_to_another_program(store: runbase.Store, home: Path) -> None:
    """As a worker does: the trial's id and attempt are in the environment."""
    experiment = store.create_experiment("handed")
    trial = experiment.new_trial({"lr": 0.5})
    code = "import runbase\nwith runbase.start_run(capture=False) as run: run.log({'lr': run.params['lr']})"
    with experiment.claim(capture=False) as run:
        assert run is not None
        handed = {**os.environ, "RUNBASE_RUN_ID": run.id, "RUNBASE_ATTEMPT": "1"}
        subprocess.run([sys.executable, "-c", code], env=handed, check=True, cwd=home.parent)
        assert store.run(trial.id).status is Status.RUNNING, "the runner says when it is over"
    store.sync()
    done = store.run(trial.id)
    assert (done.status, done.metrics["lr"].last) == (Status.COMPLETED, 0.5)
