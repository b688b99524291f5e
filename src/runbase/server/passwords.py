"""Passwords of users: hashed with Argon2 before they are stored. Without the framework: commands set passwords, too."""

import secrets
from functools import cache
from typing import Any

from runbase.errors import UsageError
from runbase.extras import load
from runbase.storage.users_protocol import User, UserStorage

SHORTEST, LONGEST = 8, 1024
"""Characters of a password."""


@cache
def _hasher() -> Any:
    return load("pwdlib", "server", "a password").PasswordHash.recommended()


@cache
def _of_nobody() -> str:
    """Return the hash of a password that nobody has, so that the answer for an unknown user takes as long."""
    return _hasher().hash(secrets.token_urlsafe())


def hashed(password: str) -> str:
    """Return the hash of a password.

    Raises:
        UsageError: it is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise UsageError(
            f"a password of {len(password)} characters is not accepted; use {SHORTEST} to {LONGEST}"
        )
    return _hasher().hash(password)


def user_with(storage: UserStorage, name: str, password: str) -> User | None:
    """Return the user with a name if the password is right. It takes a tenth of a second."""
    user = storage.find_user(name) if name else None
    stored = None if user is None or user.name != name else storage.password_of(user.id)
    right = _hasher().verify(password[:LONGEST], stored or _of_nobody())
    return user if right and stored is not None else None
