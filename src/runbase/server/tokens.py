"""Tokens and permissions, without the framework: commands make tokens, too."""

import hashlib
import secrets
import time
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Struct

from runbase.errors import NotFound, UsageError
from runbase.storage.server_protocol import Shared
from runbase.store.store import Store

PERMISSIONS = ("read", "log", "write", "admin")
IMPLIED = {
    "admin": PERMISSIONS,
    "write": ("read", "log", "write"),
    "read": ("read",),
    "log": ("log",),
}
MOST_SHARED = 200
"""Runs that one link reads."""
PREFIX = "rb_"
DAY = 86400.0


class NewToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to be made.

    Attributes:
        permissions: some of read, log, write, admin.
        experiments: names or ids of the experiments that it is for; null: all.
        days: until it expires.
        only: ids of the only runs and documents that it reads: a link to one view. Its permission is read.
    """

    name: str
    permissions: list[str] = msgspec.field(default_factory=lambda: ["write"])
    experiments: list[str] | None = None
    days: Annotated[float, msgspec.Meta(gt=0)] | None = None
    only: Shared | None = None


class MadeToken(Struct, frozen=True):
    """A new token, which is shown this once."""

    id: str
    token: str


def permissions_of(names: Iterable[str]) -> frozenset[str]:
    """Return the permissions that some permissions imply. Raises UsageError if one does not exist."""
    found: set[str] = set()
    for name in names:
        if name not in IMPLIED:
            raise UsageError(f"no permission {name!r}; use {', '.join(PERMISSIONS)}")
        found.update(IMPLIED[name])
    return frozenset(found)


def new_token() -> tuple[str, str]:
    """Return a new token, and its hash, which is stored."""
    token = PREFIX + secrets.token_urlsafe(32)
    return token, hashed(token)


def hashed(token: str) -> str:
    """Return the hash of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def make(store: Store, data: NewToken, user: str | None = None) -> MadeToken:
    """Make a token for clients of a server.

    Args:
        store: the store.
        data: the token.
        user: the id of the user whose token it is; None: nobody's.

    Raises:
        UsageError: a permission does not exist, or a valid token has this name.
        NotFound: an experiment, run or document does not exist.
    """
    permissions_of(data.permissions)
    only = None if data.only is None else _shared(store, data)
    if any(
        (token.name, token.user, token.revoked_at) == (data.name, user, None)
        for token in store.storage.tokens()
    ):
        raise UsageError(f"there is a token {data.name!r}; choose another name, or revoke it first")
    experiments = (
        None
        if data.experiments is None
        else [store.experiment(word).id for word in data.experiments]
    )
    token, digest = new_token()
    expires = None if data.days is None else time.time() + data.days * DAY
    made = store.storage.add_token(
        data.name, digest, data.permissions, experiments, expires, user, only
    )
    return MadeToken(made, token)


def _shared(store: Store, data: NewToken) -> Shared:
    """Return the whole ids of what a link reads."""
    only = data.only
    assert only is not None
    if data.permissions != ["read"] or data.experiments is not None:
        raise UsageError(
            "a link to single runs or documents has the permission read, and no experiments"
        )
    if len(only.runs) > MOST_SHARED:
        raise UsageError(f"{len(only.runs)} runs; a link reads {MOST_SHARED} at most")
    for document in only.documents:
        if store.storage.document(document) is None:
            raise NotFound(f"no document {document!r}")
    return Shared(runs=[store.run(run).id for run in only.runs], documents=only.documents)
