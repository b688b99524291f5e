"""Two servers on one PostgreSQL, below a path of a reverse proxy."""

import itertools
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn

import runbase
from runbase.server import users
from runbase.server.tokens import NewToken, make
from runbase.store.store import Store
from tests.patience import PATIENCE, wait_until

from .conftest import Http
from .test_live import Stream
from .test_remote import Away, free_port

ROOT = "/track"
CLIENT = "203.0.113.7"
"""The address of the client in what the proxy says."""
OTHER = "127.0.0.2"
"""The address of a client that is no proxy."""
PASSWORD = "correct horse battery"
TRAIN = """
import runbase
with runbase.start_run('far', name='through-one', capture=False) as run:
    for step in range(50):
        run.log({'loss': 1 / (step + 1)})
"""
OF_A_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "x-forwarded-for"}


class Proxy:
    """Sends each request to the next server, and says for whom: the last server gets the path without `ROOT`.

    Attributes:
        servers: URLs of the servers.
        asked: how many requests each got.
    """

    def __init__(self, servers: list[str]) -> None:
        self.servers, self.asked = servers, dict.fromkeys(servers, 0)
        self._turns = itertools.cycle(servers)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        server = next(self._turns)
        self.asked[server] += 1
        path = scope["raw_path"].decode()
        if server == self.servers[-1]:
            path = path.removeprefix(ROOT)
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode()
        headers = [
            (name, v) for name, v in scope["headers"] if name.decode() not in OF_A_CONNECTION
        ]
        headers += [(b"x-forwarded-for", CLIENT.encode()), (b"x-forwarded-proto", b"https")]

        async def body() -> AsyncIterator[bytes]:
            more = True
            while more:
                message = await receive()
                more = message.get("more_body", False)
                yield message.get("body", b"")

        async with (
            httpx.AsyncClient(timeout=60) as client,
            client.stream(
                scope["method"],
                server + path,
                headers=headers,
                content=body() if scope["method"] not in ("GET", "HEAD") else None,
            ) as answer,
        ):
            kept = [
                (name, v) for name, v in answer.headers.raw if name.lower() != b"transfer-encoding"
            ]
            start = {"type": "http.response.start", "status": answer.status_code, "headers": kept}
            await send(start)
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


class Place:
    """The proxy, the servers behind it, and their store."""

    def __init__(self, url: str, proxy: Proxy, store: Store) -> None:
        self.url, self.proxy, self.store = url, proxy, store


@pytest.fixture(scope="module")
def place(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    options = ["--auth", "users", "--root-path", ROOT, "--proxy", "127.0.0.1"]
    home = tmp_path_factory.mktemp("served") / ".runbase"
    url = f"{postgres_server}{'&' if '?' in postgres_server else '?'}schema=proxy"
    servers = [Away(home, free_port(), url, options) for _ in range(2)]
    with runbase.open(url, home=home, sync=False) as store, ThreadPoolExecutor() as threads:
        users.add(store, "ada", "admin", PASSWORD)
        for started in [threads.submit(server.start) for server in servers]:
            started.result()
        proxy = Proxy([server.url for server in servers])
        config = uvicorn.Config(proxy, port=0, log_level="warning", lifespan="off", log_config=None)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, daemon=True)
        thread.start()
        wait_until(lambda: running.started)
        port = running.servers[0].sockets[0].getsockname()[1]
        try:
            yield Place(f"http://127.0.0.1:{port}{ROOT}", proxy, store)
        finally:
            for server in servers:
                server.kill()
            running.should_exit = True
            thread.join(timeout=PATIENCE)


def token(place: Place, name: str) -> str:
    return make(place.store, NewToken(name=name, permissions=["admin"])).token


def addresses(place: Place, action: str) -> set[str]:
    return {entry.address for entry in place.store.storage.audit() if entry.action == action}


def test_a_session_is_one_for_all_servers(place: Place) -> None:
    with httpx.Client(base_url=place.url, timeout=60) as client:
        body = {"name": "ada", "password": PASSWORD}
        answer = client.post("/api/session", json=body)
        assert answer.status_code == 200, answer.text
        cookie = answer.headers["set-cookie"]
        assert "Secure" in cookie  # the browser is at https, as the proxy says
        assert f"Path={ROOT}" in cookie
        value = cookie.split(";")[0]
        for _ in range(4):  # the cookie is for https, which httpx respects
            assert client.get("/api/runs", headers={"Cookie": value}).status_code == 200
        page = client.get("/", headers={"Cookie": value})
        assert page.status_code == 200
        made = client.post("/api/experiments", json={"name": "made"}, headers={"Cookie": value})
        assert made.status_code == 201, made.text
    assert min(place.proxy.asked.values()) >= 3
    for action in ("POST /api/session", "POST /api/experiments"):  # recorded after the answer
        wait_until(lambda action=action: bool(addresses(place, action)))
        assert addresses(place, action) - {OTHER} == {CLIENT}


def test_addresses_of_others_than_the_proxy_are_not_believed(place: Place) -> None:
    headers = {
        "Authorization": f"Bearer {token(place, 'direct')}",
        "X-Forwarded-For": "198.51.100.1",
        "X-Forwarded-Proto": "https",
    }
    # Linux answers on all of 127/8: this client has another address than the proxy.
    transport = httpx.HTTPTransport(local_address=OTHER)
    with httpx.Client(transport=transport, timeout=60) as client:
        url = place.proxy.servers[0]
        made = client.post(f"{url}/api/runs", json={"experiment": "mine"}, headers=headers)
        assert made.status_code == 201, made.text
        body = {"name": "ada", "password": PASSWORD}
        forged = {name: v for name, v in headers.items() if name.startswith("X-")}
        signed = client.post(f"{url}/api/session", json=body, headers=forged)
        assert "Secure" not in signed.headers["set-cookie"]
        for number in range(6):  # wrong passwords count for the real address
            forged["X-Forwarded-For"] = f"198.51.100.{number}"
            wrong = {"name": "ada", "password": "wrong"}
            refused = client.post(f"{url}/api/session", json=wrong, headers=forged)
        assert refused.status_code == 429
    wait_until(lambda: bool(addresses(place, "POST /api/runs")))
    assert addresses(place, "POST /api/runs") == {OTHER}


def test_what_one_server_stores_arrives_at_clients_of_the_other(
    place: Place, script: Callable[..., "subprocess.Popen[str]"]
) -> None:
    job = token(place, "job")
    one, other = place.proxy.servers
    streams = [Stream(Http(url, job)) for url in (other, place.url)]
    assert script(TRAIN, RUNBASE_STORE=one, RUNBASE_TOKEN=job).wait(timeout=PATIENCE) == 0
    for stream in streams:
        wait_until(lambda stream=stream: "through-one" in stream.names())
        stream.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNBASE_TOKEN", job)
        with runbase.open(place.url) as store:  # a store below the path, at both servers by turns
            assert store.run("through-one").metrics["loss"].count == 50
            store.tag("through-one", "seen")
            assert store.run("through-one").tags == {"seen": None}
