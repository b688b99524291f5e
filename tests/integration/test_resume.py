"""Runs that are resumed after they were killed, failed or completed."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.ingest.journals import ingest_journal
from runbase.journal import files
from tests.integration.processes import LOGS, kill_after

Script = Callable[..., "subprocess.Popen[str]"]


def test_resume_after_a_kill(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "logs.py"
    path.write_text(LOGS)
    process = subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE)
    run_id, acknowledged = kill_after(process, 0.1)
    for store_url in ("none", None):
        again = runbase.start_run(resume=run_id[:20], home=home, store=store_url, capture=False)
        assert (again.id, again.experiment) == (run_id, "kill")
        again.log({"loss": -1.0})
        again.finish()
    with runbase.open(home=home) as store:
        assert len(store.runs()) == 1
        record = store.run(run_id)
        assert record.status.value == "COMPLETED"
        series = store.metrics(run_id, "loss", every=True)
        np.testing.assert_array_equal(series.steps, np.arange(len(series)))
        assert series.values[-2:].tolist() == [-1.0, -1.0]
        assert len(series) > acknowledged + 2


def test_resume_by_name_and_what_cannot_be(home: Path) -> None:
    with runbase.start_run("e", name="first", home=home, capture=False) as run:
        run.log({"x": 1}, step=41)
    with runbase.start_run(resume="first", home=home, capture=False) as again:
        assert again.id == run.id
        again.log({"x": 2})
    with runbase.open(home=home) as store:
        assert store.metrics(run.id, "x").steps.tolist() == [41, 42]
    with pytest.raises(runbase.NotFound, match="did you mean 'first'"):
        runbase.start_run(resume="firts", home=home)


def test_a_run_that_failed_at_length_and_was_resumed_is_completed(home: Path) -> None:
    with (
        pytest.raises(ValueError, match="long"),
        runbase.start_run("again", home=home, capture=False) as run,
    ):
        run.log({"loss": 1.0})
        raise ValueError("long " * 5000)
    assert runbase.open(home=home).run(run.id).status == "FAILED"
    with runbase.start_run(resume=run.id, home=home, capture=False) as again:
        again.log({"loss": 0.5})
    with runbase.open(home=home) as store:
        assert store.run(run.id).status == "COMPLETED"
        assert store.run(run.id).error is None


@pytest.mark.parametrize("ahead", [3600.0, -3600.0])
@pytest.mark.parametrize("end", ["preempted", "killed"])
def test_a_resumed_run_is_completed_whatever_the_clock_of_its_first_process_said(
    home: Path, script: Script, ahead: float, end: str
) -> None:
    process = script(
        f"import os, time\n"
        f"now = time.time\n"
        f"time.time = lambda: now() + {ahead}\n"
        f"import runbase\n"
        f"run = runbase.start_run('again', home={str(home)!r}, store='none', capture=False)\n"
        f"run.log({{'loss': 1.0}})\n"
        + ("run.finish('PREEMPTED')\n" if end == "preempted" else "os.kill(os.getpid(), 9)\n")
    )
    process.communicate()
    [folder] = (home / "runs").glob("*/*")
    with runbase.start_run(resume=folder.name, home=home, store="none", capture=False) as run:
        run.log({"loss": 0.5})
    first, second = files(run.folder)
    for order in ([first, second], [second, first]):  # a scanner may meet either first
        with runbase.open("sqlite://") as store:
            for path in order:
                ingest_journal(store.storage, path)
            record = store.run(run.id)
            assert (record.status, record.alive) == ("COMPLETED", False)
            assert record.metrics["loss"].last == 0.5


@pytest.mark.parametrize("end", ["failed", "killed"])
def test_the_time_before_a_run_was_resumed_does_not_count(
    home: Path, script: Script, end: str
) -> None:
    process = script(
        f"import os, time, runbase\n"
        f"run = runbase.start_run('again', home={str(home)!r}, capture=False)\n"
        f"run.log({{'loss': 1.0}})\n"
        f"time.sleep(0.2)\n"
        f"run.log({{'loss': 1.0}})\n"
        + ("run.finish('FAILED')\n" if end == "failed" else "os.kill(os.getpid(), 9)\n")
    )
    process.communicate()
    with runbase.open(home=home) as store:
        (dead,) = store.runs()
        assert dead.seconds == dead.elapsed
        assert dead.seconds is not None
    time.sleep(1.5)
    with runbase.start_run(resume=dead.id, home=home, capture=False) as run:
        run.log({"loss": 0.5})
    with runbase.open(home=home) as store:
        record = store.run(run.id)
        assert record.status == "COMPLETED"
        assert record.seconds is not None
        assert record.elapsed is not None
        assert record.elapsed - record.seconds >= 1.4
        assert record.elapsed - record.seconds == pytest.approx(record.dead_seconds, abs=0.01)
        assert len(store.runs(f"seconds < {record.seconds + 0.1} and elapsed > 1.5")) == 1
        row = store.sql("select seconds, elapsed from run_summary")[0]
        assert [float(value) for value in row] == [
            pytest.approx(record.seconds, abs=0.01),
            pytest.approx(record.elapsed, abs=0.01),
        ]
    # In whatever order the journals come in.
    (home / "runbase.db").unlink()
    first = run.folder / "journal.jsonl"
    first.rename(home / "aside")
    runbase.open(home=home).close()
    (home / "aside").rename(first)
    with runbase.open(home=home) as store:
        assert store.run(run.id).dead_seconds == pytest.approx(record.dead_seconds, abs=0.01)
