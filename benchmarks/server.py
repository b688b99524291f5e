"""The server: start, memory, tables, curves, and logging over HTTP, each beside its budget.

`python -m benchmarks --server` prints the table. Times of requests include HTTP on the same machine.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import urllib3
from rich.console import Console
from rich.table import Table

import runbase
from benchmarks.growth import clone, long_curve
from benchmarks.stores import deliveries, fill
from runbase.server.serve import serving
from runbase.store.store import Store

TRAIN = """
import sys, time, resource, runbase
began = time.perf_counter()
with runbase.start_run("far", capture=False) as run:
    for step in range(int(sys.argv[1])):
        run.log({"a": 1.5, "b": step, "c": 2.5, "d": 1 / (step + 1)})
    logged = time.perf_counter() - began
usage = resource.getrusage(resource.RUSAGE_SELF)
print(logged, time.perf_counter() - began, usage.ru_utime + usage.ru_stime)
"""
Row = tuple[str, str, float, float | None]


def start_and_memory(home: Path) -> Iterator[Row]:
    """Seconds to the first answer, and resident memory that the process does not share, idle."""
    took, memory = [], []
    for port in (4471, 4472, 4473):
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "runbase",
            "server",
            "--port",
            str(port),
            "--home",
            str(home),
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while True:
            with suppress(urllib3.exceptions.HTTPError):
                urllib3.request("GET", f"http://127.0.0.1:{port}/health", retries=False, timeout=1)
                break
            time.sleep(0.005)
        took.append(time.perf_counter() - began)
        time.sleep(2)
        memory.append(psutil.Process(process.pid).memory_full_info().pss / 1e6)
        process.terminate()
        process.wait()
    yield "start to the first answer", "s", statistics.median(took), 1.0
    yield "memory, idle", "MB", statistics.median(memory), 100.0


def timed_request(
    ask: Callable[[], urllib3.BaseHTTPResponse], rounds: int = 20
) -> tuple[float, float, int]:
    """Milliseconds and CPU milliseconds of the process (the server runs in it), and bytes of the answer."""
    ask()
    walls, cpu = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        answer = ask()
        assert answer.status == 200, answer.data
        walls.append(time.perf_counter() - began)
    return (
        statistics.median(walls) * 1e3,
        (time.process_time() - cpu) / rounds * 1e3,
        len(answer.data),
    )


def requests(store: Store, url: str) -> Iterator[Row]:
    """Tables and curves."""
    pool = urllib3.PoolManager()

    def post(path: str, body: Any) -> Callable[[], urllib3.BaseHTTPResponse]:
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        return lambda: pool.request("POST", url + path, body=data, headers=kind)

    columns = ["name", "status", "started_at", "seconds"]
    columns += [f"params.p{n}" for n in range(4)] + [f"metrics.m{n}" for n in range(4)]
    where = "params.p0 = 'adam' and metrics.m2 > 0.5"
    body = {"where": where, "order_by": "metrics.m1", "columns": columns, "limit": 100}
    _, cpu, size = timed_request(post("/api/table", body))
    yield "table, 100 rows × 12 columns of 10,000 runs: CPU", "ms", cpu, 15.0
    yield "table: bytes", "kB", size / 1e3, 12.0
    run, _ = long_curve(store, 1_000_000)
    _, cpu, size = timed_request(
        post("/api/curves", {"series": [[run, "loss"]] * 100, "columns": 1000})
    )
    yield "curves, 100 × 1,000,000 points: CPU", "ms", cpu, 100.0
    yield "curves, 100 × 1,000,000 points: bytes", "kB", size / 1e3, 800.0
    short = [long_curve(store, 500)[0] for _ in range(5)]
    _, cpu, size = timed_request(
        post("/api/curves", {"series": [[r, "loss"] for r in short] * 10, "columns": 1000})
    )
    yield "curves, 50 × 500 points: CPU", "ms", cpu, 15.0
    yield "curves, 50 × 500 points: bytes", "kB", size / 1e3, 200.0
    idle, _, _ = timed_request(lambda: pool.request("GET", f"{url}/api/server"), 50)
    yield "a small request", "ms", idle, None


def remote_logging(url: str, folder: Path, writers: int = 4, steps: int = 50_000) -> Iterator[Row]:
    """Points a second that writers log and a server stores, and what a log call costs them."""
    environ = {**os.environ, "RUNBASE_STORE": url, "RUNBASE_QUIET": "1"}
    (folder / "train.py").write_text(TRAIN)
    began, cpu = time.perf_counter(), time.process_time()
    running = [
        subprocess.Popen(
            [sys.executable, "train.py", str(steps)],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(writers)
    ]
    outputs = [process.communicate()[0].split() for process in running]
    wall, served = time.perf_counter() - began, time.process_time() - cpu
    points = writers * steps * 4
    clients = sum(float(output[2]) for output in outputs)
    yield "logging, 4 writers × 200,000 points: points a second", "1/s", points / wall, 100_000.0
    yield "logging: server CPU a point", "µs", served / points * 1e6, None
    yield "logging: client CPU a point", "µs", clients / points * 1e6, None
    yield (
        "logging: a log call of 4 values",
        "µs",
        statistics.median(float(o[0]) for o in outputs) / steps * 1e6,
        None,
    )


def report() -> None:
    """Print the table."""
    console, rows = Console(), list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / ".runbase"
        with runbase.open(home=home) as store:
            fill(store, deliveries(1000, params=10, metrics=5))
            clone(store, range(1, 10))
            console.print("10,000 runs stored", style="dim")
        rows += start_and_memory(home)
        with runbase.open(home=home) as store, serving(store) as url:
            rows += requests(store, url)
            rows += remote_logging(url, folder)
    table = Table("what", "unit", "median", "budget")
    for what, unit, value, budget in rows:
        more = unit == "1/s"
        missed = budget is not None and (value < budget if more else value > budget)
        table.add_row(
            what,
            unit,
            f"{value:,.4g}",
            "" if budget is None else f"{budget:,.4g}" + (" missed" if missed else ""),
        )
    console.print(table)
