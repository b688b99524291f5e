"""The interface of a storage for servers: tokens, a log of changes, and documents of the page."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct


class Shared(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a link to one view reads, and nothing else: ids of runs and of documents."""

    runs: list[str] = []
    documents: list[str] = []


class Token(Struct, frozen=True, kw_only=True):
    """A token that a client of a server presents, without the token itself.

    Attributes:
        permissions: some of read, log, write and admin.
        experiments: ids of the experiments that it is for; None: all.
        used_at: when it was last used, to the minute.
        user: the id of the user whose token it is, and whose rights limit it; None: nobody's.
        only: the only runs and documents that it reads; None: those of its experiments.
    """

    id: str
    name: str
    permissions: list[str]
    experiments: list[str] | None
    created_at: datetime
    expires_at: datetime | None = None
    used_at: datetime | None = None
    revoked_at: datetime | None = None
    user: str | None = None
    only: Shared | None = None


class Audited(Struct, frozen=True, kw_only=True):
    """A request that changed something. `action` is the method and path, or the method of the storage."""

    time: datetime
    who: str
    address: str
    action: str
    status: int


class Document(Struct, frozen=True, kw_only=True):
    """A saved view, report or query. `version` counts its changes."""

    id: str
    kind: str
    name: str
    owner: str
    experiment: str | None
    version: int
    body: Any
    created_at: datetime
    updated_at: datetime


class ServerStorage(Protocol):
    """What a server stores for itself. It is not offered to its clients as it is."""

    def add_token(
        self,
        name: str,
        sha256: str,
        permissions: Sequence[str],
        experiments: Sequence[str] | None = None,
        expires: float | None = None,
        user: str | None = None,
        only: Shared | None = None,
    ) -> str:
        """Add a token by its hash and return its id.

        Args:
            name: whom or what it is for.
            sha256: its hash.
            permissions: some of read, log, write and admin.
            experiments: ids of the experiments that it is for; None: all.
            expires: when it expires, in seconds since the epoch.
            user: the id of the user whose token it is.
            only: the only runs and documents that it reads; None: those of its experiments.
        """
        ...

    def tokens(self) -> list[Token]:
        """Return all tokens, newest first."""
        ...

    def find_token(self, sha256: str) -> Token | None:
        """Return the valid token with this hash."""
        ...

    def touch_token(self, token: str) -> None:
        """Record that the token with this id was used now."""
        ...

    def revoke_token(self, word: str, user: str | None = None) -> int:
        """Revoke tokens; returns how many.

        Args:
            word: an id, or a name.
            user: only tokens of the user with this id. None: any token by its id, and by name those that are nobody's.
        """
        ...

    def add_audit(self, who: str, address: str, action: str, status: int) -> None:
        """Record a request that changed something."""
        ...

    def audit(self, limit: int = 100) -> list[Audited]:
        """Return the latest requests that changed something, newest first."""
        ...

    def put_document(
        self,
        kind: str,
        name: str,
        owner: str,
        body: Any,
        experiment: str | None = None,
        document: str | None = None,
        version: int | None = None,
    ) -> Document:
        """Add a document, or replace one if it still has this version. Raises Conflict."""
        ...

    def document(self, document: str) -> Document | None:
        """Return a document, or None."""
        ...

    def documents(self, kind: str, experiment: str | None = None) -> list[Document]:
        """Return the documents of a kind, of an experiment or of the store, by name."""
        ...

    def remove_document(self, document: str) -> bool:
        """Remove a document; False if there is none."""
        ...
