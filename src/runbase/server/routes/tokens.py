"""Tokens, and the log of what clients changed."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from runbase.errors import NotAllowed, NotFound
from runbase.server.callers import Callers
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count, Limit
from runbase.server.routes.users import note
from runbase.server.scope import document_for, experiment_for, run_for
from runbase.server.threads import in_thread
from runbase.server.tokens import MadeToken, NewToken, make, permissions_of
from runbase.storage.server_protocol import Audited, Token
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


@get("/api/tokens", opt={"permission": "any"})
@in_thread
def tokens(request: Caller, store: NamedDependency[Store]) -> list[Token]:
    """Return tokens, without the tokens themselves: all for an admin, else those of the caller."""
    caller, found = request.user, store.storage.tokens()
    if caller.may("admin"):
        return found
    if caller.user is None:
        caller.require("admin")
    return [token for token in found if token.user == caller.user]


@post("/api/tokens", opt={"permission": "any", "audited": True})
@in_thread
def add_token(
    request: Caller, store: NamedDependency[Store], data: JSONBody[NewToken]
) -> MadeToken:
    """Make a token. Only this answer contains it.

    A user makes tokens of their own, which never allow more than the user may do. A token makes tokens only if it is nobody's
    and has the permission admin.
    """
    caller = request.user
    note(request, data.name)
    if caller.user is None:
        caller.require("admin")
        return make(store, data)
    if caller.kind == "token":
        raise NotAllowed("a token of a user makes no tokens; sign in")
    if data.only is not None:
        for run in data.only.runs:
            run_for(store, caller, run)
        for word in data.only.documents:
            document_for(store, caller, word)
    for permission in sorted(permissions_of(data.permissions)):
        for word in data.experiments or ():
            experiment_for(store, caller, word, permission)
        if not caller.may_somewhere(permission):
            raise NotAllowed(f"{caller.name} has no {permission} permission to give to a token")
    return make(store, data, caller.user)


@delete("/api/tokens/{token:str}", opt={"permission": "any", "audited": True}, status_code=200)
@in_thread
def revoke_token(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    token: FromPath[str],
) -> Count:
    """Revoke the token with an id or a name; other processes of the server refuse it within ten seconds."""
    caller, count = request.user, 0
    if caller.user is not None and (caller.kind != "token" or caller.may("admin")):
        count = store.storage.revoke_token(token, caller.user)
    if not count and (caller.may("admin") or caller.user is None or caller.kind == "token"):
        caller.require("admin")
        count = store.storage.revoke_token(token)
    if not count:
        raise NotFound(f"no valid token {token!r}")
    callers.forget()
    return Count(count)


@get("/api/audit", opt={"permission": "admin"})
@in_thread
def audit(store: NamedDependency[Store], limit: Limit = 100) -> list[Audited]:
    """Return the latest requests that changed something, newest first."""
    return store.storage.audit(limit)


ROUTES: tuple[Any, ...] = (tokens, add_token, revoke_token, audit)
