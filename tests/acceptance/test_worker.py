"""`runbase worker` and `runbase queue`: real commands, run for real trials."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import runbase
from runbase.status import Status
from runbase.trials.commands import fill
from runbase.trials.experiment import Experiment
from tests.patience import PATIENCE, wait_until


@pytest.fixture(params=["sqlite", "postgres"])
def store(
    request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[runbase.Store]:
    if request.param == "postgres":
        monkeypatch.setenv("RUNBASE_STORE", request.getfixturevalue("postgres"))
    home.mkdir()
    with runbase.open(home=home) as opened:
        yield opened


@pytest.fixture
def experiment(store: runbase.Store) -> Experiment:
    return store.create_experiment("tuning")


def worker(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "runbase", "worker", "tuning", *arguments]


def work(*arguments: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        worker("--wait", "0", *arguments), capture_output=True, text=True, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def output(store: runbase.Store, run: Any) -> str:
    folder = store.folder(store.run(run))
    assert folder is not None
    return (folder / "output.log").read_text()


def test_parameters_reach_the_command(store: runbase.Store, experiment: Experiment) -> None:
    trial = experiment.new_trial({"lr": 0.1, "name": "a b", "deep": {"on": True}})
    code = (
        "import json, os, sys; print(sys.argv[1:]); print(json.load(open(sys.argv[-1])) == "
        "json.loads(os.environ['RUNBASE_PARAMS'])); print(os.environ['RUNBASE_PARAM_DEEP_ON'])"
    )
    done = work("--", sys.executable, "-c", code, "{params}", "x={lr}{name}", "{file}")
    assert "trial 1: COMPLETED" in done.stdout
    assert "1 trial done" in done.stdout
    text = output(store, trial)
    assert "['--deep/on=true', '--lr=0.1', '--name=a b', 'x=0.1a b'," in text
    assert "True\ntrue\n" in text
    assert text in done.stdout, "it is shown as well"
    run = store.run(trial.id)
    assert (run.status, run.exit_code, run.attempt) == (Status.COMPLETED, 0, 1)


def test_words_are_filled_in(tmp_path: Path) -> None:
    params = {"lr": 1e-05, "opt": "it's", "none": None}
    assert fill(["{lr}", "a{opt}b", "{unknown}", "{}", "{none}"], params, tmp_path) == [
        "1e-05",
        "ait'sb",
        "{unknown}",
        "{}",
        "null",
    ]
    assert fill(["sh", "-c", "run {params}"], {"o": "it's"}, tmp_path) == [
        "sh",
        "-c",
        "run --o='it'\"'\"'s'",
    ]


def test_how_commands_end(store: runbase.Store, experiment: Experiment) -> None:
    ends = ["exit 0", "exit 3", "kill -9 $$", "sleep 60", "exec python-of-nowhere"]
    ids = experiment.new_trials([{"end": end} for end in ends])
    done = work("--time-limit", "5s", "--json", "--", "sh", "-c", "{end}")
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["status"] for one in told] == [
        "COMPLETED",
        "FAILED",
        "FAILED",
        "TIMEOUT",
        "FAILED",
    ]
    assert [one["exit_code"] for one in told] == [0, 3, -9, -15, 127]
    runs = [store.run(key) for key in ids]
    assert [run.status.value for run in runs] == [one["status"] for one in told]
    assert [run.exit_code for run in runs] == [0, 3, -9, -15, 127]
    errors = [run.error["message"] if run.error else "" for run in runs]
    assert "SIGKILL" in errors[2]
    assert "more than 5 s" in errors[3]
    assert "not found" in output(store, ids[4])


def test_a_program_that_is_not_there(store: runbase.Store, experiment: Experiment) -> None:
    trial = experiment.new_trial()
    work("--", "no-such-program")
    run = store.run(trial.id)
    assert run.status is Status.FAILED
    assert run.error is not None
    assert "cannot start 'no-such-program'" in run.error["message"]


def test_the_command_of_a_killed_worker_ends(
    store: runbase.Store, experiment: Experiment, tmp_path: Path
) -> None:
    """Otherwise it would run beside the next attempt at its trial."""
    trial = experiment.new_trial()
    noted = tmp_path / "pids"
    code = f"sleep 600 & echo $$ $! > {noted}.new; mv {noted}.new {noted}; wait"
    process = subprocess.Popen(worker("--lease", "1", "--", "sh", "-c", code))
    wait_until(noted.exists)
    commands = [int(word) for word in noted.read_text().split()]
    assert all(map(psutil.pid_exists, commands))
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(_lives, commands)))
    work("--wait", "5", "--", "true")
    run = store.run(trial.id)
    assert (run.status, run.attempt) == (Status.COMPLETED, 2)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_limit_of_memory(store: runbase.Store, experiment: Experiment) -> None:
    trial = experiment.new_trial()
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = b\"1\" * 3 * 10**8; input()'], stdin=subprocess.PIPE)"
    hungry = code.replace("input()", "import time; time.sleep(60)")
    work("--memory-limit", "200M", "--", sys.executable, "-c", hungry)
    run = store.run(trial.id)
    assert run.status is Status.OUT_OF_MEMORY
    assert run.error is not None
    assert "more than the limit of 209,715,200" in run.error["message"]


def test_a_command_that_uses_runbase(store: runbase.Store, experiment: Experiment) -> None:
    trial = experiment.new_trial({"lr": 0.25})
    code = (
        "import runbase\nwith runbase.start_run('ignored') as run:\n"
        "    print('hello')\n    run.log({'loss': run.params['lr'] * 2})\n"
    )
    work("-q", "--", sys.executable, "-c", code)
    store.sync()
    run = store.run(trial.id)
    assert (run.status, run.metrics["loss"].last) == (Status.COMPLETED, 0.5)
    assert output(store, trial).count("hello") == 1
    assert store.count() == 1


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_trial_back(
    store: runbase.Store, experiment: Experiment, sign: signal.Signals, tmp_path: Path
) -> None:
    trial = experiment.new_trial(retries=0)
    mark = tmp_path / "pid"
    command = worker("--", "sh", "-c", f"echo $$ > {mark}; exec sleep 60")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until(lambda: mark.exists() and mark.read_text().strip() != "")
    process.send_signal(sign)
    out, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + sign
    assert "released" in out
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)
    store.sync()
    run = store.run(trial.id)
    assert (run.status, run.attempt) == (Status.PENDING, 2)
    work("--", "true")
    assert store.run(trial.id).status is Status.COMPLETED


TRAINS = """
import pathlib, sys, time, runbase
with runbase.start_run("w", capture=False) as run:
    run.log({"loss": 1.0})
    run.flush()
    if run.attempt == 1:
        pathlib.Path(sys.argv[1]).touch()
        time.sleep(600)
"""


@pytest.mark.parametrize("first", ["worker", "command"])
def test_a_script_that_logs_to_its_trial_gives_it_back(
    store: runbase.Store, experiment: Experiment, tmp_path: Path, first: str
) -> None:
    """A scheduler signals all processes of a job: the command may end before the worker is stopped."""
    trial = experiment.new_trial(retries=0)
    mark, script = tmp_path / "mark", tmp_path / "train.py"
    script.write_text(TRAINS)
    command = [sys.executable, str(script), str(mark)]
    process = subprocess.Popen(worker("--", *command), stdout=subprocess.PIPE, text=True)
    until(mark.exists)
    if first == "command":
        for child in psutil.Process(process.pid).children():
            child.terminate()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=PATIENCE)
    assert "released" in out
    store.sync()
    run = store.run(trial.id)
    assert (run.status, run.attempt) == (Status.PENDING, 2)
    work("--", *command)
    store.sync()
    assert store.run(trial.id).status is Status.COMPLETED


def test_a_cancelled_trial_is_ended(
    store: runbase.Store, experiment: Experiment, tmp_path: Path
) -> None:
    trial = experiment.new_trial()
    mark = tmp_path / "begun"
    command = worker("--lease", "1", "--wait", "0", "--", "sh", "-c", f"touch {mark}; sleep 60")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until(mark.exists)
    experiment.cancel(trial)
    out, _ = process.communicate(timeout=PATIENCE)
    assert "trial 1: CANCELLED" in out
    assert store.run(trial.id).status is Status.CANCELLED


def test_workers_side_by_side(store: runbase.Store, experiment: Experiment) -> None:
    experiment.new_trials([{"n": n} for n in range(12)])
    workers = [
        subprocess.Popen(worker("--wait", "0", "-q", "--", "sh", "-c", "echo {n}"))
        for _ in range(3)
    ]
    assert [one.wait(timeout=PATIENCE) for one in workers] == [0, 0, 0]
    runs = experiment.trials()
    assert {(run.status, run.attempt) for run in runs} == {(Status.COMPLETED, 1)}
    assert [output(store, run).strip() for run in runs] == [str(n) for n in range(12)]


def test_queues_of_experiments_of_one_name(store: runbase.Store, experiment: Experiment) -> None:
    """They are not added up."""
    other = store.create_experiment(experiment.name)
    experiment.new_trials([{"x": x} for x in range(3)])
    other.new_trials([{"x": x} for x in range(5)])
    command = [sys.executable, "-m", "runbase", "queue", "--json"]

    def look(*words: str) -> dict[str, dict[str, int]]:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["experiments"]

    assert look() == {
        f"{experiment.name} ({experiment.id})": {"PENDING": 3},
        f"{experiment.name} ({other.id})": {"PENDING": 5},
    }
    assert look(other.id) == {experiment.name: {"PENDING": 5}}


def test_what_a_queue_shows(store: runbase.Store, experiment: Experiment) -> None:
    command = [sys.executable, "-m", "runbase", "queue"]
    assert "no trials" in subprocess.run(command, capture_output=True, text=True, check=True).stdout
    experiment.new_trials([{"n": n} for n in range(3)])
    experiment.claim_trial("node-7")
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "tuning" in shown
    assert "node-7" in shown
    found = subprocess.run(
        [*command, "tuning", "--json"], capture_output=True, text=True, check=True
    )
    document = json.loads(found.stdout)
    assert document["experiments"] == {"tuning": {"PENDING": 2, "RUNNING": 1}}
    assert document["running"][0]["runner"] == "node-7"


def test_bad_input(store: runbase.Store, experiment: Experiment) -> None:
    for arguments, what in [
        (["--time-limit", "soon", "--", "true"], "'soon' is not a duration"),
        (["--memory-limit", "lots", "--", "true"], "'lots' is not a size"),
    ]:
        done = subprocess.run(worker(*arguments), capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert what in done.stderr


def test_a_worker_of_one_trial(store: runbase.Store, experiment: Experiment) -> None:
    first, second, third = experiment.new_trials([{"end": "exit 0"}, {"end": "exit 3"}, {}])
    work("--trial", second, "--", "sh", "-c", "{end}", code=1)
    assert store.run(second).exit_code == 3
    work("--trial", second, "--", "true")  # it has ended
    assert {store.run(key).status for key in (first, third)} == {Status.PENDING}
    done = work("--trial", third, "--stop-after", "0.5s", "--", "sleep", "600", code=1)
    assert "TIMEOUT" in done.stdout
    assert store.run(third).status is Status.TIMEOUT


def test_a_worker_whose_time_is_over_gives_its_trial_back(
    store: runbase.Store, experiment: Experiment
) -> None:
    trial = experiment.new_trial()
    assert "1 released" in work("--stop-after", "0.5s", "--", "sleep", "600").stdout
    run = store.run(trial.id)
    assert (run.status, run.attempt) == (Status.PENDING, 2)


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_unknown_placeholder_is_told(store: runbase.Store, experiment: Experiment) -> None:
    experiment.new_trial({"x": 1})
    done = work("--", "echo", "{nope}", "{x}")
    assert (
        "contains {nope}, which is passed on as it is: the parameters of the trial are x"
        in done.stderr
    )


def test_a_run_knows_its_trial(store: runbase.Store, experiment: Experiment) -> None:
    experiment.new_trial({"x": 1})
    code = (
        "import runbase\n"
        "with runbase.start_run() as run: run.log_params({'was': [run.number, run.attempt, run.runner]})\n"
        "with runbase.start_run('other') as run: assert run.number is run.runner is None"
    )
    work("--runner", "node7", "--", sys.executable, "-c", code)
    store.sync()
    (trial,) = experiment.trials()
    assert trial.params["was"] == [1, 1, "node7"]


def test_a_worker_suggests_for_itself(store: runbase.Store, experiment: Experiment) -> None:
    store.update_experiment(
        experiment, objectives={"loss": "min"}, space={"x": runbase.space.Int(1, 3)}
    )
    experiment.new_trial({"x": 2})  # what waits comes first, and is not suggested again
    code = "import runbase, sys; runbase.start_run(); runbase.log({'loss': int(sys.argv[1])})"
    done = work("--sampler", "grid", "--", sys.executable, "-c", code, "{x}")
    assert done.stdout.splitlines()[-1] == "3 trials done"
    store.sync()
    assert [(run.params["x"], run.metrics["loss"].last) for run in experiment.trials()] == [
        (2, 2),
        (1, 1),
        (3, 3),
    ]
    done = work("--sampler", "optuna:random", "--count=2", "--", sys.executable, "-c", code, "{x}")
    assert "study" not in done.stdout + done.stderr, "Optuna's own messages"
    assert len(experiment.trials()) == 5
    work("--sampler", "tpe", "--", "true", code=2)
