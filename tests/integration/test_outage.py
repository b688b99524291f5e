"""A PostgreSQL server that goes away in the middle: training does not notice, nothing is lost."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import runbase
from runbase.errors import StoreUnavailable
from tests.integration.servers import Server
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def server() -> Iterator[Server]:
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        found = Server(Path(folder))
        yield found
        found.close()


ENDS = """
import sys, time, runbase
run = runbase.start_run('outage', name='ends', capture=False)
run.log({'loss': 1.0})
run.flush()
print('logged', flush=True)
sys.stdin.readline()
run.log({'loss': 0.5})
print('ending', flush=True)
began = time.monotonic()
run.finish()
print(time.monotonic() - began, flush=True)
"""


def test_a_run_that_ends_while_the_server_restarts_waits_for_it(
    server: Server, home: Path, script: Script
) -> None:
    process = script(ENDS, RUNBASE_STORE=server.url, RUNBASE_FINISH_TIMEOUT="60")
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "logged\n"
    server.stop()
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.stdout.readline() == "ending\n"
    server.start()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    with runbase.open(server.url, sync=False) as store:  # nobody synced it
        assert store.run("ends").status.value == "COMPLETED"
        assert store.metrics("ends", "loss").values.tolist() == [1.0, 0.5]


LOGS = """
import sys, threading, time, runbase
stop = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
with runbase.start_run('outage', name='it', capture=False) as run:
    step = 0
    while not stop.is_set():
        for _ in range(100):
            run.log({'loss': step * 0.5}, step=step)
            step += 1
        print(step, flush=True)
        time.sleep(0.005)
print('done', step, flush=True)
"""


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Ask again and again until a condition holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def read_steps(process: "subprocess.Popen[str]", steps: int) -> int:
    """Read what a script acknowledges until that many steps more are done."""
    assert process.stdout is not None
    first = last = int(process.stdout.readline())
    while last < first + steps:
        last = int(process.stdout.readline())
    return last


def test_the_server_goes_and_comes_back(server: Server, home: Path, script: Script) -> None:
    def arrived() -> int:
        with runbase.open(server.url, sync=False) as store:
            return store.sql("select coalesce(sum(count), 0) from series")[0][0]

    with runbase.open(server.url, sync=False):
        pass  # the schema is there
    process = script(LOGS, RUNBASE_STORE=server.url)
    for mode in ("fast", "immediate"):
        before = read_steps(process, 200)
        wait_until(lambda before=before: arrived() >= before, "points before the outage")
        server.stop(mode)
        read_steps(process, 3000)  # it goes on as if nothing had happened
        with pytest.raises(StoreUnavailable, match="connection"):
            runbase.open(server.url, sync=False)
        server.start()
    after = read_steps(process, 200)
    wait_until(lambda: arrived() >= after, "points after the outage, without help")
    out, _ = process.communicate("\n", timeout=PATIENCE)
    assert process.returncode == 0
    total = int(out.split()[-1])
    with runbase.open(server.url, home=home) as store:
        run = store.run("it")
        assert run.status.value == "COMPLETED"
        series = store.metrics(run, "loss", every=True)
        np.testing.assert_array_equal(series.steps, np.arange(total))
        np.testing.assert_array_equal(series.values, np.arange(total) * 0.5)


def test_a_run_without_a_server(server: Server, home: Path, script: Script) -> None:
    server.stop()
    began = time.monotonic()
    process = script(
        "import runbase\n"
        "with runbase.start_run('dark', name='blind', params={'lr': 0.1}) as run:\n"
        "    for step in range(1000): run.log({'loss': step}, step=step)\n",
        RUNBASE_STORE=server.url,
        RUNBASE_FINISH_TIMEOUT="2",
    )
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert time.monotonic() - began < 30
    assert "could not be ingested" in err
    assert "runbase sync" in err
    server.start()
    synced = subprocess.run(
        [sys.executable, "-m", "runbase", "sync"],
        env={**os.environ, "RUNBASE_STORE": server.url},
        check=True,
        capture_output=True,
        text=True,
    )
    assert "1,000" in synced.stdout or "1000" in synced.stdout
    with runbase.open(server.url, home=home) as store:
        assert store.run("blind").params == {"lr": 0.1}
        assert len(store.metrics("blind", "loss")) == 1000


MANY = """
import sys, time, runbase
from runbase.run import background
background.EVERY = 0.05
number = int(sys.argv[1])
sys.stdin.readline()
with runbase.start_run('many', name=f'n{number}', capture=False) as run:
    for step in range(5000):
        run.log({'a': step + number, 'b': -step}, step=step)
        if step % 50 == 0:
            time.sleep(0.02)
"""


def test_many_processes_and_two_restarts(server: Server, home: Path, script: Script) -> None:
    """32 processes, one database, which is stopped once and crashed once: exactly once, each point."""
    with runbase.open(server.url, sync=False):
        pass
    names = {"RUNBASE_STORE": server.url, "RUNBASE_FINISH_TIMEOUT": "60"}
    processes = [script(MANY, str(n), **names) for n in range(32)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    def runs() -> int:
        with runbase.open(server.url, sync=False) as store:
            return store.count()

    for mode, seen in (("fast", 1), ("immediate", 8)):
        wait_until(lambda seen=seen: runs() >= seen, f"{seen} runs in the database")
        server.stop(mode)
        server.start()
    for process in processes:
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
    with runbase.open(server.url, home=home) as store:
        assert store.count("status = 'COMPLETED'") == 32
        for number in range(32):
            for key, values in (("a", np.arange(5000) + number), ("b", -np.arange(5000))):
                series = store.metrics(f"n{number}", key, every=True)
                np.testing.assert_array_equal(series.steps, np.arange(5000))
                np.testing.assert_array_equal(series.values, values)
        assert store.check() == []
