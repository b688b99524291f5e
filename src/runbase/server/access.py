"""What a request may do: the permissions of routes, and the defence of a server on loopback."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.exceptions import (
    NotAuthorizedException,
    PermissionDeniedException,
    TooManyRequestsException,
)
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from runbase.server import problems
from runbase.server.callers import Callers, headers_of
from runbase.server.options import ServerOptions
from runbase.server.principals import Principal

Permission = Literal["public", "any", "read", "log", "write", "admin"]
"""What a route needs: `any` is a valid token, session or password, whatever it may do."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_GUARDED = frozenset({"/api/live", "/api/sql"})
"""Paths that other web sites may not even read."""
_TOKEN = "set RUNBASE_TOKEN, or call `runbase login`; in HTTP, Authorization: Bearer rb_…"  # noqa: S105


def guard(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse a request whose sender lacks the permission of the route, for at least one experiment."""
    permission: str = handler.opt.get("permission", "read")
    if permission == "public":
        return
    scope: Any = connection.scope
    principal = cast("Principal | None", scope.get("user"))
    if principal is None:
        given = connection.headers.get("authorization")
        raise NotAuthorizedException(
            "the token or password was not accepted: it is wrong, revoked or expired"
            if given
            else f"a token is needed, or to sign in: {_TOKEN}",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if permission == "any":
        return
    # What an admin does concerns the whole store, whatever else the caller may do with some experiments.
    allowed = (
        principal.may("admin") if permission == "admin" else principal.may_somewhere(permission)
    )
    if not allowed:
        raise PermissionDeniedException(f"{principal.name} has no {permission} permission")


class AccessMiddleware:
    """Finds out who calls, and refuses requests that come from other web sites.

    Args:
        app: the application.
        callers: finds out who calls.
        options: how the server is reached.
        audit: called after each request, to record what changed.
    """

    def __init__(
        self,
        app: ASGIApp,
        callers: Callers,
        options: ServerOptions,
        audit: Callable[[Scope], Awaitable[None]],
    ) -> None:
        self.app = app
        self._callers = callers
        self._audit = audit
        self._names = {*LOOPBACK, *options.hosts, options.host}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers, method = headers_of(scope), scope["method"]
        unsafe = method not in _SAFE
        refusal = self._refusal(unsafe or scope["path"] in _GUARDED, headers)
        if refusal is not None:
            await problems.send(refusal, send)
            return
        try:
            principal = await self._callers.of_scope(scope)
        except TooManyRequestsException as error:
            await problems.send((429, error.detail), send, error.headers)
            return
        if unsafe and principal is not None and principal.kind == "session":
            refusal = _refusal_of_cookie(method, headers)
            if refusal is not None:
                await problems.send(refusal, send)
                return
        scope["user"] = principal

        async def audited(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["runbase_status"] = message["status"]  # type: ignore[typeddict-unknown-key]
            await send(message)

        await self.app(scope, receive, audited)
        await self._audit(scope)

    def _refusal(self, guarded: bool, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return why a request is refused before anybody looks at it: DNS rebinding, and requests of other sites."""
        host = _name(headers.get("host", ""))
        if host not in self._names and "*" not in self._names:
            return 421, f"this server is not called {host!r}; add the name with --host-name {host}"
        if not guarded:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("cross-site", "same-site"):
            return 403, "requests of other web sites are refused"
        if origin not in (None, "null") and _name(urlsplit(origin or "").netloc) != host:
            return 403, f"requests of {origin} are refused"
        if origin == "null":
            return 403, "requests without an origin are refused"
        return None


def _refusal_of_cookie(method: str, headers: dict[str, str]) -> tuple[int, str] | None:
    """Return why a change is refused that a browser sends with its cookie, which pages of other ports could make it send."""
    origin = headers.get("origin")
    if (
        origin is not None
        and "sec-fetch-site" not in headers
        and urlsplit(origin).netloc != headers.get("host")
    ):
        return 403, f"requests of {origin} are refused"
    empty = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if (
        kind != "application/json"
        and not kind.endswith("+json")
        and not (empty and method != "POST")
    ):
        return 415, "with a session, the body must be application/json"
    return None


def _name(host: str) -> str:
    """Return the name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
