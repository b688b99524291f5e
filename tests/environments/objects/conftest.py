"""Emulators of Azure and of Google Cloud Storage on this machine, each behind a relay that counts what is uploaded."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runbase.ids import new_id
from tests.integration.relay import Relay
from tests.patience import wait_until

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The published key of Azurite's account."""
BIN = Path(sys.executable).parent
AZURITE = BIN.parent / "node_modules" / ".bin" / "azurite-blob"


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of Azurite and of gcp-storage-emulator."""
    import socket

    folder = tmp_path_factory.mktemp("emulators")
    ports = {"azure": free_port(), "gs": free_port()}
    azure = [str(AZURITE), "--silent", "--skipApiVersionCheck", "--location", str(folder)]
    azure += ["--blobPort", str(ports["azure"])]
    gs = [str(BIN / "gcp-storage-emulator"), "start", "--host", "127.0.0.1", "--in-memory"]
    gs += ["--port", str(ports["gs"])]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for name, command in (("azure", azure), ("gs", gs)):
            with (folder / f"{name}.log").open("wb") as log:
                processes.append(
                    subprocess.Popen(
                        command, stdout=log, stderr=log, env={**os.environ, "PATH": path}
                    )
                )

            def answers(name: str = name) -> bool:
                with socket.socket() as client:
                    return client.connect_ex(("127.0.0.1", ports[name])) == 0

            wait_until(answers)
        yield ports
    finally:
        for process in processes:
            process.terminate()
            process.wait()


class Service:
    """A bucket of an emulator.

    Args:
        name: "azure" or "gs".
        url: the place of artifacts.
        relay: counts the bytes that go to the emulator.
        read: returns the bytes of a key.
    """

    def __init__(self, name: str, url: str, relay: Relay, read: Callable[[str], bytes]) -> None:
        self.name, self.url, self.relay, self.read = name, url, relay, read


@pytest.fixture(params=["azure", "gs"])
def service(
    request: pytest.FixtureRequest, servers: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """An empty bucket, which the environment leads to through a relay."""
    name = str(request.param)
    monkeypatch.setenv("RUNBASE_ARTIFACTS_PART", "5")
    with Relay(("127.0.0.1", servers[name]), upwards=True) as relay:
        yield (azure if name == "azure" else google)(relay, monkeypatch)


def azure(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Service:
    from azure.storage.blob import BlobServiceClient

    account = f"AccountName=devstoreaccount1;AccountKey={KEY}"
    connection = (
        f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={relay.url}/devstoreaccount1"
    )
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", connection)
    name = f"lab-{new_id()}"
    client: Any = BlobServiceClient.from_connection_string(connection)
    container = client.create_container(name)

    def read(key: str) -> bytes:
        return container.download_blob(key).readall()

    return Service("azure", f"az://{name}/runs", relay, read)


def google(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> Service:
    from google.cloud import storage

    monkeypatch.setenv("STORAGE_EMULATOR_HOST", relay.url)
    name = f"lab-{new_id()}"
    client: Any = storage.Client(project="lab")
    bucket = client.create_bucket(name)

    def read(key: str) -> bytes:
        return bucket.blob(key).download_as_bytes()

    return Service("gs", f"gs://{name}/runs", relay, read)
