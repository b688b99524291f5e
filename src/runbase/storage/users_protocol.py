"""The interface of a storage for the users of a server: roles, grants on experiments, sessions."""

from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

Role = Literal["none", "viewer", "editor", "admin"]
"""What a user may do on all experiments."""
GrantRole = Literal["none", "viewer", "editor"]
"""What a user may do on one experiment."""


class User(Struct, frozen=True, kw_only=True):
    """A user of a server.

    Attributes:
        role: what the user may do on experiments without a grant.
        grants: id of an experiment → what the user may do there instead.
        has_password: whether the user can sign in with a password.
        subject: issuer and subject of OpenID Connect; None: the user did not come from a provider.
        signed_in_at: when a session of the user began last.
    """

    id: str
    name: str
    role: Role
    grants: dict[str, GrantRole]
    has_password: bool
    subject: str | None
    created_at: datetime
    signed_in_at: datetime | None = None


class Session(Struct, frozen=True, kw_only=True):
    """A browser that is signed in. `user` is the id of its user; None: it opened the one-time URL of the server."""

    user: str | None
    used_at: datetime
    expires_at: datetime


class UserStorage(Protocol):
    """The users of a server. It is not offered to its clients as it is."""

    def add_user(
        self, name: str, role: Role, password: str | None = None, subject: str | None = None
    ) -> str:
        """Add a user and return the id.

        Args:
            name: the name to sign in with.
            role: what the user may do on all experiments.
            password: the hash of the password.
            subject: issuer and subject of OpenID Connect.

        Raises:
            Conflict: a user has this name or subject.
        """
        ...

    def users(self) -> list[User]:
        """Return all users, by name."""
        ...

    def find_user(self, word: str) -> User | None:
        """Return the user with an id or a name."""
        ...

    def user_of_subject(self, subject: str) -> User | None:
        """Return the user with an issuer and subject of OpenID Connect."""
        ...

    def password_of(self, user: str) -> str | None:
        """Return the hash of a user's password; `user` is an id."""
        ...

    def set_password(self, user: str, password: str) -> bool:
        """Set the hash of a user's password and end all sessions of the user; False if there is no such user."""
        ...

    def set_role(self, user: str, role: Role) -> bool:
        """Set what a user may do on all experiments; False if there is no such user."""
        ...

    def rename_user(self, user: str, name: str) -> bool:
        """Change the name of a user; False if there is no such user. Raises Conflict if another user has the name."""
        ...

    def remove_user(self, user: str) -> bool:
        """Remove a user with grants, sessions and tokens; False if there is no such user."""
        ...

    def set_grant(self, user: str, experiment: str, role: GrantRole) -> None:
        """Set what a user may do on one experiment. Raises NotFound."""
        ...

    def remove_grant(self, user: str, experiment: str) -> bool:
        """Remove what a user may do on one experiment, so that the role counts; False if there is no grant."""
        ...

    def add_session(self, sha256: str, user: str | None, days: float) -> None:
        """Add a session by the hash of its cookie, which expires after days without use. Remove expired ones."""
        ...

    def find_session(self, sha256: str) -> Session | None:
        """Return the valid session with this hash."""
        ...

    def touch_session(self, sha256: str, days: float) -> None:
        """Record that a session was used now, and let it expire after days without use."""
        ...

    def remove_session(self, sha256: str) -> bool:
        """End a session; False if there is none."""
        ...
