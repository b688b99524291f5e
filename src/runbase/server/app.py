"""The ASGI application of a server."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from typing import Any

from litestar import Litestar
from litestar.config.compression import CompressionConfig
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from runbase import __version__
from runbase.errors import RunbaseError
from runbase.integrations.mlflow.rest.routes import routes as mlflow_routes
from runbase.server import access, bodies, page, problems
from runbase.server.alerts.sending import sender
from runbase.server.alerts.watcher import Watcher
from runbase.server.audit import recorder
from runbase.server.callers import Callers
from runbase.server.ingest import Ingester
from runbase.server.live import LiveHub
from runbase.server.oidc import Provider
from runbase.server.options import ServerOptions
from runbase.server.routes import ROUTES
from runbase.server.routes.agents import Agents
from runbase.store.store import Store

OURS = "runbase."
"""Where the handlers of routes are that must declare a permission; the framework adds some of its own."""


def create_app(store: Store, options: ServerOptions | None = None) -> Litestar:
    """Return the application that serves a store.

    Args:
        store: the store; the application does not close it.
        options: how the server is reached. Default: on loopback, without tokens.

    Raises:
        RuntimeError: a route declares no permission.
    """
    options = options or ServerOptions()
    ingester, hub = Ingester(store), LiveHub(store)
    send = sender(url=options.public_url, private=options.private_targets)
    watcher = Watcher(store, send)
    callers = Callers(store.storage, options)

    agents = Agents(store) if find_spec("mcp") is not None else None

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        del app
        if options.ingest:
            ingester.start()
        if options.alerts:
            watcher.start()
        try:
            yield
        finally:
            hub.stop()
            ingester.stop()
            watcher.stop()
            if agents is not None:
                await agents.stop()

    def provide(value: Any) -> Provide:
        def get() -> Any:
            return value

        return Provide(get, sync_to_thread=False)

    handlers: dict[int | type[Exception], Callable[..., Any]] = {
        RunbaseError: problems.of_runbase,
        HTTPException: problems.of_http,
        NotFoundException: page.of_missing(options),
        Exception: problems.of_anything,
    }
    app = Litestar(
        route_handlers=[
            *ROUTES,
            *page.routes(options),
            *([agents.route()] if agents is not None else []),
            *(mlflow_routes(store) if options.mlflow else ()),
        ],
        dependencies={
            "store": provide(store),
            "options": provide(options),
            "hub": provide(hub),
            "callers": provide(callers),
            "provider": provide(None if options.oidc is None else Provider(options.oidc)),
        },
        guards=[access.guard],
        middleware=[
            DefineMiddleware(
                access.AccessMiddleware,
                callers=callers,
                options=options,
                audit=recorder(store),
            )
        ],
        exception_handlers=handlers,  # pyright: ignore[reportArgumentType]
        compression_config=CompressionConfig(
            backend="gzip",
            gzip_compress_level=1,
            minimum_size=2048,
            # A stream compresses itself, files have ranges, and assets are compressed when they are built.
            exclude=["/api/live", "/files/", "/assets/"],
        ),
        openapi_config=OpenAPIConfig(
            title="runbase",
            version=__version__,
            use_handler_docstrings=True,
            path="/-/openapi",  # the framework's own routes; ours is /api/openapi.json
            render_plugins=[JsonRenderPlugin()],
        ),
        lifespan=[lifespan],
        logging_config=None,  # the program's own logging stays as it is
        request_max_body_size=bodies.LARGEST,
    )
    app.state.hub = hub
    check_permissions(app)
    return app


def check_permissions(app: Litestar) -> None:
    """Raise RuntimeError if a route declares no permission."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            ours = handler.fn.__module__.startswith(OURS)
            if ours and "permission" not in handler.opt:
                raise RuntimeError(f"the route {route.path} declares no permission")
