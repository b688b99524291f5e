"""`runbase.show`: the page inside of a notebook."""

import atexit
import html
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from runbase import model
from runbase.errors import UsageError
from runbase.extras import load
from runbase.store.store import Store
from runbase.store.store import open as open_store

NOTEBOOKS = ("http://localhost:*", "http://127.0.0.1:*", "vscode-webview:")
"""Pages on this machine that may show the page in a frame: Jupyter and editors."""
_serving: dict[str, str] = {}
"""The URL of a store → the address of the server that this process has started for it."""
_opened = ExitStack()
atexit.register(_opened.close)


class Embedded:
    """A view of the page: a notebook displays it, and `url` opens it in a browser."""

    def __init__(self, url: str, height: int) -> None:
        self.url, self.height = url, height

    def __repr__(self) -> str:
        return self.url

    def _repr_html_(self) -> str:
        joined = "&" if "?" in self.url else "?"
        source = html.escape(f"{self.url}{joined}embed=1")
        frame = f'<iframe src="{source}" width="100%" height="{self.height}" style="border:1px solid #8884"></iframe>'
        return f'{frame}<a href="{html.escape(self.url)}" target="_blank">open in a tab</a>'


def show(
    what: Any = None,
    *,
    where: str | None = None,
    experiment: str | None = None,
    store: "Store | str | None" = None,
    height: int = 600,
) -> Embedded:
    """Show a view of the page in a notebook: ``runbase.show(run)``, ``runbase.show(experiment="digits")``.

    The first call starts a server on this machine, on a free port, which ends with the kernel. If the store is on a server, its
    page is shown.

    Args:
        what: a run, an experiment, a list of runs to compare, or a path of the page such as ``"/sql"``. Default: the runs.
        where: only runs that match this filter.
        experiment: the runs of this experiment.
        store: a store or its URL. Default: that of `open`.
        height: the height in pixels.

    Returns:
        An object that a notebook displays; `url` is its address.

    Raises:
        UsageError: this installation has no page, or `what` is none of these.
        ImportError: the extra ``server`` is not installed.
    """
    opened = store if isinstance(store, Store) else _opened.enter_context(open_store(store))
    address = _address(opened)
    query = {} if where is None else {"q": where}
    path = _path(what, experiment)
    joined = "&" if "?" in path else "?"
    return Embedded(f"{address}{path}{joined + urlencode(query) if query else ''}", height)


def _path(what: Any, experiment: str | None) -> str:
    if what is None:
        return "/runs" if experiment is None else f"/e/{quote(experiment, safe='')}"
    if isinstance(what, str):
        return what if what.startswith("/") else f"/run/{quote(what, safe='')}"
    if isinstance(what, model.Experiment):
        return f"/e/{quote(what.name, safe='')}"
    if isinstance(what, list | tuple):
        ids = [_id(one) for one in what]  # pyright: ignore[reportUnknownVariableType]
        return f"/compare?r={','.join(ids)}"
    return f"/run/{_id(what)}"


def _id(run: Any) -> str:
    found = run if isinstance(run, str) else getattr(run, "id", None)
    if not isinstance(found, str):
        raise UsageError(
            f"{type(run).__name__} cannot be shown; pass a run, an experiment, a list of runs, or a path"
        )
    return found


def _address(store: Store) -> str:
    """Return the address of the page of a store; start a server if there is none."""
    if urlsplit(store.url).scheme in ("http", "https"):
        return store.url.rstrip("/")
    if store.url not in _serving:
        load("litestar", "server", "runbase.show")
        from runbase.server import page, serve
        from runbase.server.options import ServerOptions

        if not page.is_built():
            raise UsageError("this checkout has no page yet; build it with `make page`")
        options = ServerOptions(port=0, embedders=NOTEBOOKS)
        _serving[store.url] = _opened.enter_context(serve.serving(store, options))
    return _serving[store.url]
