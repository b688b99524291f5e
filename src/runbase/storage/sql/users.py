"""Users, grants and sessions of a server; `runbase.storage.users_protocol` describes each function."""

import time as clock
from typing import Any

from runbase.errors import Conflict, NotFound
from runbase.ids import new_id
from runbase.storage.sql.session import Session as SqlSession
from runbase.storage.users_protocol import GrantRole, Role, Session, User

DAY = 86400.0


def add_user(
    session: SqlSession,
    name: str,
    role: Role,
    password: str | None = None,
    subject: str | None = None,
) -> str:
    """Add a user and return the id."""
    user = new_id()
    now = session.time(clock.time())
    if not session.changed(
        "add_user", id=user, name=name, password=password, role=role, subject=subject, now=now
    ):
        raise Conflict(f"there is a user {name!r}; choose another name")
    return user


def users(session: SqlSession) -> list[User]:
    """Return all users, by name."""
    grants: dict[str, dict[str, GrantRole]] = {}
    for row in session.rows("grants"):
        grants.setdefault(row["user_id"], {})[row["experiment_id"]] = row["role"]
    return [_user(session, row, grants.get(row["id"], {})) for row in session.rows("users")]


def find_user(session: SqlSession, word: str) -> User | None:
    """Return the user with an id or a name."""
    return _with_grants(session, session.row("user", word=word))


def user_of_subject(session: SqlSession, subject: str) -> User | None:
    """Return the user with an issuer and subject of OpenID Connect."""
    return _with_grants(session, session.row("user_of_subject", subject=subject))


def _with_grants(session: SqlSession, row: Any) -> User | None:
    if row is None:
        return None
    grants = session.rows("grants_of_user", user=row["id"])
    return _user(session, row, {grant["experiment_id"]: grant["role"] for grant in grants})


def _user(session: SqlSession, row: Any, grants: dict[str, GrantRole]) -> User:
    created = session.moment(row["created_at"])
    assert created is not None
    return User(
        id=row["id"],
        name=row["name"],
        role=row["role"],
        grants=grants,
        has_password=bool(row["has_password"]),
        subject=row["subject"],
        created_at=created,
        signed_in_at=session.moment(row["signed_in_at"]),
    )


def password_of(session: SqlSession, user: str) -> str | None:
    """Return the hash of a user's password."""
    row = session.row("password_of_user", id=user)
    return None if row is None else row["password"]


def set_password(session: SqlSession, user: str, password: str) -> bool:
    """Set the hash of a user's password and end all sessions of the user."""
    session.run("end_sessions_of_user", user=user)
    return bool(session.changed("set_password", id=user, password=password))


def set_role(session: SqlSession, user: str, role: Role) -> bool:
    """Set what a user may do on all experiments."""
    return bool(session.changed("set_role", id=user, role=role))


def rename_user(session: SqlSession, user: str, name: str) -> bool:
    """Change the name of a user."""
    there = session.row("user", word=name)
    if there is not None and there["id"] != user:
        raise Conflict(f"there is a user {name!r}; choose another name")
    return bool(session.changed("rename_user", id=user, name=name))


def remove_user(session: SqlSession, user: str) -> bool:
    """Remove a user with grants, sessions and tokens."""
    return bool(session.changed("remove_user", id=user))


def set_grant(session: SqlSession, user: str, experiment: str, role: GrantRole) -> None:
    """Set what a user may do on one experiment."""
    if not session.changed("set_grant", user=user, experiment=experiment, role=role):
        raise NotFound(f"no user {user!r}, or no experiment {experiment!r}")


def remove_grant(session: SqlSession, user: str, experiment: str) -> bool:
    """Remove what a user may do on one experiment."""
    return bool(session.changed("remove_grant", user=user, experiment=experiment))


def add_session(session: SqlSession, sha256: str, user: str | None, days: float) -> None:
    """Add a session by the hash of its cookie; remove expired ones."""
    at = clock.time()
    now = session.time(at)
    session.run("remove_expired_sessions", now=now)
    session.run(
        "add_session", sha256=sha256, user=user, now=now, expires=session.time(at + days * DAY)
    )
    session.run("signed_in", user=user, now=now)


def find_session(session: SqlSession, sha256: str) -> Session | None:
    """Return the valid session with this hash."""
    row = session.row("session", sha256=sha256, now=session.time(clock.time()))
    if row is None:
        return None
    used, expires = session.moment(row["used_at"]), session.moment(row["expires_at"])
    assert used is not None
    assert expires is not None
    return Session(user=row["user_id"], used_at=used, expires_at=expires)


def touch_session(session: SqlSession, sha256: str, days: float) -> None:
    """Record that a session was used now."""
    at = clock.time()
    session.run(
        "touch_session",
        sha256=sha256,
        now=session.time(at),
        expires=session.time(at + days * DAY),
    )


def remove_session(session: SqlSession, sha256: str) -> bool:
    """End a session."""
    return bool(session.changed("remove_session", sha256=sha256))
