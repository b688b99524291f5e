"""Run the application with uvicorn: in the foreground for the command line, in a thread for programs and tests."""

import logging
import socket
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from runbase.errors import UsageError
from runbase.extras import load
from runbase.server import logs
from runbase.server.access import LOOPBACK
from runbase.server.app import create_app
from runbase.server.options import AUTHS, ServerOptions
from runbase.store.store import Store

GRACE = 10
"""Seconds that requests have to end after SIGTERM."""


MOST_AT_ONCE = 1000
"""Open connections and requests; further ones get 503, so that memory is bounded."""


def check(options: ServerOptions) -> None:
    """Refuse to serve other machines without tokens or users.

    Raises:
        UsageError: the address is not a loopback one, and everybody could call; or the provider is not given.
    """
    if options.auth not in AUTHS:
        raise UsageError(f"--auth is {options.auth!r}; use {', '.join(AUTHS)}")
    if options.auth == "oidc" and options.oidc is None:
        raise UsageError("--auth oidc needs --oidc-issuer and --oidc-client-id")
    if options.auth == "link" and options.host not in LOOPBACK:
        raise UsageError(
            f"--auth link is for this machine only, and --host {options.host} is not; use --auth tokens or users"
        )
    if options.auth == "none" and options.host not in LOOPBACK:
        raise UsageError(
            f"--host {options.host} opens the server to other machines, where anybody could read and delete everything; "
            "add --auth tokens, and make a token with `runbase tokens add NAME`, or --auth users"
        )


def free_port(first: int, more: int) -> int:
    """Return the first free port of loopback from `first` on, of `more` further ones.

    Raises:
        UsageError: none is free.
    """
    for port in range(first, first + more + 1):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise UsageError(f"port {first} is taken; choose another one with --port")


def below(app: Any, prefix: str) -> Any:
    """Return an ASGI application that answers below a path, whether a proxy removes the path or not."""
    if not prefix:
        return app
    start = f"/{prefix.strip('/')}"

    async def without_prefix(scope: Any, receive: Any, send: Any) -> None:
        path: str = scope.get("path", "")
        if path.startswith(f"{start}/"):
            raw: bytes = scope["raw_path"]
            scope = {
                **scope,
                "path": path[len(start) :],
                "raw_path": raw.removeprefix(start.encode()),
            }
        await app(scope, receive, send)

    return without_prefix


def _server(
    store: Store,
    options: ServerOptions,
    *,
    certificate: tuple[str, str] | None = None,
    proxies: str = "",
) -> Any:
    check(options)
    uvicorn = load("uvicorn", "server", "runbase server")
    app = create_app(store, options)
    config = uvicorn.Config(
        below(logs.with_requests(app), options.root_path),
        host=options.host,
        port=options.port,
        log_level="warning",
        log_config=None,
        limit_concurrency=MOST_AT_ONCE,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        lifespan="on",
        ssl_certfile=certificate[0] if certificate else None,
        ssl_keyfile=certificate[1] if certificate else None,
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies or None,
    )

    class Server(uvicorn.Server):  # type: ignore[misc, name-defined]
        async def shutdown(self, sockets: Any = None) -> None:
            app.state.hub.stop()  # streams of changes would otherwise be waited for
            await super().shutdown(sockets)  # pyright: ignore[reportUnknownMemberType]

    return Server(config)


def serve(
    store: Store,
    options: ServerOptions,
    *,
    certificate: tuple[str, str] | None = None,
    proxies: str = "",
) -> None:
    """Serve a store until SIGINT or SIGTERM.

    Args:
        store: the store.
        options: how the server is reached.
        certificate: files of a TLS certificate and its key.
        proxies: addresses of proxies whose X-Forwarded headers are believed, with commas.

    Raises:
        UsageError: the server would be open to other machines, or the port is taken.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = _server(store, options, certificate=certificate, proxies=proxies)
    server.run()
    if not server.started:
        raise UsageError(f"cannot listen on {options.host}:{options.port}; is the port taken?")


@contextmanager
def serving(store: Store, options: ServerOptions | None = None) -> Generator[str]:
    """Serve a store in a thread during a `with` block.

    Args:
        store: the store.
        options: how the server is reached; port 0 takes a free one. Default: a free port on loopback.

    Yields:
        The URL of the server.
    """
    server = _server(store, options or ServerOptions(port=0))
    thread = threading.Thread(target=server.run, name="runbase-http", daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise UsageError("the server did not start; is the port taken?")
        time.sleep(0.005)
    address = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{address[0]}:{address[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=2 * GRACE)
