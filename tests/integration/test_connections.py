"""More processes than a PostgreSQL server accepts connections."""

import multiprocessing
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

import runbase
from runbase.status import Status
from runbase.storage.open import open_storage
from tests.integration.servers import Server

CONNECTIONS = 20
PROCESSES = 48
STEPS = 30


@pytest.fixture(scope="module")
def small_server() -> Iterator[str]:
    """The URL of a server that accepts 20 connections."""
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = Server(Path(folder))
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"alter system set max_connections = {CONNECTIONS}")
        server.stop()
        server.start()
        yield server.url
        server.close()


def train(url: str, home: str, number: int, logged: Any, everybody: Any, failed: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            run = runbase.start_run("many", name=f"run-{number}", home=home, store=url)
            for step in range(STEPS):
                run.log({"loss": 1 / (step + 1)}, step=step)
            run.flush()  # a process that keeps its connection now takes it from the others
            logged.release()
            everybody.wait(300)
            time.sleep(0.1 * (number % 10))
            run.finish()
        except BaseException as error:
            failed.put(f"{number}: {error!r}")
            logged.release()
    os._exit(0)


def test_more_processes_than_connections(small_server: str, tmp_path: Path) -> None:
    with psycopg.connect(small_server) as connection:
        assert connection.execute("show max_connections").fetchone() == (str(CONNECTIONS),)
    open_storage(small_server).close()
    context = multiprocessing.get_context("fork")
    logged, everybody, failed = context.Semaphore(0), context.Event(), context.SimpleQueue()
    arguments = (logged, everybody, failed)
    processes = [
        context.Process(target=train, args=(small_server, str(tmp_path), number, *arguments))
        for number in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    for _ in processes:
        assert logged.acquire(timeout=300)
    everybody.set()
    for process in processes:
        process.join(300)
    problems = []
    while not failed.empty():
        problems.append(failed.get())
    assert problems == []
    with runbase.open(small_server) as store:
        runs = store.runs()
        assert {run.name for run in runs} == {f"run-{number}" for number in range(PROCESSES)}
        assert {run.status for run in runs} == {Status.COMPLETED}
        assert {run.metrics["loss"].count for run in runs} == {STEPS}


def test_a_reader_waits_for_a_connection(small_server: str) -> None:
    open_storage(small_server).close()
    held = []
    with pytest.raises(psycopg.OperationalError):
        while True:
            held.append(psycopg.connect(small_server))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        answer = pool.apply_async(count_runs, [small_server])
        time.sleep(1)
        for connection in held:
            connection.close()
        assert answer.get(120) >= 0


def count_runs(url: str) -> int:
    with runbase.open(url) as store:
        return store.count()


def test_connections_of_other_roles_count(small_server: str) -> None:
    """An ordinary role sees little of them, and must still notice that the server is full."""
    with psycopg.connect(small_server, autocommit=True) as connection:
        connection.execute("drop role if exists ordinary")
        connection.execute("create role ordinary login")
        connection.execute("grant create on database postgres to ordinary")
        held = [psycopg.connect(small_server) for _ in range(CONNECTIONS // 2)]
        url = small_server.replace("postgresql://postgres", "postgresql://ordinary", 1)
        storage = open_storage(f"{url}{'&' if '?' in url else '?'}schema=ordinary")
        assert storage.crowded
        for other in held:
            other.close()
        storage.close()
