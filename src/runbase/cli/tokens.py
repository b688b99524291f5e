"""`runbase tokens`: the tokens of a server's clients; `runbase login`: keep the token of a server."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from runbase.cli import common
from runbase.errors import NotAllowed, NotFound

if TYPE_CHECKING:
    from runbase.storage.server_protocol import Token

EXAMPLES = (
    "Examples:\n"
    "\n    runbase tokens add ada"
    "\n    runbase tokens add dashboard --permission read --days 90"
    "\n    runbase tokens list"
    "\n    runbase tokens revoke ada"
)
LOGIN_EXAMPLES = "Examples:\n\n    runbase login https://runbase.lab.example"
app = typer.Typer(help="Manage the tokens that clients of a server present.", no_args_is_help=True)


@app.command(epilog="Examples:\n\n    runbase tokens add ada --permission write")
def add(
    name: Annotated[str, typer.Argument(help="Whom or what the token is for.")],
    permission: Annotated[
        list[str] | None,
        typer.Option(
            "--permission", "-p", help="read, log, write or admin; repeat for more. Default: write."
        ),
    ] = None,
    experiment: Annotated[
        list[str] | None,
        typer.Option(
            "--experiment", "-e", help="Only for this experiment; repeat for more. Default: all."
        ),
    ] = None,
    days: Annotated[
        float | None, typer.Option("--days", help="Days until it expires. Default: never.")
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Make a token. It is printed once and not stored."""
    from runbase.server.tokens import NewToken, make

    with common.store_to_fill(home, url) as store:
        made = make(
            store,
            NewToken(
                name=name, permissions=permission or ["write"], experiments=experiment, days=days
            ),
        )
    if json:
        common.print_json({"id": made.id, "token": made.token})
        return
    common.say(made.token)
    common.say(
        "It is shown only now. On clients: export RUNBASE_TOKEN=…, or `runbase login URL`.",
        file=sys.stderr,
    )


@app.command("list", epilog="Examples:\n\n    runbase tokens list")
def list_(home: common.Home = None, url: common.Url = None, json: common.Json = False) -> None:
    """List the tokens, without the tokens themselves."""
    with common.store(home, url) as store:
        tokens = store.storage.tokens()
    if json:
        common.print_json(tokens)
        return
    if not tokens:
        common.say("No tokens; make one with `runbase tokens add NAME`.")
        return
    table = common.table(
        ["name", "permissions", "experiments", "made", "expires", "last used", "id"]
    )
    for token in tokens:
        table.add_row(
            common.escape(token.name),
            ", ".join(token.permissions),
            _places(token),
            f"{token.created_at:%Y-%m-%d}",
            "revoked"
            if token.revoked_at
            else f"{token.expires_at:%Y-%m-%d}"
            if token.expires_at
            else "never",
            f"{token.used_at:%Y-%m-%d %H:%M}" if token.used_at else "never",
            token.id,
        )
    common.console().print(table)


def _places(token: "Token") -> str:
    """Return what a token is for, in a word."""
    if token.only is not None:
        return f"{len(token.only.runs)} runs only"
    return "all" if token.experiments is None else str(len(token.experiments))


@app.command(epilog="Examples:\n\n    runbase tokens revoke ada")
def revoke(
    token: Annotated[str, typer.Argument(help="The name or the id of the token.")],
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Revoke a token; servers refuse it within ten seconds."""
    with common.store(home, url) as store:
        if not (count := store.storage.revoke_token(token)):
            raise NotFound(f"no valid token {token!r}; `runbase tokens list` lists them")
    common.say(f"Revoked {count} token{'' if count == 1 else 's'}")


def login(
    url: Annotated[str, typer.Argument(help="The address of the server.")],
    token: Annotated[
        str | None, typer.Option("--token", help="The token. Default: read it from standard input.")
    ] = None,
) -> None:
    """Keep the token of a server, in a file that only you can read.

    After that, RUNBASE_STORE=URL is all that a script needs.
    """
    from runbase.storage.address import server_of
    from runbase.storage.remote.client import Client, save_token

    server = server_of(url)
    if token is None and not sys.stdin.isatty():
        token = sys.stdin.readline().strip()
    given = token or typer.prompt("Token", hide_input=True)
    client = Client(f"{server.partition('://')[0]}://token:{given}@{server.partition('://')[2]}")
    began = time.monotonic()
    answer = client.request("GET", "/api/server", allowed=(401, 403))
    if answer.status != 200:
        raise NotAllowed(
            f"{server} refused this token; ask for one: `runbase tokens add NAME` on the server"
        )
    path = save_token(server, given)
    about = answer.json()
    took = (time.monotonic() - began) * 1000
    common.say(
        f"Logged in to {server} as {about['name']} ({', '.join(about['permissions'])}; {took:.0f} ms). "
        f"The token is in {path}."
    )
    common.say(f"export RUNBASE_STORE={server}")
