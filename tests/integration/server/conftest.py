"""A server over a store with some runs, and a plain HTTP client."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

import runbase
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.store.store import Store


class Http:
    """Sends JSON and returns status, headers and body."""

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url, self.token = url, token
        self.pool = urllib3.PoolManager()

    def send(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        data = body
        if body is not None and not isinstance(body, bytes):
            data, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        return self.pool.request(
            method, self.url + path, body=data, headers=sent, retries=False, timeout=60
        )

    def json(
        self, method: str, path: str, body: Any = None, status: int = 200, **headers: str
    ) -> Any:
        answer = self.send(method, path, body, **headers)
        assert answer.status == status, answer.data.decode()
        return answer.json()


on_both = pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
"""Runs a test on SQLite and on PostgreSQL."""


@pytest.fixture
def store(
    request: pytest.FixtureRequest, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """Three runs of 3,000 steps in one experiment, and one run in another: on SQLite, unless `on_both` asks for PostgreSQL."""
    url = None
    if getattr(request, "param", "sqlite") == "postgres":
        url = request.getfixturevalue("postgres")
        monkeypatch.setenv("RUNBASE_STORE", url)  # of the runs that tests start
    for number in range(3):
        with runbase.start_run(
            "digits", home=home, name=f"run-{number}", params={"lr": number / 10}, capture=False
        ) as run:
            for step in range(3000):
                run.log({"val/loss": 1 / (step + 1), "acc": step / 3000})
            run.log_text("said", "hello")
    (tmp_path / "model.bin").write_bytes(bytes(range(256)) * 100)
    with runbase.start_run("other", home=home, name="secret", capture=False) as run:
        run.log({"val/loss": 7.0})
        run.log_artifact(tmp_path / "model.bin")
    with runbase.open(url, home=home) as store:
        yield store


@pytest.fixture
def http(store: Store) -> Iterator[Http]:
    """The server on loopback, without tokens."""
    with serving(store) as url:
        yield Http(url)


@pytest.fixture
def guarded(store: Store) -> Iterator[Callable[..., Http]]:
    """The server with tokens: call it with the arguments of a new token to get a client."""
    from runbase.server.tokens import NewToken, make

    with serving(store, ServerOptions(port=0, auth="tokens")) as url:

        def client(*permissions: str, **options: Any) -> Http:
            name = "-".join(permissions)
            same = sum(token.name.split(" ")[0] == name for token in store.storage.tokens())
            name += f" {same}" if same else ""
            new = NewToken(name=name, permissions=list(permissions), **options)
            return Http(url, make(store, new).token if permissions else None)

        yield client
