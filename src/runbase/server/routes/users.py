"""Users of the server, and what they may do on single experiments."""

from typing import Any

from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Struct, UnsetType

from runbase.errors import Conflict, NotFound, UsageError
from runbase.server import users
from runbase.server.callers import Callers
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count
from runbase.server.threads import in_thread
from runbase.server.users import Grant
from runbase.storage.users_protocol import Role, User
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


class NewUser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to be added. Without a password, the user cannot sign in until one is set."""

    name: str
    role: Role = "none"
    password: str | None = None


class UserPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of a user. A new password ends the user's sessions."""

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    password: str | UnsetType = UNSET


def note(request: "Request[Any, Any, Any]", detail: str) -> None:
    """Add to the record of a change what its path does not say."""
    scope: Any = request.scope
    scope["runbase_detail"] = detail


@get("/api/users", opt={"permission": "admin"})
@in_thread
def list_users(store: NamedDependency[Store]) -> list[User]:
    """Return all users, with their grants and without their passwords."""
    return store.storage.users()


@post("/api/users", opt={"permission": "admin"})
@in_thread
def add_user(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    data: JSONBody[NewUser],
) -> User:
    """Add a user."""
    note(request, f"{data.name} {data.role}")
    added = users.add(store, data.name, data.role, data.password)
    callers.forget()
    return added


@patch("/api/users/{user:str}", opt={"permission": "admin"})
@in_thread
def change_user(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    user: FromPath[str],
    data: JSONBody[UserPatch],
) -> User:
    """Change the name, role or password of the user with an id or a name."""
    changes = [name for name in data.__struct_fields__ if getattr(data, name) is not UNSET]
    if not changes:
        raise UsageError("nothing to change: pass name, role or password")
    role = "" if data.role is UNSET else data.role
    note(request, f"{','.join(changes)} {role}")
    found = users.find(store, user)
    if data.name is not UNSET:
        store.storage.rename_user(found.id, users.check_name(data.name))
    if data.role is not UNSET:
        store.storage.set_role(found.id, data.role)
    if data.password is not UNSET:
        users.set_password(store, found, data.password)
    callers.forget()
    return users.find(store, found.id)


@delete("/api/users/{user:str}", opt={"permission": "admin"}, status_code=200)
@in_thread
def remove_user(
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    user: FromPath[str],
) -> Count:
    """Remove the user with an id or a name, with grants, sessions and tokens."""
    removed = store.storage.remove_user(users.find(store, user).id)
    callers.forget()
    return Count(int(removed))


@get("/api/grants", opt={"permission": "admin"})
@in_thread
def list_grants(
    store: NamedDependency[Store],
    user: FromQuery[str | None] = None,
    experiment: FromQuery[str | None] = None,
) -> list[Grant]:
    """Return the grants: names of users, ids of experiments, roles."""
    place = None if experiment is None else store.experiment(experiment).id
    found = store.storage.users() if user is None else [users.find(store, user)]
    return [
        Grant(user=each.name, experiment=key, role=role)
        for each in found
        for key, role in each.grants.items()
        if place in (None, key)
    ]


@post("/api/grants", opt={"permission": "admin"})
@in_thread
def add_grant(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    data: JSONBody[Grant],
) -> Grant:
    """Set what a user may do on one experiment; 409 if there is a grant."""
    return _set(request, store, callers, data, there=False)


@patch("/api/grants", opt={"permission": "admin"})
@in_thread
def change_grant(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    data: JSONBody[Grant],
) -> Grant:
    """Change what a user may do on one experiment; 404 if there is no grant."""
    return _set(request, store, callers, data, there=True)


def _set(request: Caller, store: Store, callers: Callers, data: Grant, *, there: bool) -> Grant:
    note(request, f"{data.user} {data.experiment} {data.role}")
    user, place = users.find(store, data.user), store.experiment(data.experiment).id
    if (place in user.grants) != there:
        if there:
            raise NotFound(f"user {user.name} has no grant on experiment {data.experiment}")
        raise Conflict(f"user {user.name} has a grant on experiment {data.experiment}; change it")
    done = users.set_grant(store, data)
    callers.forget()
    return done


@delete("/api/grants", opt={"permission": "admin"}, status_code=200)
@in_thread
def remove_grant(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    user: FromQuery[str],
    experiment: FromQuery[str],
) -> Count:
    """Remove what a user may do on one experiment, so that the role counts."""
    note(request, f"{user} {experiment}")
    users.remove_grant(store, user, experiment)
    callers.forget()
    return Count(1)


ROUTES: tuple[Any, ...] = (
    list_users, add_user, change_user, remove_user, list_grants, add_grant, change_grant, remove_grant,
)  # fmt: skip
