"""How runs end, each way in a process of its own."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import runbase
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]

BEGIN = "import os, signal, sys, time, runbase\nrun = runbase.start_run('ends', capture=False)\nrun.log({'x': 1})\n"


def ended(process: "subprocess.Popen[str]", home: Path) -> runbase.Store:
    process.communicate(timeout=PATIENCE)
    return runbase.open(home=home)


@pytest.mark.parametrize(
    ("code", "status", "exit_code", "error"),
    [
        ("", "COMPLETED", 0, None),
        ("run.finish()", "COMPLETED", 0, None),
        ("run.finish('pruned')", "PRUNED", 0, None),
        ("run.finish(3)", "FAILED", 0, None),
        ("run.finish(error='no data')", "FAILED", 0, "error"),
        ("raise ValueError('bad')", "FAILED", 1, "ValueError"),
        ("with run: raise ValueError('bad')", "FAILED", 1, "ValueError"),
        ("with run: pass", "COMPLETED", 0, None),
        ("sys.exit(3)", "FAILED", 3, None),
        ("sys.exit('words')", "FAILED", 1, None),
        ("sys.exit(0)", "COMPLETED", 0, None),
        ("with run: sys.exit(3)", "FAILED", 3, None),
        ("with run: raise SystemExit(4)", "FAILED", 4, None),
        ("raise KeyboardInterrupt", "CANCELLED", 130, "KeyboardInterrupt"),
        ("with run: raise KeyboardInterrupt", "CANCELLED", 130, "KeyboardInterrupt"),
        ("raise MemoryError", "OUT_OF_MEMORY", 1, "MemoryError"),
        (
            "class OutOfMemoryError(RuntimeError): pass\nraise OutOfMemoryError",
            "OUT_OF_MEMORY",
            1,
            "OutOfMemoryError",
        ),
        ("raise RuntimeError('CUDA out of memory. Tried')", "OUT_OF_MEMORY", 1, "RuntimeError"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", "CANCELLED", 143, None),
        ("with run: os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", "CANCELLED", 143, None),
        (
            "os.kill(os.getpid(), signal.SIGINT); time.sleep(60)",
            "CANCELLED",
            130,
            "KeyboardInterrupt",
        ),
        ("os._exit(9)", "NODE_FAIL", 9, None),
        ("os.kill(os.getpid(), signal.SIGKILL)", "NODE_FAIL", -9, None),
    ],
)
def test_ends(
    script: Script, home: Path, code: str, status: str, exit_code: int, error: str | None
) -> None:
    process = script(BEGIN + code)
    with ended(process, home) as store:
        (run,) = store.runs()
        assert run.status.value == status
        assert (run.error or {}).get("type") == error
        assert run.metrics["x"].last == 1
        assert run.ended_at is not None
    if exit_code == 130:
        assert process.returncode in (130, -signal.SIGINT)
    else:
        assert process.returncode == exit_code


def test_the_error_is_told_in_full(script: Script, home: Path) -> None:
    code = "def train():\n    raise ValueError('the data are empty')\ntrain()\n"
    with ended(script(BEGIN + code), home) as store:
        error = store.run(store.runs()[0].id).error
    assert error is not None
    assert error["message"] == "the data are empty"
    assert "in train" in error["traceback"]


@pytest.mark.parametrize(
    ("ends", "code", "status"),
    [
        ({"normal": "PRUNED"}, "", "PRUNED"),
        ({"exception": "REVOKED"}, "raise ValueError", "REVOKED"),
        ({"interrupt": "PREEMPTED"}, "raise KeyboardInterrupt", "PREEMPTED"),
        ({"terminate": "PREEMPTED"}, "os.kill(os.getpid(), 15); time.sleep(60)", "PREEMPTED"),
    ],
)
def test_each_can_be_overridden(
    script: Script, home: Path, ends: dict[str, str], code: str, status: str
) -> None:
    begin = BEGIN.replace("capture=False", f"capture=False, ends={ends!r}")
    with ended(script(begin + code), home) as store:
        assert store.runs()[0].status.value == status


def test_what_is_no_end(home: Path) -> None:
    with pytest.raises(runbase.UsageError, match="'RUNNING' is not a final status"):
        runbase.start_run("e", home=home, ends={"normal": "RUNNING"})
    with pytest.raises(runbase.UsageError, match="did you mean 'exception'"):
        runbase.start_run("e", home=home, ends={"exeption": "FAILED"})
    assert not home.exists()


def test_a_handler_that_was_there_still_runs(script: Script, home: Path) -> None:
    code = "import signal\nsignal.signal(15, lambda *_: print('mine', flush=True))\n" + BEGIN
    process = script(code + "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)")
    out, _ = process.communicate(timeout=PATIENCE)
    assert out == "mine\n"
    assert process.returncode == 143
    with runbase.open(home=home) as store:
        assert store.runs()[0].status.value == "CANCELLED"


@pytest.mark.parametrize(
    ("environment", "scontrol", "status"),
    [
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=PREEMPTED Reason=x", "PREEMPTED"),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=TIMEOUT Reason=x", "TIMEOUT"),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=RUNNING Reason=x", "CANCELLED"),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=COMPLETING Reason=TimeLimit", "TIMEOUT"),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=COMPLETING Reason=None EndTime=1", "CANCELLED"),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=COMPLETING Reason=None Restarts=1", "PREEMPTED"),
        (
            {"SLURM_JOB_ID": "7", "SLURM_RESTART_COUNT": "1"},
            "JobId=7 JobState=COMPLETING Reason=None Restarts=1",
            "CANCELLED",
        ),
        (
            {"SLURM_JOB_ID": "7"},
            "JobId=7 JobState=RUNNING Reason=None EndTime=1700000000",
            "TIMEOUT",
        ),
        ({"SLURM_JOB_ID": "7"}, "JobId=7 JobState=COMPLETING Reason=NodeDown", "NODE_FAIL"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "1700000000"}, "", "TIMEOUT"),
        ({"SLURM_JOB_ID": "7", "SLURM_JOB_END_TIME": "99999999999"}, "", "CANCELLED"),
    ],
)
def test_what_slurm_says_of_a_sigterm(
    script: Script,
    home: Path,
    tmp_path: Path,
    environment: dict[str, str],
    scontrol: str,
    status: str,
) -> None:
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho '{scontrol}'\n")
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    code = BEGIN + "os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)"
    process = script(code, PATH=path, **environment)
    with ended(process, home) as store:
        assert store.runs()[0].status.value == status
    assert process.returncode == 143


def test_a_forked_child_does_not_end_its_parents_run(script: Script, home: Path) -> None:
    code = """
child = os.fork()
if child == 0:
    run.log({'child': 5}, step=1)
    sys.exit(3)
os.waitpid(child, 0)
run.log({'x': 2})
"""
    with ended(script(BEGIN + code), home) as store:
        (run,) = store.runs()
        assert run.status.value == "COMPLETED"
        assert (run.metrics["x"].count, run.metrics["child"].last) == (2, 5)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("end", "status"), [("pass", "COMPLETED"), ("raise ValueError('x')", "FAILED")]
)
def test_a_run_inside_multiprocessing(
    script: Script, home: Path, method: str, end: str, status: str
) -> None:
    code = f"""
import multiprocessing, runbase
def work():
    run = runbase.start_run('inner', capture=False)
    run.log({{'x': 1}})
    {end}
if __name__ == '__main__':
    process = multiprocessing.get_context('{method}').Process(target=work)
    process.start(); process.join()
"""
    with ended(script(code), home) as store:
        assert store.runs()[0].status.value == status


def test_several_runs_end_together(script: Script, home: Path) -> None:
    code = BEGIN + "other = runbase.start_run('ends', capture=False)\nraise ValueError('both')"
    with ended(script(code), home) as store:
        assert [run.status.value for run in store.runs()] == ["FAILED", "FAILED"]


def test_the_database_is_plain_sqlite(script: Script, home: Path) -> None:
    ended(script(BEGIN), home).close()
    bare = sqlite3.connect(home / "runbase.db")
    rows = bare.execute(
        "select r.status, m.key, m.value from metrics m join runs r on r.id = m.run_id"
    )
    assert rows.fetchall() == [("COMPLETED", "x", 1)]
