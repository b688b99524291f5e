"""Tokens, the log of changes, and documents of a server; `runbase.storage.server_protocol` describes each function."""

import time as clock
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from runbase.errors import Conflict, NotFound
from runbase.ids import new_id
from runbase.storage.server_protocol import Audited, Document, Shared, Token
from runbase.storage.sql.session import Session


def add_token(
    session: Session,
    name: str,
    sha256: str,
    permissions: Sequence[str],
    experiments: Sequence[str] | None = None,
    expires: float | None = None,
    user: str | None = None,
    only: Shared | None = None,
) -> str:
    """Add a token by its hash and return its id."""
    token = new_id()
    session.run(
        "add_token",
        id=token,
        name=name,
        sha256=sha256,
        permissions=session.json(list(permissions)),
        experiments=None if experiments is None else session.json(list(experiments)),
        runs=None if only is None else session.json(list(only.runs)),
        documents=None if only is None else session.json(list(only.documents)),
        created=session.time(clock.time()),
        expires=None if expires is None else session.time(expires),
        user=user,
    )
    return token


def tokens(session: Session) -> list[Token]:
    """Return all tokens, newest first."""
    return [_token(session, row) for row in session.rows("tokens")]


def find_token(session: Session, sha256: str) -> Token | None:
    """Return the valid token with this hash."""
    row = session.row("token_by_hash", sha256=sha256, now=session.time(clock.time()))
    return None if row is None else _token(session, row)


def touch_token(session: Session, token: str) -> None:
    """Record that a token was used now."""
    session.run("touch_token", id=token, now=session.time(clock.time()))


def _token(session: Session, row: Any) -> Token:
    experiments, runs, documents = row["experiments"], row["runs"], row["documents"]
    created = session.moment(row["created_at"])
    assert created is not None
    return Token(
        id=row["id"],
        name=row["name"],
        permissions=session.document(row["permissions"]),
        experiments=None if experiments is None else session.document(experiments),
        created_at=created,
        expires_at=session.moment(row["expires_at"]),
        used_at=session.moment(row["used_at"]),
        revoked_at=session.moment(row["revoked_at"]),
        user=row["user_id"],
        only=None
        if runs is None
        else Shared(runs=session.document(runs), documents=session.document(documents)),
    )


def revoke_token(session: Session, word: str, user: str | None = None) -> int:
    """Revoke the tokens with this id or name; returns how many."""
    return session.changed("revoke_token", word=word, user=user, now=session.time(clock.time()))


def add_audit(session: Session, who: str, address: str, action: str, status: int) -> None:
    """Record a request that changed something."""
    now = session.time(clock.time())
    session.run("add_audit", time=now, who=who, address=address, action=action, status=status)


def audit(session: Session, limit: int = 100) -> list[Audited]:
    """Return the latest requests that changed something, newest first."""
    return [
        Audited(
            time=session.moment(row["time"]) or datetime.now(UTC),
            who=row["who"],
            address=row["address"],
            action=row["action"],
            status=row["status"],
        )
        for row in session.rows("audit", limit=limit)
    ]


def put_document(
    session: Session,
    kind: str,
    name: str,
    owner: str,
    body: Any,
    experiment: str | None = None,
    document: str | None = None,
    version: int | None = None,
) -> Document:
    """Add a document, or replace one if it still has this version."""
    now = session.time(clock.time())
    if document is None:
        document = new_id()
        session.run(
            "put_document",
            id=document,
            kind=kind,
            name=name,
            owner=owner,
            experiment=experiment,
            body=session.json(body),
            now=now,
        )
    elif not session.changed(
        "change_document", id=document, name=name, body=session.json(body), version=version, now=now
    ):
        there = one_document(session, document)
        if there is None:
            raise NotFound(f"no document {document!r}")
        raise Conflict(
            f"document {there.name!r} was changed by somebody else: it has version {there.version}, "
            f"and this change was made of version {version}"
        )
    found = one_document(session, document)
    assert found is not None
    return found


def one_document(session: Session, document: str) -> Document | None:
    """Return a document, or None."""
    row = session.row("document", id=document)
    return None if row is None else _document(session, row)


def documents(session: Session, kind: str, experiment: str | None = None) -> list[Document]:
    """Return the documents of a kind, of an experiment or of the store, by name."""
    rows = session.rows("documents", kind=kind, experiment=experiment)
    return [_document(session, row) for row in rows]


def _document(session: Session, row: Any) -> Document:
    created, updated = session.moment(row["created_at"]), session.moment(row["updated_at"])
    assert created is not None
    assert updated is not None
    return Document(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        owner=row["owner"],
        experiment=row["experiment_id"],
        version=row["version"],
        body=session.document(row["body"]),
        created_at=created,
        updated_at=updated,
    )


def remove_document(session: Session, document: str) -> bool:
    """Remove a document; False if there is none."""
    return bool(session.changed("remove_document", id=document))
