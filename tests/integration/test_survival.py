"""Nothing that was acknowledged is ever lost: kill -9, many processes, full disks, lost databases."""

import json
import os
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.errors import StoreCorrupt
from runbase.ingest.journals import ingest_journal
from runbase.ingest.liveness import this_process
from runbase.ingest.sync import sync
from runbase.journal import files
from runbase.storage.open import open_storage
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]

LOGS = """
import os, sys, runbase
from runbase.run import background
background.EVERY = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
run = runbase.start_run('kill', capture=False)
os.write(1, (run.id + chr(10)).encode())
for step in range(10_000_000):
    run.log({'loss': step * 0.5, 'acc': step}, step=step)
    os.write(1, b'%d\\n' % step)
"""

ROUNDS = int(os.environ.get("RUNBASE_TEST_KILL_ROUNDS", "200"))


def kill_after(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[str, int]:
    """Read what a process acknowledges, kill it with SIGKILL after a while; its run, the last step."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    received = bytearray()
    while b"\n" not in received:
        piece = os.read(fd, 1 << 16)
        assert piece, "the script ended before it said anything"
        received += piece
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        if select.select([fd], [], [], left)[0]:
            received += os.read(fd, 1 << 16)
    process.kill()
    while chunk := os.read(fd, 1 << 16):
        received += chunk
    process.wait()
    lines = bytes(received).rpartition(b"\n")[0].split(b"\n")
    return lines[0].decode(), int(lines[-1]) if len(lines) > 1 else -1


def test_kill_at_random_moments(tmp_path: Path, home: Path) -> None:
    """Every acknowledged step is there, once, in order; the run is NODE_FAIL; the store is sound."""
    path = tmp_path / "logs.py"
    path.write_text(LOGS)
    dice = random.Random(7)
    for number in range(ROUNDS):
        # In every other round the process ingests all the time: the kill hits its transactions too.
        every = "0.001" if number % 2 else "1"
        command = [sys.executable, str(path), every]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        run, acknowledged = kill_after(process, dice.uniform(0, 0.15))
        with runbase.open(home=home) as store:
            record = store.run(run)
            assert record.status.value == "NODE_FAIL"
            if acknowledged < 0:
                continue
            for key, factor in (("loss", 0.5), ("acc", 1.0)):
                series = store.metrics(run, key, every=True)
                steps = np.arange(len(series))
                np.testing.assert_array_equal(series.steps, steps)
                np.testing.assert_array_equal(series.values, steps * factor)
                assert len(series) > acknowledged
    with runbase.open(home=home) as store:
        assert store.check() == []
        assert len(store.runs()) == ROUNDS


MANY = """
import sys, runbase
number, steps = int(sys.argv[1]), int(sys.argv[2])
with runbase.start_run('many', name=f'run-{number}', capture=False) as run:
    for step in range(steps):
        run.log({'a': step, 'b': step * 0.5, 'c': -step, 'd': number}, step=step)
"""


def test_sixteen_processes_and_a_reader(script: Script, home: Path) -> None:
    """16 processes x 20,000 steps x 4 values into one SQLite home, while a reader polls."""
    processes = [script(MANY, str(number), "20000") for number in range(16)]
    seen = 0
    while any(process.poll() is None for process in processes):
        if (home / "runbase.db").exists():
            with runbase.open(home=home, sync=False) as store:
                points = store.totals()["points"]
                assert points >= seen
                seen = points
    for process in processes:
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")
    with runbase.open(home=home) as store:
        assert store.totals()["points"] == 1_280_000
        assert store.sql("select count(*) from metrics") == [(1_280_000,)]
        for run in store.runs():
            assert run.status.value == "COMPLETED"
            number = int(run.name.removeprefix("run-"))
            for key, factor in (("a", 1.0), ("b", 0.5), ("c", -1.0)):
                series = store.metrics(run.id, key, every=True)
                np.testing.assert_array_equal(series.steps, np.arange(20_000))
                np.testing.assert_array_equal(series.values, np.arange(20_000) * factor)
            assert set(store.metrics(run.id, "d").values) == {number}
        assert {run.number for run in store.runs()} == set(range(1, 17))
        average = store.sql("select avg(count) from blocks")[0][0]
        assert average >= 512
        assert store.check() == []


def test_racing_ingesters(script: Script, home: Path) -> None:
    code = "import runbase\nrun = runbase.start_run('race', store='none', capture=False)\nfor i in range(30_000): run.log({'x': i})\n"
    assert script(code).wait() == 0
    ingest = "import runbase\nrunbase.open(home=__import__('sys').argv[1]).close()\n"
    racers = [script(ingest, str(home)) for _ in range(6)]
    for racer in racers:
        _, err = racer.communicate()
        assert (racer.returncode, err) == (0, "")
    with runbase.open(home=home, sync=False) as store:
        np.testing.assert_array_equal(store.metrics(store.runs()[0], "x").values, np.arange(30_000))


def test_a_paused_process_lives_and_a_killed_one_does_not(script: Script, home: Path) -> None:
    code = "import runbase, sys, time\nrun = runbase.start_run('pause', capture=False)\nrun.log({'x': 1})\nprint(run.id, flush=True)\ntime.sleep(600)\n"
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
    """Neither processes nor folders are within reach: whoever shares the database can still tell."""
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


def test_copied_run_folders_are_an_import(script: Script, home: Path, tmp_path: Path) -> None:
    """Partly, in any order, twice."""
    for number in range(3):
        assert script(MANY, str(number), "3000").wait() == 0
    other = tmp_path / "elsewhere" / ".runbase"
    folders = sorted(home.glob("runs/*/*"))
    for folder in reversed(folders):
        target = other / folder.relative_to(home)
        target.mkdir(parents=True)
        whole = (folder / "journal.jsonl").read_bytes()
        for part in (len(whole) // 3, len(whole) // 2, len(whole)):
            (target / "journal.jsonl").write_bytes(whole[:part])
            with runbase.open(home=other):
                pass
        shutil.copytree(folder, target, dirs_exist_ok=True)
    shutil.copytree(other / "runs", other / "runs" / "again", dirs_exist_ok=True)
    with runbase.open(home=home) as mine, runbase.open(home=other) as theirs:
        assert theirs.totals()["points"] == 36_000

        def told(store: runbase.Store) -> list[object]:
            return [
                (run.id, run.name, run.status, run.metrics, run.started_at, run.ended_at)
                for run in store.runs(order_by="id")
            ]

        assert told(mine) == told(theirs)


FULL = """
import resource, sys, warnings, runbase
run = runbase.start_run('full', capture=False)
said = []
warnings.showwarning = lambda *a, **k: said.append(str(a[0]))
size = run.folder.joinpath('journal.jsonl').stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2050, resource.RLIM_INFINITY))
for step in range(1000):
    run.log({'x': step})
print(len(said), said[:1])
if sys.argv[1] == 'freed':
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
run.finish()
print(len(said))
"""


@pytest.mark.parametrize("then", ["freed", "full"])
def test_a_full_disk_does_not_stop_training(script: Script, home: Path, then: str) -> None:
    process = script(FULL, then)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert out.startswith("1 ['runbase: cannot write")
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        series = store.metrics(run, "x")
        np.testing.assert_array_equal(series.values, np.arange(len(series)))
        if then == "freed":
            assert len(series) == 1000
            assert run.status.value == "COMPLETED"
        else:
            assert 20 < len(series) < 1000
            assert run.status.value == "NODE_FAIL"


def test_the_limit_is_this_systems(script: Script) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY


def test_a_database_that_is_away_does_not_stop_training(home: Path) -> None:
    home.mkdir()
    (home / "runbase.db").write_bytes(
        b"this is no database, and long enough to be read as one" * 50
    )
    warned = pytest.warns(RuntimeWarning, match="runbase sync")
    with warned, runbase.start_run("away", home=home, capture=False) as run:
        run.log({"x": 1})
        run.flush()
    with pytest.raises(StoreCorrupt, match="sync --rebuild"):
        runbase.open(home=home)


def test_rebuild_from_the_folders(script: Script, home: Path) -> None:
    for number in range(3):
        assert script(MANY, str(number), "2000").wait() == 0
    with runbase.open(home=home) as store:
        before = [(r.id, r.status, r.metrics, r.number) for r in store.runs(order_by="id")]
    data = bytearray((home / "runbase.db").read_bytes())
    data[4096 * 3 : 4096 * 20] = os.urandom(4096 * 17)
    (home / "runbase.db").write_bytes(data)
    command = [sys.executable, "-m", "runbase", "sync", "--rebuild", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert report["totals"]["points"] == 24_000
    assert Path(report["set_aside"][0]).exists()
    with runbase.open(home=home) as store:
        assert [(r.id, r.status, r.metrics, r.number) for r in store.runs(order_by="id")] == before


def test_damage_in_a_journal_is_named(home: Path) -> None:
    with runbase.start_run("damage", home=home, store="none", capture=False) as run:
        for step in range(100):
            run.log({"x": step})
    path = run.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[50] = lines[50].replace(b'"x"', b'"y"')
    path.write_bytes(b"".join(lines))
    storage = open_storage(f"sqlite:///{home / 'runbase.db'}")
    report = sync(storage, home)
    assert [(p.file, p.offset) for p in report.problems] == [(str(path), sum(map(len, lines[:50])))]
    assert storage.runs()[0].metrics["x"].count == 99
    assert sync(storage, home).problems == []
    storage.close()


def test_a_database_replaced_under_a_training_run(home: Path) -> None:
    run = runbase.start_run("replaced", home=home, capture=False)
    run.log({"x": 1})
    run.flush()
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync", "--rebuild"], capture_output=True, check=False
    )
    assert done.returncode == 0
    run.log({"x": 2})
    run.flush()
    with runbase.open(home=home, sync=False) as store:
        assert store.metrics(run.id, "x").values.tolist() == [1, 2]
        for path in home.glob("runbase.db*"):
            path.unlink()
        run.log({"x": 3})
        run.finish()
    with runbase.open(home=home, sync=False) as store:
        assert store.metrics(run.id, "x").values.tolist() == [1, 2, 3]


RANKS = """
import os, sys, runbase
run = runbase.start_run('ranks', capture=False)
rank = int(os.environ['RANK'])
for step in range(100):
    run.log({f'loss/{rank}': step * 1.0})
print('logged', flush=True)
sys.stdin.readline()
run.finish()
"""


def test_the_ranks_of_one_run(script: Script, home: Path) -> None:
    """Several processes share an id: each adds its points, the first begins and ends the run."""
    ranks = [script(RANKS, RUNBASE_RUN_ID="job-1", RANK=str(rank)) for rank in (2, 0, 1)]
    for process in ranks:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
    by_rank = {2: ranks[0], 0: ranks[1], 1: ranks[2]}
    for rank, status in ((1, "RUNNING"), (0, "COMPLETED"), (2, "COMPLETED")):
        _, err = by_rank[rank].communicate("go\n", timeout=PATIENCE)
        assert by_rank[rank].returncode == 0, err
        with runbase.open(home=home) as store:
            assert store.run("job-1").status.value == status
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert {key: metric.count for key, metric in run.metrics.items()} == {
            "loss/0": 100,
            "loss/1": 100,
            "loss/2": 100,
        }
        assert [metric.last_step for metric in run.metrics.values()] == [99, 99, 99]


def test_a_worker_beside_a_living_run(home: Path, script: Script, tmp_path: Path) -> None:
    run = runbase.start_run("beside", home=home, run_id="shared-1", capture=False)
    code = "import runbase\nwith runbase.start_run('beside', capture=False) as run: run.log({'w': 1})\n"
    assert script(code, RUNBASE_RUN_ID="shared-1").wait() == 0
    with runbase.open(home=home) as store:
        assert store.run("shared-1").status.value == "RUNNING"
    run.log({"x": 1})
    run.finish()
    with runbase.open(home=home) as store:
        assert set(store.run("shared-1").metrics) == {"w", "x"}
        assert store.run("shared-1").status.value == "COMPLETED"


def test_a_file_whose_last_writer_was_killed_before_write_ahead_mode(
    home: Path, tmp_path: Path, script: Script
) -> None:
    """A backup, or the very first moment of a database: its rollback journal is undone by whoever opens it next."""
    with runbase.start_run("e", home=home, capture=False) as run:
        for step in range(5000):
            run.log({"x": step})
    with runbase.open(home=home) as store:
        copy = store.backup(tmp_path / "copy.db").path
    process = script(
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('pragma cache_size = 1'); c.execute('begin immediate')\n"
        "c.execute('delete from blocks'); c.execute('delete from runs')\n"
        "print('ready', flush=True); sys.stdin.readline()",
        str(copy),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert (tmp_path / "copy.db-journal").stat().st_size > 0
    with runbase.open(copy) as store:
        assert len(store.metrics(run.id, "x")) == 5000
        assert store.check() == []


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
