"""The server: start, memory, tables, curves, and logging over HTTP, each beside its budget and the servers of MLflow and Trackio.

`python -m benchmarks --server` prints the table. Times of requests include HTTP on the same machine; bytes are those on the wire.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import urllib3

import runbase
from benchmarks import server_peers
from benchmarks.growth import long_curve
from benchmarks.stores import deliveries, fill
from benchmarks.tables import print_table, text
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
Row = tuple[str, str, float, float | None, str | None]
"""What, unit, value, budget, the figure of the peers."""


def start_and_memory(home: Path) -> Iterator[Row]:
    """Seconds to the first answer, and memory that the process does not share, idle."""
    took, memory = [], []
    for _ in range(3):
        port = server_peers.free_port()
        command = [sys.executable, "-m", "runbase", "server", "--port", str(port)]
        command += ["--home", str(home)]
        with server_peers.running(command, "/health", port, home, {}) as server:
            time.sleep(2)
            took.append(server.took)
            memory.append(server.memory())
    yield "start to the first answer", "s", statistics.median(took), 1.0, "start_s"
    yield "memory, idle", "MB", statistics.median(memory), 100.0, "memory_mb"


def timed_request(
    ask: Callable[[], urllib3.BaseHTTPResponse], rounds: int = 20
) -> tuple[float, float, int]:
    """Milliseconds and CPU milliseconds of the process (the server runs in it), and bytes of the answer on the wire."""
    ask()
    walls, cpu = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        answer = ask()
        size = len(answer.read(decode_content=False))
        answer.release_conn()
        assert answer.status == 200
        walls.append(time.perf_counter() - began)
    return (
        statistics.median(walls) * 1e3,
        (time.process_time() - cpu) / rounds * 1e3,
        size,
    )


def noise(store: Store, size: int) -> str:
    """Store a metric of random values, which compress badly; returns its run."""
    dice = np.random.default_rng()
    return long_curve(store, size, dice.normal(size=size).tolist())[0]


def requests(store: Store, url: str) -> Iterator[Row]:
    """Tables and curves."""
    pool = urllib3.PoolManager()

    def post(
        path: str, body: Any, packed: str = "identity"
    ) -> Callable[[], urllib3.BaseHTTPResponse]:
        data = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Accept-Encoding": packed}
        return lambda: pool.request(
            "POST", url + path, body=data, headers=headers, preload_content=False
        )

    columns = ["name", "status", "started_at", "seconds"]
    columns += [f"params.p{n}" for n in range(4)] + [f"metrics.m{n}" for n in range(4)]
    where = "params.p0 = 'adam' and metrics.m2 > 0.5"
    body = {"where": where, "order_by": "metrics.m1", "columns": columns, "limit": 100}
    _, cpu, size = timed_request(post("/api/table", body, "gzip"))
    yield "table, 100 rows × 12 columns of 10,000 runs: CPU", "ms", cpu, 15.0, None
    yield "table: bytes, with gzip", "kB", size / 1e3, 12.0, None
    # gzip looks back 32 kB: fewer than five curves in turn would shrink to one.
    long = [noise(store, 1_000_000) for _ in range(5)]
    _, cpu, size = timed_request(
        post("/api/curves", {"series": [[r, "loss"] for r in long] * 20, "columns": 1000}, "gzip")
    )
    yield "curves, 100 × 1,000,000 points: CPU", "ms", cpu, 100.0, None
    yield "curves, 100 × 1,000,000 points: bytes", "kB", size / 1e3, 800.0, None
    short = [noise(store, 500) for _ in range(50)]
    _, cpu, size = timed_request(
        post("/api/curves", {"series": [[r, "loss"] for r in short], "columns": 1000}, "gzip")
    )
    yield "curves, 50 × 500 points: CPU", "ms", cpu, 15.0, None
    yield "curves, 50 × 500 points: bytes", "kB", size / 1e3, 200.0, None
    idle, _, _ = timed_request(
        lambda: pool.request("GET", f"{url}/api/server", preload_content=False), 50
    )
    yield "a small request", "ms", idle, None, None


def remote_logging(url: str, folder: Path, writers: int = 4, steps: int = 50_000) -> Iterator[Row]:
    """Points a second that writers log and a server stores, and what a log call costs them; without their imports."""
    environ = {**os.environ, "RUNBASE_STORE": url, "RUNBASE_QUIET": "1"}
    (folder / "train.py").write_text(TRAIN)
    cpu = time.process_time()
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
    wall, served = max(float(output[1]) for output in outputs), time.process_time() - cpu
    points = writers * steps * 4
    clients = sum(float(output[2]) for output in outputs)
    yield (
        "logging, 4 writers × 200,000 points: points a second",
        "1/s",
        points / wall,
        100_000.0,
        "points_s",
    )
    yield "logging: server CPU a point", "µs", served / points * 1e6, None, None
    yield "logging: client CPU a point", "µs", clients / points * 1e6, None, None
    yield (
        "logging: a log call of 4 values",
        "µs",
        statistics.median(float(o[0]) for o in outputs) / steps * 1e6,
        None,
        None,
    )


def mlflow_face(url: str) -> Iterator[Row]:
    """What MLflow's clients ask a server for."""
    figures = server_peers.mlflow_requests(url)
    search, batch = figures["search_ms"], figures["batch_ms"]
    yield "MLflow: search, top 100 of 10,000 runs", "ms", search, 50.0, "search_ms"
    yield "MLflow: log-batch of 10 metrics: median", "ms", batch, 5.0, "batch_ms"


def report(*, markdown: bool = False) -> None:
    """Print the table."""
    rows = list[Row]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = folder / ".runbase"
        with runbase.open(home=home) as store:
            fill(store, deliveries(server_peers.RUNS, params=10, metrics=5))
            print("10,000 runs stored", file=sys.stderr)
        rows += start_and_memory(home)
        with runbase.open(home=home) as store, serving(store) as url:
            rows += mlflow_face(url)
            rows += requests(store, url)
            rows += remote_logging(url, folder)
    found = {}
    for peer in server_peers.MEASURES:
        print(f"measuring {peer}", file=sys.stderr)
        found[peer] = server_peers.measure(peer)
    head = ["what", "runbase", "budget", *found]
    body: list[list[str]] = []
    for what, unit, value, budget, figure in rows:
        more = unit == "1/s"
        missed = budget is not None and (value < budget if more else value > budget)
        limit = "" if budget is None else f"{'≥' if more else '≤'} {text(budget)}"
        row = [what, f"{text(value)} {unit}", limit + (" (missed)" if missed else "")]
        for peer in found.values():
            theirs = peer.get(figure or "")
            ratio = 0.0 if theirs is None else value / theirs if more else theirs / value
            row.append("" if theirs is None else f"{text(theirs)} ({ratio:.1f}×)")
        body.append(row)
    print_table(head, body, markdown=markdown, width=120)
