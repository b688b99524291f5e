"""Two hundred runs log to one server for minutes, while it is killed twice: nothing is lost, nothing is stored twice.

LOAD_SECONDS is the duration (default: 600), LOAD_SEED chooses the moments of the kills.
"""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import urllib3

import runbase
from runbase.store.store import Store
from tests.environments.load.client import KEYS, values
from tests.patience import PATIENCE, wait_until

PROCESSES, RUNS = 25, 8
SECONDS = float(os.environ.get("LOAD_SECONDS", "600"))
SEED = int(os.environ.get("LOAD_SEED") or time.time_ns() % 1_000_000)
SLOWEST = 20.0
"""Milliseconds of a `log` call (99.9th percentile); 2.5 were measured on two cores that 26 processes share."""
MEMORY = 250.0
"""MB of the server (PSS) at most; 132 were measured."""


class Server:
    """A server in a process of its own, whose memory is sampled.

    Attributes:
        memory: samples of PSS, MB.
        cpu: seconds of CPU of the processes so far.
    """

    def __init__(self, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._home, self.url = home, f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.memory: list[float] = []
        self.cpu = 0.0

    def start(self) -> None:
        command = [sys.executable, "-m", "runbase", "server", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [*command, "--home", str(self._home)], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers)

    def _answers(self) -> bool:
        with suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request("GET", f"{self.url}/health", retries=False, timeout=5)
            return answer.status == 200
        return False

    def sample(self) -> None:
        assert self._process is not None
        self.memory.append(psutil.Process(self._process.pid).memory_full_info().pss / 1e6)

    def kill(self) -> None:
        assert self._process is not None
        times = psutil.Process(self._process.pid).cpu_times()
        self.cpu += times.user + times.system
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server" / ".runbase")
    server.start()
    yield server
    with suppress(psutil.Error):
        server.kill()


def test_two_hundred_runs_and_two_kills(server: Server, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    began = time.time()
    kills = sorted(began + SECONDS * dice.uniform(0.1, 0.9) for _ in range(2))
    clients = _start(server.url, tmp_path, began + SECONDS)
    while any(client.poll() is None for client in clients):
        server.sample()
        if kills and time.time() >= kills[0]:
            kills.pop(0)
            server.kill()
            time.sleep(dice.uniform(0, 3))  # how long it is away
            server.start()
        assert time.time() < began + SECONDS + PATIENCE, "the clients do not end"
        time.sleep(min(1.0, SECONDS / 60))
    assert not kills
    assert [client.returncode for client in clients] == [0] * PROCESSES
    answers = [json.loads((tmp_path / f"{n}.json").read_bytes()) for n in range(PROCESSES)]
    with runbase.open(server.url, home=tmp_path / "reader", sync=False) as store:
        points = sum(_check(store, answer) for answer in answers)
        assert store.totals()["runs"] == store.count("status = 'COMPLETED'") == PROCESSES * RUNS
        assert store.totals()["points"] == points
        assert store.problems() == []
    took = np.concatenate([np.load(tmp_path / f"{n}.npy") for n in range(PROCESSES)]) / 1e6
    median, high, slowest, worst = np.percentile(took, [50, 99, 99.9, 100])
    server.kill()
    print(
        f"\nseed {SEED}: {points:,} points of {len(took):,} calls in {time.time() - began:.0f} s, each exactly once"
        f"\nlog: median {median * 1e3:.0f} µs, p99 {high:.2f} ms, p99.9 {slowest:.2f} ms, longest {worst:.0f} ms"
        f"\nserver: PSS {np.median(server.memory):.0f} MB, at most {max(server.memory):.0f} MB; CPU {server.cpu:.0f} s"
    )
    assert slowest < SLOWEST
    assert max(server.memory) < MEMORY


def _start(url: str, folder: Path, end: float) -> "list[subprocess.Popen[bytes]]":
    """Start the clients: each has a home of its own, as on machines of their own."""
    program = Path(__file__).with_name("client.py")
    return [
        subprocess.Popen(
            [sys.executable, str(program), str(n), str(RUNS), str(end), str(folder / f"{n}.json")],
            env={
                **os.environ,
                "RUNBASE_STORE": url,
                "RUNBASE_HOME": str(folder / f"client-{n}"),
                "RUNBASE_FINISH_TIMEOUT": str(PATIENCE),
            },
        )
        for n in range(PROCESSES)
    ]


def _check(store: Store, answer: "dict[str, dict[str, int]]") -> int:
    """Check that each point of the runs of a process is there once; return how many there are."""
    steps = int(answer["steps"])  # type: ignore[call-overload]
    for run, number in answer["runs"].items():
        for key in KEYS:
            found = store.metrics(run, key, every=True)
            assert found.steps.tolist() == list(range(steps)), f"{key} of run {run}"
            wanted = [values(number, step)[key] for step in range(steps)]
            assert found.values.tolist() == wanted, f"{key} of run {run}"
    return len(answer["runs"]) * len(KEYS) * steps
