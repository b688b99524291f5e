"""Who calls, and what they may do: in general, and on single experiments. Without the framework."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from runbase.errors import NotAllowed
from runbase.server.tokens import PERMISSIONS, permissions_of
from runbase.storage.server_protocol import Shared, Token
from runbase.storage.users_protocol import User

Kind = Literal["local", "token", "session", "password"]
ROLES: Mapping[str, frozenset[str]] = {
    "none": frozenset(),
    "viewer": frozenset({"read"}),
    "editor": frozenset({"read", "log", "write"}),
    "admin": frozenset(PERMISSIONS),
}
"""What each role allows."""


class Principal(Struct, frozen=True, kw_only=True):
    """Who calls.

    Attributes:
        name: the name of the user, of the token, or `local`.
        permissions: what it may do with the store, new experiments, and each experiment without a grant.
        grants: id of an experiment → what it may do there instead.
        kind: how it was recognised.
        user: the id of the user; None: a token of nobody, or `local`.
        person: whose limits count: the name of the user, else the name.
        only: the only runs and documents that it reads, if it is a link to one view; it has no permissions and grants then.
        owner: who made the link: it reads only what its owner may read.
    """

    name: str
    permissions: frozenset[str]
    grants: Mapping[str, frozenset[str]] = {}
    kind: Kind = "token"
    user: str | None = None
    person: str
    only: Shared | None = None
    owner: "Principal | None" = None

    def may(self, permission: str, experiment: str | None = None) -> bool:
        """Return whether it has a permission: on an experiment if one is given, else on the store and new experiments."""
        if experiment is None:
            return permission in self.permissions
        return permission in self.grants.get(experiment, self.permissions)

    def may_everywhere(self, permission: str) -> bool:
        """Return whether it has a permission on the store and on each experiment."""
        return permission in self.permissions and all(
            permission in granted for granted in self.grants.values()
        )

    def may_somewhere(self, permission: str) -> bool:
        """Return whether it has a permission on the store or on at least one experiment."""
        return (
            permission in self.permissions
            or any(permission in granted for granted in self.grants.values())
            or (permission == "read" and self.only is not None)
        )

    def may_read_run(self, run: str, experiment: str) -> bool:
        """Return whether it may read a run: because it may read its experiment, or as a link to the run."""
        return self.may("read", experiment) or (
            self.only is not None and run in self.only.runs and self._owner_may_read(experiment)
        )

    def may_read_document(self, document: str, experiment: str | None) -> bool:
        """Return whether it may read a document: because it may read its experiment, or as a link to the document."""
        return self.may("read", experiment) or (
            self.only is not None
            and document in self.only.documents
            and self._owner_may_read(experiment)
        )

    def _owner_may_read(self, experiment: str | None) -> bool:
        return self.owner is None or self.owner.may("read", experiment)

    def require(self, permission: str, experiment: str | None = None) -> None:
        """Raise NotAllowed unless it `may`."""
        if not self.may(permission, experiment):
            where = "on the whole store" if experiment is None else f"on experiment {experiment}"
            raise NotAllowed(f"{self.name} has no {permission} permission {where}")

    def require_everywhere(self, permission: str) -> None:
        """Raise NotAllowed unless it has the permission on the store and on each experiment."""
        if not self.may_everywhere(permission):
            raise NotAllowed(
                f"{self.name} has no {permission} permission on all experiments, which this request needs"
            )


LOCAL = Principal(name="local", person="local", permissions=frozenset(PERMISSIONS), kind="local")


def of_user(user: User, kind: Kind) -> Principal:
    """Return the principal of a user. Grants do not limit an admin."""
    grants = {} if user.role == "admin" else user.grants
    return Principal(
        name=user.name,
        person=user.name,
        permissions=ROLES[user.role],
        grants={experiment: ROLES[role] for experiment, role in grants.items()},
        kind=kind,
        user=user.id,
    )


def of_token(token: Token, user: User | None) -> Principal:
    """Return the principal of a token: what the token allows, and of that only what its user may do.

    Args:
        token: the token.
        user: its user, if it is one of a user.
    """
    allowed = permissions_of(token.permissions)
    if token.only is not None:
        return Principal(
            name=token.name,
            person=token.name if user is None else user.name,
            permissions=frozenset(),
            user=None if user is None else user.id,
            only=token.only,
            owner=None if user is None else of_user(user, "token"),
        )
    if user is None:
        limited = token.experiments is not None
        return Principal(
            name=token.name,
            person=token.name,
            permissions=frozenset() if limited else allowed,
            grants=dict.fromkeys(token.experiments or (), allowed),
        )
    owner = of_user(user, "token")
    if token.experiments is None:
        permissions, places = owner.permissions, list(owner.grants)
    else:
        permissions, places = frozenset[str](), token.experiments
    return Principal(
        name=f"{user.name}/{token.name}",
        person=user.name,
        permissions=permissions & allowed,
        grants={e: owner.grants.get(e, owner.permissions) & allowed for e in places},
        user=user.id,
    )
