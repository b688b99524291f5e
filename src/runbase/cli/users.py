"""`runbase users`: the users of a server, and what they may do."""

import sys
from typing import Annotated, Any, cast, get_args

import typer

from runbase.cli import common
from runbase.errors import UsageError
from runbase.storage.users_protocol import GrantRole, Role

EXAMPLES = (
    "Examples:\n"
    "\n    runbase users add ada --role editor"
    "\n    runbase users list"
    "\n    runbase users grant bob viewer --experiment digits"
    "\n    runbase users password ada"
)
app = typer.Typer(help="Manage the users of a server, and what they may do.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="USER", help="The name or the id of the user.")]
Stdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input.")
]


def _role(word: str, kind: Any) -> Any:
    if word not in get_args(kind):
        raise UsageError(f"no role {word!r} here; use {', '.join(get_args(kind))}")
    return word


def _password(from_stdin: bool) -> str:
    """Return a password: the first line of standard input, or what a person types twice without echo."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password; use --password-stdin")
    return cast("str", typer.prompt("Password", hide_input=True, confirmation_prompt=True))


@app.command(epilog="Examples:\n\n    runbase users add ada --role editor")
def add(
    name: Annotated[str, typer.Argument(help="The name to sign in with.")],
    role: Annotated[
        str, typer.Option("--role", "-r", help="none, viewer, editor or admin, on all experiments.")
    ] = "none",
    password_stdin: Stdin = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Add a user. The password is asked for."""
    from runbase.server import users

    wanted: Role = _role(role, Role)
    users.check_name(name)
    password = _password(password_stdin)
    with common.store_to_fill(home, url) as store:
        user = users.add(store, name, wanted, password)
    if json:
        common.print_json(user)
        return
    common.say(f"Added user {name} with role {role}")


@app.command("list", epilog="Examples:\n\n    runbase users list --json")
def list_(home: common.Home = None, url: common.Url = None, json: common.Json = False) -> None:
    """List the users with their roles and grants."""
    with common.store(home, url) as store:
        found = store.storage.users()
        keys = {key for user in found for key in user.grants}
        names = {e.id: e.name for e in store.storage.get_experiments(sorted(keys))}
    if json:
        common.print_json(found)
        return
    if not found:
        common.say("No users; add one with `runbase users add NAME`.")
        return
    table = common.table(["name", "role", "grants", "signs in with", "signed in", "id"])
    for user in found:
        grants = [f"{names.get(key, key)}: {role}" for key, role in user.grants.items()]
        ways = ["password"] * user.has_password + ["provider"] * (user.subject is not None)
        table.add_row(
            common.escape(user.name),
            user.role,
            common.escape(", ".join(grants)),
            ", ".join(ways),
            f"{user.signed_in_at:%Y-%m-%d %H:%M}" if user.signed_in_at else "never",
            user.id,
        )
    common.console().print(table)


@app.command(epilog="Examples:\n\n    runbase users remove ada")
def remove(user: Name, home: common.Home = None, url: common.Url = None) -> None:
    """Remove a user with grants, sessions and tokens."""
    from runbase.server import users

    with common.store(home, url) as store:
        found = users.find(store, user)
        store.storage.remove_user(found.id)
    common.say(f"Removed user {found.name}; servers refuse requests within ten seconds")


@app.command(epilog="Examples:\n\n    runbase users password ada")
def password(
    user: Name,
    password_stdin: Stdin = False,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Set the password of a user, and end the user's sessions."""
    from runbase.server import users

    with common.store(home, url) as store:
        found = users.find(store, user)
        users.set_password(store, found, _password(password_stdin))
    common.say(f"Set the password of user {found.name}")


@app.command(
    epilog="Examples:\n\n    runbase users grant ada editor"
    "\n    runbase users grant bob viewer --experiment digits"
)
def grant(
    user: Name,
    role: Annotated[
        str, typer.Argument(help="none, viewer or editor; without --experiment also admin.")
    ],
    experiment: common.OfExperiment = None,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Set what a user may do: on one experiment, or on all others."""
    from runbase.server import users

    with common.store(home, url) as store:
        found = users.find(store, user)
        if experiment is None:
            store.storage.set_role(found.id, _role(role, Role))
            where = "all experiments without a grant"
        else:
            given = _role(role, GrantRole)
            users.set_grant(store, users.Grant(user=found.id, experiment=experiment, role=given))
            where = f"experiment {experiment}"
    common.say(f"User {found.name} is {role} on {where}" if role != "none" else
               f"User {found.name} may do nothing on {where}")  # fmt: skip


@app.command(
    epilog="Examples:\n\n    runbase users revoke ada"
    "\n    runbase users revoke bob --experiment digits"
)
def revoke(
    user: Name,
    experiment: common.OfExperiment = None,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Remove a grant on one experiment, so that the role counts there; without one, the role."""
    from runbase.server import users

    with common.store(home, url) as store:
        found = users.find(store, user)
        if experiment is None:
            store.storage.set_role(found.id, "none")
            common.say(f"User {found.name} has role none; grants on experiments remain")
            return
        users.remove_grant(store, found.id, experiment)
    common.say(f"Removed the grant of user {found.name} on experiment {experiment}")
