"""Who calls, and what they may do: tokens, the permissions of routes, and the defence of a server on loopback."""

import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from msgspec import Struct

from runbase.errors import NotAllowed
from runbase.server import problems
from runbase.server.options import ServerOptions
from runbase.server.tokens import PERMISSIONS, hashed, permissions_of
from runbase.storage.protocol import Storage
from runbase.storage.server_protocol import Token

Permission = Literal["public", "any", "read", "log", "write", "admin"]
"""What a route needs: `any` is a valid token, whatever it may do."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_KEEP = 10.0
"""Seconds for which a token that was found is not looked up again; a revoked one is refused after that."""
_USED_EVERY = 60.0
"""Seconds between two updates of a token's last use."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Principal(Struct, frozen=True):
    """Who calls.

    Attributes:
        name: the name of the token, or `local`.
        permissions: what it may do.
        experiments: ids of the experiments that it may use; None: all.
    """

    name: str
    permissions: frozenset[str]
    experiments: tuple[str, ...] | None = None

    def may(self, permission: str, experiment: str | None = None) -> bool:
        """Return whether it has a permission, for an experiment if one is given, else for the whole store."""
        if permission not in self.permissions:
            return False
        return self.experiments is None or experiment in self.experiments

    def require(self, permission: str, experiment: str | None = None) -> None:
        """Raise NotAllowed unless it has the permission."""
        if not self.may(permission, experiment):
            where = "on the whole store" if experiment is None else f"on experiment {experiment}"
            raise NotAllowed(f"{self.name} has no {permission} permission {where}")


LOCAL = Principal("local", frozenset(PERMISSIONS))


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
            "the token was not accepted: it is wrong, revoked or expired"
            if given
            else "a token is needed: set RUNBASE_TOKEN, or call `runbase login`; in HTTP, Authorization: Bearer rb_…",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if permission != "any" and permission not in principal.permissions:
        raise PermissionDeniedException(f"{principal.name} has no {permission} permission")


class AccessMiddleware:
    """Finds out who calls, and refuses requests that come from other web sites.

    Args:
        app: the application.
        storage: the storage with the tokens.
        options: how the server is reached.
        audit: called after each request, to record what changed.
    """

    def __init__(
        self,
        app: ASGIApp,
        storage: Storage,
        options: ServerOptions,
        audit: Callable[[Scope], Awaitable[None]],
    ) -> None:
        self.app = app
        self._storage = storage
        self._options = options
        self._audit = audit
        self._names = {*LOOPBACK, *options.hosts, options.host}
        self._found: dict[str, tuple[float, Principal | None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in scope["headers"]
        }
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await problems.send(refusal, send)
            return
        scope["user"] = await self._principal(scope, headers)

        async def audited(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["runbase_status"] = message["status"]  # type: ignore[typeddict-unknown-key]
            await send(message)

        await self.app(scope, receive, audited)
        await self._audit(scope)

    def _refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Return why a request is refused before anybody looks at it: DNS rebinding, and requests of other sites."""
        host = _name(headers.get("host", ""))
        if host not in self._names and "*" not in self._names:
            return 421, f"this server is not called {host!r}; add the name with --host-name {host}"
        if method in _SAFE:
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site in ("cross-site", "same-site"):
            return 403, "requests of other web sites are refused"
        if origin not in (None, "null") and _name(urlsplit(origin or "").netloc) != host:
            return 403, f"requests of {origin} are refused"
        if origin == "null":
            return 403, "requests without an origin are refused"
        return None

    def _found_token(self, digest: str) -> Token | None:
        """Return the valid token with a hash; about once a minute, record that it was used."""
        found = self._storage.find_token(digest)
        if found is not None:
            last = found.used_at
            if last is None or (datetime.now(UTC) - last).total_seconds() > _USED_EVERY:
                self._storage.touch_token(found.id)
        return found

    async def _principal(self, scope: Scope, headers: dict[str, str]) -> Principal | None:
        if self._options.auth == "none":
            return LOCAL
        token = _token(headers)
        if token is None:
            return None
        digest = hashed(token)
        at, known = self._found.get(digest, (-_KEEP, None))
        if time.monotonic() - at < _KEEP:
            return known
        found = await run_sync(self._found_token, digest)
        principal = None
        if found is not None:
            experiments = None if found.experiments is None else tuple(found.experiments)
            principal = Principal(found.name, permissions_of(found.permissions), experiments)
        if len(self._found) > 10_000:
            self._found.clear()
        self._found[digest] = time.monotonic(), principal
        return principal


def _name(host: str) -> str:
    """Return the name in a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _token(headers: dict[str, str]) -> str | None:
    """Return the token of a request: Bearer, or the password of Basic, which MLflow's clients send."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip() or None
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None
