"""Which runs are alive: by their process, by their heartbeat, by the database."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import runbase
from runbase.ingest.liveness import this_process

Script = Callable[..., "subprocess.Popen[str]"]


def test_a_paused_process_lives_and_a_killed_one_does_not(script: Script, home: Path) -> None:
    code = (
        "import runbase, sys, time\n"
        "run = runbase.start_run('pause', capture=False)\n"
        "run.log({'x': 1})\n"
        "print(run.id, flush=True)\n"
        "time.sleep(600)\n"
    )
    process = script(code)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.send_signal(signal.SIGSTOP)
    old = time.time() - 3600
    (beat,) = home.glob("runs/*/*/heartbeat")
    os.utime(beat, (old, old))  # an hour without a heartbeat, as after a long pause
    with runbase.open(home=home) as store:
        assert store.run(run).status.value == "RUNNING"
    process.kill()
    process.wait()
    with runbase.open(home=home) as store:
        record = store.run(run)
        assert record.status.value == "NODE_FAIL"
        assert str(process.pid) in (record.history[-1].reason or "")


def test_a_killed_process_of_a_slurm_job(
    script: Script, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves no word; Slurm still knows that the job was out of memory."""
    code = (
        "import runbase, sys, time\n"
        "run = runbase.start_run('job', capture=['slurm'])\n"
        "run.flush()\n"
        "print(run.id, flush=True)\n"
        "time.sleep(600)\n"
    )
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho 4711 OUT_OF_MEMORY\n")
    squeue.chmod(0o755)
    process = script(code, SLURM_JOB_ID="4711")
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.kill()
    process.wait()
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=":")
    with runbase.open(home=home) as store:
        record = store.run(run)
        assert record.status.value == "OUT_OF_MEMORY"
        assert (record.history[-1].reason or "").endswith(
            "exited without closing the run; Slurm job 4711 ended with OUT_OF_MEMORY"
        )


def test_runs_on_other_hosts_by_their_heartbeat(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Liveness by the file server's clock: no host's own clock can make a living run look dead."""
    from runbase.events import Process
    from runbase.run import resolve

    here = this_process()
    monkeypatch.setattr(
        resolve, "this_process", lambda: Process("other-host", 1, here.started, "b n")
    )
    run = runbase.start_run("far", home=home, capture=False)
    run.log({"x": 1})
    run.flush()
    beat = run.folder / "heartbeat"
    with runbase.open(home=home) as store:
        assert store.run(run.id).status.value == "RUNNING"
        for clock in (3600, -3600):
            monkeypatch.setattr(time, "time", lambda clock=clock: time.time_ns() / 1e9 + clock)
            store.sync()
            monkeypatch.undo()
            assert store.run(run.id).status.value == "RUNNING"
        now = beat.stat().st_mtime
        os.utime(beat, (now - 400, now - 400))
        assert store.sync().lost == 1
        record = store.run(run.id)
        assert record.status.value == "NODE_FAIL"
        os.utime(beat)
        assert store.sync().found_alive == 1
        assert store.run(run.id).status.value == "RUNNING"


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
def test_runs_out_of_reach_by_the_database(
    home: Path, tmp_path: Path, dialect: str, request: pytest.FixtureRequest
) -> None:
    """Without access to processes or folders, the shared database tells whether a run is alive."""
    database = f"sqlite:///{tmp_path}/team.db"
    if dialect == "postgres":
        database = request.getfixturevalue("postgres")
    run = runbase.start_run("far", home=home, store=database, capture=False)
    run.log({"x": 1})
    run.flush()
    run._monitor.record_heartbeat()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with runbase.open(database, home=elsewhere) as store:
        store.sql("update journals set host = 'other'", write=True)
        late = "update runs set beat_at = '2020-01-01T00:00:00.000000Z'"
        assert store.sync().lost == 0
        assert store.run(run.id).alive
        store.sql(late, write=True)
        if dialect == "sqlite":  # a server that began a moment ago has heard of nobody yet
            assert store.sync().lost == 1
            assert store.run(run.id).status.value == "NODE_FAIL"
            assert "no heartbeat for" in (store.run(run.id).history[-1].reason or "")
        run._monitor.record_heartbeat()
        assert store.run(run.id).status.value == "RUNNING"
        assert store.sync().lost == 0
    run.finish()
