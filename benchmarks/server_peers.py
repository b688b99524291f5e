"""Other trackers' servers, doing what `benchmarks.server` measures of ours: MLflow's and Trackio's, in environments of their own.

Each server is a process on this machine with a database of its own, and the clients are those of its package.
"""

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import urllib3

from benchmarks import peers

RUNS = 10_000
SEARCH = {
    "filter": "params.p0 = 'adam' and metrics.m2 > 0.5",
    "order_by": ["metrics.m1 ASC"],
    "max_results": 100,
}
WRITERS = 4
LOG = """
import time
{imports}
began = time.perf_counter()
{begin}
for step in range({steps}):
    log({{"a": 1.5, "b": step, "c": 2.5, "d": 1 / (step + 1)}}, step)
{end}
print(time.perf_counter() - began)
"""
MLFLOW_LOG = LOG.format(
    imports="import mlflow",
    begin="mlflow.start_run()\ndef log(v, s): mlflow.log_metrics(v, step=s)",
    end="mlflow.end_run()",
    steps=100,
)
TRACKIO_LOG = LOG.format(
    imports="import trackio",
    begin="trackio.init(project='b')\ndef log(v, s): trackio.log(v, step=s)",
    end="trackio.finish()",
    steps=5000,
)
FILL = """
import random, sys, uuid
from mlflow.store.tracking.dbmodels import models
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

store, dice, began = SqlAlchemyStore(sys.argv[1], sys.argv[2]), random.Random(0), 1_760_000_000_000
for part in range(int(sys.argv[3]) // 500):
    runs, params, metrics = [], [], []
    for number in range(500 * part, 500 * part + 500):
        key = uuid.UUID(int=dice.getrandbits(128)).hex
        runs.append({
            "run_uuid": key, "name": f"run-{number}", "source_type": "LOCAL", "status": "FINISHED", "user_id": "ada",
            "start_time": began + number, "end_time": began + number + 1, "lifecycle_stage": "active",
            "artifact_uri": f"{sys.argv[2]}/0/{key}/artifacts", "experiment_id": 0,
        })
        params += [
            {"run_uuid": key, "key": f"p{k}", "value": str(dice.random()) if k % 2 else dice.choice(["adam", "sgd", "lion"])}
            for k in range(10)
        ]
        metrics += [
            {"run_uuid": key, "key": f"m{k}", "value": dice.random(), "timestamp": began, "step": 0, "is_nan": False}
            for k in range(5)
        ]
    with store.ManagedSessionMaker() as session:
        session.bulk_insert_mappings(models.SqlRun, runs)
        session.bulk_insert_mappings(models.SqlParam, params)
        session.bulk_insert_mappings(models.SqlMetric, metrics)
        session.bulk_insert_mappings(models.SqlLatestMetric, metrics)
"""
Figures = dict[str, float]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A server that runs: its process, its URL, and the seconds to its first answer."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, took: float) -> None:
        self.process, self.url, self.took = process, url, took

    def memory(self) -> float:
        """MB of the process and those that it started, without what they share with others."""
        tree = [
            psutil.Process(self.process.pid),
            *psutil.Process(self.process.pid).children(recursive=True),
        ]
        return sum(one.memory_full_info().pss for one in tree) / 1e6


@contextmanager
def running(
    command: list[str], path: str, port: int, folder: Path, environ: dict[str, str]
) -> Iterator[Running]:
    """Run a server in a folder until the end of the block; it has started when `path` answers with 200."""
    began, url = time.perf_counter(), f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        command,
        cwd=folder,
        # With a cache of bytecode, as servers have one.
        env={n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"} | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            with suppress(urllib3.exceptions.HTTPError):
                answer = urllib3.request("GET", url + path, retries=False, timeout=1)
                if answer.status == 200:
                    break
            if process.poll() is not None or time.perf_counter() - began > 300:
                raise RuntimeError(f"{command[1:4]} does not start")
            time.sleep(0.005)
        yield Running(process, url, time.perf_counter() - began)
    finally:
        for one in psutil.Process(process.pid).children(recursive=True):
            one.kill()
        process.kill()
        process.wait()


def throughput(interpreter: str, script: str, folder: Path, environ: Mapping[str, str]) -> float:
    """Points a second from four processes: from the start of their runs until everything is sent, without imports."""
    writers = [
        subprocess.Popen(
            [interpreter, "-c", script],
            cwd=folder,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(WRITERS)
    ]
    printed = [writer.communicate()[0] for writer in writers]
    if any(writer.returncode for writer in writers):
        raise RuntimeError("a writer failed")
    took = max(float(text.split()[-1]) for text in printed)
    steps = int(script.partition("range(")[2].partition(")")[0])
    return WRITERS * steps * 4 / took


def mlflow_requests(url: str) -> Figures:
    """Milliseconds of two requests of MLflow's REST interface: medians."""
    pool = urllib3.PoolManager()

    def post(path: str, body: Any) -> tuple[float, Any]:
        began = time.perf_counter()
        answer = pool.request(
            "POST",
            f"{url}/api/2.0/mlflow/{path}",
            body=msgspec.json.encode(body),
            headers={"Content-Type": "application/json"},
            timeout=120,
        )
        took = time.perf_counter() - began
        assert answer.status == 200, answer.data
        return took * 1e3, answer.json()

    _, found = post("experiments/search", {"max_results": 100})
    experiments = [one["experiment_id"] for one in found["experiments"]]
    search = {**SEARCH, "experiment_ids": experiments}
    assert len(post("runs/search", search)[1]["runs"]) == 100
    searched = statistics.median(post("runs/search", search)[0] for _ in range(10))
    _, made = post("runs/create", {"experiment_id": "0", "start_time": 1})
    run, dice, took = made["run"]["info"]["run_id"], random.Random(0), list[float]()
    for step in range(100):
        metrics = [
            {"key": f"m{k}", "value": dice.random(), "timestamp": 1_760_000_000_000, "step": step}
            for k in range(10)
        ]
        took.append(post("runs/log-batch", {"run_id": run, "metrics": metrics})[0])
    return {"search_ms": searched, "batch_ms": statistics.median(took)}


def mlflow(interpreter: Path) -> Figures:
    """What MLflow's server does on SQLite, with its default of workers."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        fill = [str(interpreter), "-c", FILL, uri, str(folder / "artifacts"), str(RUNS)]
        subprocess.run(fill, check=True, capture_output=True)
        command = [str(interpreter), "-m", "mlflow", "server", "--port", str(port)]
        command += ["--backend-store-uri", uri, "--artifacts-destination", f"{folder}/artifacts"]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true"}
        with running(command, "/health", port, folder, quiet) as server:
            time.sleep(5)
            figures = {"start_s": server.took, "memory_mb": server.memory()}
            figures |= mlflow_requests(server.url)
            environ = {**quiet, "MLFLOW_TRACKING_URI": server.url}
            figures["points_s"] = throughput(str(interpreter), MLFLOW_LOG, folder, environ)
    return figures


def trackio(interpreter: Path) -> Figures:
    """What Trackio's server does; it has no search over runs and no requests of MLflow's."""
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        show = f"import trackio; trackio.show(open_browser=False, block_thread=True, server_port={port})"
        environ = {"TRACKIO_DIR": name, "TRACKIO_WRITE_TOKEN": "secret", "HF_HUB_OFFLINE": "1"}
        with running([str(interpreter), "-c", show], "/", port, folder, environ) as server:
            time.sleep(5)
            figures = {"start_s": server.took, "memory_mb": server.memory()}
            environ |= {"TRACKIO_SERVER_URL": server.url, "TRACKIO_DIR": f"{name}/client"}
            figures["points_s"] = throughput(str(interpreter), TRACKIO_LOG, folder, environ)
    return figures


MEASURES = {"mlflow server": ("mlflow (SQLite)", mlflow), "trackio": ("trackio", trackio)}


def measure(name: str) -> Figures:
    """The figures of a peer; none where it does not run here."""
    peer, function = MEASURES[name]
    interpreter = peers.python(peer)
    if interpreter is None:
        return {}
    try:
        return function(interpreter)
    except (RuntimeError, AssertionError, subprocess.CalledProcessError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return {}
