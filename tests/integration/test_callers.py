"""Calls of log from signal handlers, tasks, forks and exit handlers."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import runbase
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


def test_log_from_signal_handlers_tasks_forks_and_atexit(script: Script, home: Path) -> None:
    process = script(
        f"""
import asyncio, atexit, os, signal, threading, time, runbase
run = runbase.start_run("everywhere", home={str(home)!r}, capture=False)
from itertools import count as counting
counter = counting()
def handler(*_):
    run.log({{"signal": float(next(counter))}})
    pass
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
async def task(n):
    for i in range(300):
        run.log({{f"task{{n}}": float(i)}})
        if i % 10 == 0:
            await asyncio.sleep(0)
async def main():
    await asyncio.gather(*[task(n) for n in range(4)])
asyncio.run(main())
pids = []
for n in range(3):
    pid = os.fork()
    if pid == 0:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for i in range(100):
            run.log({{f"fork{{n}}": float(i)}})
        os._exit(0)
    pids.append(pid)
for i in range(3000):
    run.log({{"main": float(i)}})
for pid in pids:
    os.waitpid(pid, 0)
signal.setitimer(signal.ITIMER_REAL, 0)
atexit.register(lambda: run.log({{"atexit": 1.0}}))
print(next(counter))
"""
    )
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == "COMPLETED"
        expected = {"main": 3000, "signal": int(out), "atexit": 1}
        expected |= {f"task{n}": 300 for n in range(4)} | {f"fork{n}": 100 for n in range(3)}
        assert {key: metric.count for key, metric in run.metrics.items()} == expected
        for key, count in expected.items():
            found = sorted(store.metrics(run.id, key, every=True).values.tolist())
            assert found == ([1.0] if key == "atexit" else [float(i) for i in range(count)])


def test_sigterm_inside_a_log_call(script: Script, home: Path) -> None:
    process = script(
        f"import runbase\n"
        f"run = runbase.start_run('term', home={str(home)!r}, capture=False)\n"
        f"print('on', flush=True)\n"
        f"while True: run.log({{'loss': 1.0}})\n"
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert run.status == "CANCELLED"
        assert store.totals()["problems"] == 0
