"""Ranks above 0 of a run that rank 0 does not begin, or begins late."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import runbase
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]

RANK = """
import os, sys, runbase
run = runbase.start_run('ranks', capture=False)
for step in range(10):
    run.log({f"loss/{os.environ['RANK']}": 1.0})
run.flush()
print('logged', flush=True)
if sys.stdin.readline() == 'fail\\n':
    raise ValueError('no leader')
run.finish()
"""


def rank(script: Script, number: int) -> "subprocess.Popen[str]":
    """Start a rank; it has logged, and waits for a line."""
    process = script(RANK, RUNBASE_RUN_ID="job-1", RANK=str(number))
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    return process


def end(process: "subprocess.Popen[str]", word: str = "go") -> None:
    _, err = process.communicate(f"{word}\n", timeout=PATIENCE)
    assert process.returncode == (word != "go"), err


def status(home: Path) -> str:
    with runbase.open(home=home) as store:
        return store.run("job-1").status.value


def wait_for(home: Path, wanted: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while (found := status(home)) != wanted:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


@pytest.mark.parametrize(("word", "ended"), [("go", "COMPLETED"), ("fail", "FAILED")])
def test_a_rank_without_a_leader_ends_its_run(
    home: Path, script: Script, word: str, ended: str
) -> None:
    end(rank(script, 1), word)
    assert status(home) == ended
    with runbase.open(home=home) as store:
        assert [change.status.value for change in store.run("job-1").history][-2:] == [
            "RUNNING",
            ended,
        ]


def test_a_killed_rank_without_a_leader_is_lost(home: Path, script: Script) -> None:
    process = rank(script, 1)
    wait_for(home, "RUNNING")
    process.kill()
    process.wait()
    assert status(home) == "NODE_FAIL"


def test_a_leader_that_comes_late_begins_and_ends_the_run(home: Path, script: Script) -> None:
    other = rank(script, 1)
    wait_for(home, "RUNNING")
    leader = rank(script, 0)
    end(other)
    assert status(home) == "RUNNING", "rank 0 ends the run"
    end(leader)
    with runbase.open(home=home) as store:
        run = store.run("job-1")
        assert run.status.value == "COMPLETED"
        assert {key: metric.last_step for key, metric in run.metrics.items()} == {
            "loss/0": 9,
            "loss/1": 9,
        }, "rank 0 counts its steps from 0"


def test_a_leader_after_the_others_have_ended(home: Path, script: Script) -> None:
    end(rank(script, 1))
    leader = rank(script, 0)
    wait_for(home, "RUNNING")
    end(leader)
    assert status(home) == "COMPLETED"


def test_two_ranks_without_a_leader(home: Path, script: Script) -> None:
    ranks = [rank(script, 1), rank(script, 2)]
    for process in ranks:
        end(process)
    assert status(home) == "COMPLETED"
