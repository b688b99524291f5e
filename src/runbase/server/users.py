"""Users and their grants, without the framework: commands change them, too."""

import re

from msgspec import Struct

from runbase.errors import NotFound, UsageError
from runbase.server import passwords
from runbase.storage.users_protocol import GrantRole, Role, User
from runbase.store.store import Store

_NAME = re.compile(r"(?=\S)[^\x00-\x1f\x7f:/]{1,100}(?<=\S)")


class Grant(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user may do on one experiment, instead of the role. `user` and `experiment`: name or id."""

    user: str
    experiment: str
    role: GrantRole


def check_name(name: str) -> str:
    """Return a name for a user. Raises UsageError if it cannot be one."""
    if not _NAME.fullmatch(name) or name == "local":
        raise UsageError(
            f"{name!r} cannot be the name of a user; use 1 to 100 characters without : and /"
        )
    return name


def find(store: Store, word: str) -> User:
    """Return the user with a name or an id. Raises NotFound."""
    user = store.storage.find_user(word)
    if user is None:
        raise NotFound(f"no user {word!r}; `runbase users list` lists them")
    return user


def add(store: Store, name: str, role: Role, password: str | None) -> User:
    """Add a user.

    Args:
        store: the store.
        name: the name to sign in with.
        role: what the user may do on all experiments.
        password: the password; None: the user cannot sign in with one.

    Raises:
        UsageError: the name or the password is not accepted.
        Conflict: there is a user with this name.
    """
    stored = None if password is None else passwords.hashed(password)
    return find(store, store.storage.add_user(check_name(name), role, stored))


def set_password(store: Store, user: User, password: str) -> None:
    """Set the password of a user, and end the user's sessions. Raises UsageError."""
    if not store.storage.set_password(user.id, passwords.hashed(password)):
        raise NotFound(f"no user {user.name!r}")


def set_grant(store: Store, grant: Grant) -> Grant:
    """Set what a user may do on an experiment; return it with the user's name and the experiment's id."""
    user, experiment = find(store, grant.user), store.experiment(grant.experiment)
    store.storage.set_grant(user.id, experiment.id, grant.role)
    return Grant(user=user.name, experiment=experiment.id, role=grant.role)


def remove_grant(store: Store, user: str, experiment: str) -> None:
    """Remove what a user may do on an experiment, so that the role counts. Raises NotFound."""
    found = find(store, user)
    # Also of an experiment in the trash, whose id the caller has from the list.
    place = experiment if experiment in found.grants else store.experiment(experiment).id
    if not store.storage.remove_grant(found.id, place):
        raise NotFound(f"user {found.name} has no grant on experiment {experiment}")
