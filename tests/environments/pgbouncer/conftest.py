"""A pgbouncer in transaction mode in front of a real server, at the address of every PostgreSQL test."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import postgres_server as _server


@pytest.fixture(scope="session")
def behind() -> Iterator[str]:
    """The URL of the server itself."""
    yield from _server.__wrapped__()  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def postgres_server(behind: str) -> Iterator[str]:
    """The URL of the pooler."""
    info = psycopg.conninfo.conninfo_to_dict(behind)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="bouncer") as folder:
        Path(folder).chmod(0o777)
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\npostgres = host={info['host']} user=postgres dbname=postgres\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n"
            f"max_client_conn = 200\nlogfile = {folder}/log\npidfile = {folder}/pid\n"
        )
        user = ["--user", "pgserver"] if os.geteuid() == 0 else []
        process = subprocess.Popen(["pgbouncer", *user, str(settings)], stderr=subprocess.DEVNULL)
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        deadline = time.monotonic() + 60
        while True:
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    raise AssertionError((Path(folder) / "log").read_text()) from None
                time.sleep(0.1)
        yield url
        process.terminate()
        process.wait(30)
