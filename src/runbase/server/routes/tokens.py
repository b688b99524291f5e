"""Tokens, and the log of what clients changed."""

import time
from typing import Annotated, Any

import msgspec
from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from runbase.errors import NotFound
from runbase.server.access import Principal, new_token, permissions_of
from runbase.server.routes.runs import Count
from runbase.server.threads import in_thread
from runbase.storage.server_protocol import Audited, Token
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]
DAY = 86400.0


class NewToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made. `permissions`: some of read, log, write, admin; `days`: until it expires."""

    name: str
    permissions: list[str] = msgspec.field(default_factory=lambda: ["write"])
    experiments: list[str] | None = None
    days: Annotated[float, msgspec.Meta(gt=0)] | None = None


class MadeToken(Struct, frozen=True):
    """A new token, which is shown this once."""

    id: str
    token: str


def make(store: Store, data: NewToken) -> MadeToken:
    """Make a token for clients of a server.

    Raises:
        UsageError: a permission does not exist.
        NotFound: an experiment does not exist.
    """
    permissions_of(data.permissions)
    experiments = (
        None
        if data.experiments is None
        else [store.experiment(word).id for word in data.experiments]
    )
    token, digest = new_token()
    expires = None if data.days is None else time.time() + data.days * DAY
    made = store.storage.add_token(data.name, digest, data.permissions, experiments, expires)
    return MadeToken(made, token)


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
def audit(store: NamedDependency[Store], limit: FromQuery[int] = 100) -> list[Audited]:
    """Return the latest requests that changed something, newest first."""
    return store.storage.audit(min(limit, 1000))


ROUTES: tuple[Any, ...] = (tokens, add_token, revoke_token, audit)
