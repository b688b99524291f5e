"""Tokens, and the log of what clients changed."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from runbase.errors import NotFound
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count, Limit
from runbase.server.threads import in_thread
from runbase.server.tokens import MadeToken, NewToken, make
from runbase.storage.server_protocol import Audited, Token
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


@get("/api/tokens", opt={"permission": "admin"})
@in_thread
def tokens(store: NamedDependency[Store]) -> list[Token]:
    """Return all tokens, without the tokens themselves."""
    return store.storage.tokens()


@post("/api/tokens", opt={"permission": "admin"})
@in_thread
def add_token(
    request: Caller, store: NamedDependency[Store], data: JSONBody[NewToken]
) -> MadeToken:
    """Make a token. Only this answer contains it."""
    request.user.require("admin")
    return make(store, data)


@delete("/api/tokens/{token:str}", opt={"permission": "admin"}, status_code=200)
@in_thread
def revoke_token(request: Caller, store: NamedDependency[Store], token: FromPath[str]) -> Count:
    """Revoke the token with an id or a name; it is refused within ten seconds."""
    request.user.require("admin")
    if not (count := store.storage.revoke_token(token)):
        raise NotFound(f"no valid token {token!r}")
    return Count(count)


@get("/api/audit", opt={"permission": "admin"})
@in_thread
def audit(store: NamedDependency[Store], limit: Limit = 100) -> list[Audited]:
    """Return the latest requests that changed something, newest first."""
    return store.storage.audit(limit)


ROUTES: tuple[Any, ...] = (tokens, add_token, revoke_token, audit)
