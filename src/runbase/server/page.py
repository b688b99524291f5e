"""The web page: static files, which `ui/` is built into, and one HTML document for all views."""

import html
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException
from litestar.params import FromPath, FromQuery

from runbase.errors import NotFound
from runbase.server import problems
from runbase.server.callers import Callers
from runbase.server.options import ServerOptions
from runbase.server.routes.session import opened_link

FOLDER = Path(__file__).with_name("static")
"""Where the built page is."""
CSP = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; "
    "frame-src 'self'; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
VIEWS = (
    "runs",
    "e",
    "run",
    "compare",
    "artifacts",
    "lineage",
    "sql",
    "report",
    "reports",
    "settings",
    "trials",
)
"""The first parts of the paths that the page shows as views."""
_MISSING = """<!doctype html><title>runbase</title>
<p>This server has no page: it runs from a checkout where the page is not built. Build it with <code>make page</code>.
The HTTP API is at <a href="api/openapi.json">/api/openapi.json</a>.</p>"""


def is_built() -> bool:
    """Return whether there is a page to serve."""
    return (FOLDER / "index.html").is_file()


def _headers(options: ServerOptions) -> dict[str, str]:
    return {
        "Content-Security-Policy": " ".join([CSP, *options.embedders]),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
    }


def document(options: ServerOptions, status: int = 200) -> Response[str]:
    """Return the HTML document of the page, which shows the view of the URL."""
    base = f"/{options.root_path.strip('/')}/".replace("//", "/")
    text = _MISSING
    if is_built():
        text = (FOLDER / "index.html").read_text("utf-8")
        text = text.replace("<head>", f'<head><base href="{html.escape(base)}">', 1)
    return Response(
        text,
        status_code=status,
        media_type=MediaType.HTML,
        headers={**_headers(options), "Cache-Control": "no-cache"},
    )


def of_missing(
    options: ServerOptions,
) -> Callable[[Request[Any, Any, Any], HTTPException], Response[Any]]:
    """Return the handler of unknown paths: a browser gets the page, which says so; programs get a problem."""

    def handler(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and not request.url.path.startswith("/api/"):
            return document(options, 404)
        return problems.of_http(request, error)

    return handler


def routes(options: ServerOptions) -> list[Any]:
    """Return the routes of the page for a server."""
    headers = _headers(options)
    public = {"permission": "public"}
    views = [path for view in VIEWS for path in (f"/{view}", f"/{view}/{{rest:path}}")]

    @get(views, opt=public, include_in_schema=False, sync_to_thread=False)
    def view() -> Response[str]:
        return document(options)

    @get("/", opt=public, include_in_schema=False)
    async def home(
        request: "Request[Any, Any, Any]",
        callers: NamedDependency[Callers],
        key: FromQuery[str | None] = None,
    ) -> Response[Any]:
        """Return the document; with the key of the one-time URL, begin a session."""
        if key is None or options.auth != "link":
            return document(options)
        return await opened_link(request, callers, options, key)

    @get("/assets/{name:str}", opt=public, include_in_schema=False, sync_to_thread=False)
    def asset(request: "Request[Any, Any, Any]", name: FromPath[str]) -> Response[bytes]:
        """Return a script or style, compressed when it was built. Names contain a digest, so browsers keep them."""
        place = FOLDER / "assets" / name
        if Path(name).name != name or name.startswith(".") or not place.is_file():
            raise NotFound(f"no file {name!r}")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        sent = {**headers, "Cache-Control": "public, max-age=31536000, immutable"}
        packed = place.with_name(f"{name}.gz")
        if packed.is_file():
            sent["Vary"] = "Accept-Encoding"
            if "gzip" in request.headers.get("accept-encoding", ""):
                place, sent["Content-Encoding"] = packed, "gzip"
        return Response(place.read_bytes(), media_type=kind, headers=sent)

    return [view, home, asset]
