"""`/mcp`: the tools for agents over HTTP, if the package `mcp` is installed."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from litestar import asgi
from litestar.types import Receive, Scope, Send

from runbase.errors import NotAllowed
from runbase.server.principals import Principal
from runbase.store.store import Store


class Agents:
    """The tools as an ASGI application: those that only read, and, for callers who may write, all of them.

    The package takes half a second to import, so the first request starts it.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._apps: dict[bool, Any] = {}
        self._ready = asyncio.Event()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """End the sessions."""
        self._stopping.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        """Run the sessions until the server ends."""
        from mcp.server.transport_security import TransportSecuritySettings

        from runbase.server.mcp import create_mcp

        # The server's own middleware has checked Host and Origin.
        security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
        try:
            async with AsyncExitStack() as stack:
                for write in (False, True):
                    server = create_mcp(self._store, write=write)
                    self._apps[write] = server.streamable_http_app(
                        streamable_http_path="/mcp",
                        stateless_http=True,
                        json_response=True,
                        transport_security=security,
                    )
                    await stack.enter_async_context(server.session_manager.run())
                self._ready.set()
                await self._stopping.wait()
        finally:
            self._ready.set()

    def route(self) -> Any:
        """Return the route."""

        @asgi("/mcp", is_mount=True, copy_scope=True, opt={"permission": "read"})
        async def agents(scope: Scope, receive: Receive, send: Send) -> None:
            known: Any = scope
            caller: Principal = known["user"]
            if not caller.may_everywhere("read"):
                raise NotAllowed(
                    f"{caller.name!r} may read some experiments only; agents need the whole store"
                )
            if self._task is None:
                self._task = asyncio.create_task(self._run())
            await self._ready.wait()
            known["path"], known["raw_path"] = "/mcp", b"/mcp"
            await self._apps[caller.may_everywhere("write")](scope, receive, send)

        return agents
