"""`runbase ui`: open the page on this machine."""

import os
import secrets
import threading
import time
import webbrowser
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from runbase import settings
from runbase.cli import common
from runbase.errors import UsageError
from runbase.extras import load
from runbase.store.store import Store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase ui"
    "\n    runbase ui --no-open --port 4500"
    "\n    runbase ui --store postgresql://runbase@db.lab/research"
)
PORT = 4400
MORE_PORTS = 20
"""Ports that are tried after the first one, unless one is chosen."""


def command(
    port: Annotated[
        int | None,
        typer.Option("--port", "-p", help="The port. Default: 4400, or the next free one."),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Whether to open a web browser.")
    ] = True,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Show the store as a web page on this machine: runs, live curves, comparisons.

    Only this machine can open the page. On a machine that others use too (over SSH, in a Slurm job), the address has a key
    that works once. `runbase server` serves a team.
    """
    serve, page, options = _server()
    remote = settings.load(home=home, store=url).store
    if urlsplit(remote).scheme in ("http", "https"):
        show(remote, open_browser)
        return
    _check_built(page)
    chosen = serve.free_port(port or PORT, 0 if port else MORE_PORTS)
    key = secrets.token_urlsafe(32) if others_are_here() else None
    with common.store_to_fill(home, url) as store:
        address = f"http://127.0.0.1:{chosen}"
        if key is not None:
            address += f"/?key={key}"
        common.say(f"{store.url} at {address}; Ctrl-C ends it", flush=True)
        if open_browser:
            threading.Thread(target=_open_soon, args=(address, chosen), daemon=True).start()
        auth = "none" if key is None else "link"
        serve.serve(store, options(port=chosen, auth=auth, link_key=key))


@contextmanager
def serving_page(store: Store) -> Generator[str]:
    """Serve a store on loopback during a `with` block; yields the address."""
    serve, page, options = _server()
    _check_built(page)
    port = serve.free_port(PORT, MORE_PORTS)
    with serve.serving(store, options(port=port)) as address:
        yield address


def _server() -> tuple[Any, Any, Any]:
    """Return the modules of the server, which are slow to import, or say which extra is missing."""
    load("litestar", "server", "runbase ui")
    from runbase.server import page, serve
    from runbase.server.options import ServerOptions

    return serve, page, ServerOptions


def _check_built(page: Any) -> None:
    if not page.is_built():
        raise UsageError(
            "this checkout has no page yet; build it with `make page` or `python tools/build_page.py`"
        )


def show(address: str, open_browser: bool) -> None:
    """Open the page of a server in a browser, or say where it is."""
    if not (open_browser and webbrowser.open(address)):
        common.say(address)


def others_are_here() -> bool:
    """Return whether other people may use this machine: then a key in the address keeps them out of the page."""
    return any(name in os.environ for name in ("SSH_CONNECTION", "SLURM_JOB_ID", "JUPYTERHUB_USER"))


def _open_soon(address: str, port: int) -> None:
    """Open a browser when the server answers."""
    import urllib3

    health = f"http://127.0.0.1:{port}/health"
    for _ in range(100):
        try:
            if urllib3.request("GET", health, timeout=1, retries=False).status == 200:
                webbrowser.open(address)
                return
        except urllib3.exceptions.HTTPError:
            pass
        time.sleep(0.1)
