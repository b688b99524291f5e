"""`runbase server`: serve the store to a team over HTTP."""

import json as json_module
import os
import secrets
from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from runbase.cli import common
from runbase.errors import UsageError
from runbase.extras import load
from runbase.storage.users_protocol import Role

EXAMPLES = (
    "Examples:\n"
    "\n    runbase server"
    "\n    runbase server --auth users --host 0.0.0.0"
    "\n    runbase server --auth tokens --tls-cert cert.pem --tls-key key.pem"
    "\n    runbase server --auth tokens --log-format json"
    "\n    runbase server --store postgresql://runbase@db.lab/research"
)


def command(
    host: Annotated[
        str, typer.Option("--host", help="The address to listen on; 0.0.0.0: all of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", "-p", help="The port.")] = 4400,
    auth: Annotated[
        str,
        typer.Option(
            "--auth",
            help="Who may call: none (anybody on this machine), link (who opens the one-time URL), tokens, users or oidc.",
        ),
    ] = "none",
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            "--host-name", help="A name by which clients call this server; repeat for more."
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            "--root-path", help="The path of the server behind a proxy, such as /runbase."
        ),
    ] = "",
    proxies: Annotated[
        str,
        typer.Option(
            "--proxy",
            help="Addresses of proxies whose X-Forwarded headers are believed, with commas.",
        ),
    ] = "",
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="File of the TLS certificate.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="File of the certificate's key.")
    ] = None,
    oidc_issuer: Annotated[
        str, typer.Option("--oidc-issuer", help="URL of the OpenID Connect provider.")
    ] = "",
    oidc_client_id: Annotated[
        str,
        typer.Option(
            "--oidc-client-id",
            help="Id of this server at the provider; its secret is in RUNBASE_OIDC_SECRET.",
        ),
    ] = "",
    oidc_role: Annotated[
        list[str] | None,
        typer.Option(
            "--oidc-role",
            metavar="GROUP=ROLE",
            help="Role of the users of a group: viewer, editor or admin; repeat for more.",
        ),
    ] = None,
    oidc_groups_claim: Annotated[
        str, typer.Option("--oidc-groups-claim", help="The claim with the groups of a user.")
    ] = "groups",
    oidc_scope: Annotated[
        str, typer.Option("--oidc-scope", help="What the provider is asked for.")
    ] = "openid profile email",
    mlflow: Annotated[
        bool,
        typer.Option(
            "--mlflow/--no-mlflow",
            help="Whether MLflow clients may log to this server and read from it.",
        ),
    ] = True,
    public_url: Annotated[
        str,
        typer.Option("--public-url", help="The address for people, for links in alerts."),
    ] = "",
    alerts: Annotated[
        bool,
        typer.Option("--alerts/--no-alerts", help="Whether to evaluate rules and deliver alerts."),
    ] = True,
    alert_private_targets: Annotated[
        bool,
        typer.Option(
            "--alert-private-targets",
            help="Deliver alerts to addresses of this machine and its link, too.",
        ),
    ] = False,
    log_format: Annotated[
        str, typer.Option("--log-format", help="text, or json: also one line a request.")
    ] = "text",
    print_openapi: Annotated[
        bool,
        typer.Option(
            "--print-openapi", help="Print the description of the API (OpenAPI 3.1) and exit."
        ),
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Serve the store over HTTP: other machines log to it and read from it.

    On them, set RUNBASE_STORE to the address of this server and RUNBASE_TOKEN to a token. Scripts stay the same.
    """
    load("litestar", "server", "runbase server")
    from runbase.server import logs, serve
    from runbase.server.app import create_app
    from runbase.server.describe import describe
    from runbase.server.options import AUTHS, OidcOptions, ServerOptions

    if auth not in AUTHS:
        raise UsageError(f"--auth is {auth!r}; use {', '.join(AUTHS)}")
    if log_format not in ("text", "json"):
        raise UsageError(f"--log-format is {log_format!r}; use text or json")
    oidc = None
    if auth == "oidc" and oidc_issuer and oidc_client_id:
        oidc = OidcOptions(
            issuer=oidc_issuer,
            client_id=oidc_client_id,
            client_secret=os.environ.get("RUNBASE_OIDC_SECRET", ""),
            roles=_roles(oidc_role or []),
            groups_claim=oidc_groups_claim,
            scope=oidc_scope,
        )
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    options = ServerOptions(
        host=host,
        port=port,
        auth=auth,
        # Behind its own address a server may have any name, so callers who prove who they are are not asked for it.
        hosts=tuple(host_name) if host_name else () if auth in ("none", "link") else ("*",),
        root_path=root_path,
        mlflow=mlflow,
        alerts=alerts,
        alert_private_targets=alert_private_targets,
        public_url=public_url,
        link_key=secrets.token_urlsafe(32) if auth == "link" else None,
        oidc=oidc,
    )
    serve.check(options)
    if log_format == "json":
        logs.as_json()
    with common.store_to_fill(home, url) as store:
        if print_openapi:
            print(json_module.dumps(describe(create_app(store, options)), indent=2))
            return
        scheme = "http" if tls_cert is None else "https"
        common.say(
            f"runbase server of {store.url} on {scheme}://{host}:{port}{root_path}; Ctrl-C ends it",
            flush=True,
        )
        if options.link_key is not None:
            common.say(
                f"Open {scheme}://{host}:{port}{root_path}/?key={options.link_key} in a browser; it works once",
                flush=True,
            )
        if auth == "users" and not store.storage.users():
            common.say("There is no user yet: add one with `runbase users add NAME --role admin`.")
        if auth == "tokens" and not any(
            token.revoked_at is None for token in store.storage.tokens()
        ):
            common.say("There is no token yet: make one with `runbase tokens add NAME`.")
        certificate = None if tls_cert is None or tls_key is None else (str(tls_cert), str(tls_key))
        serve.serve(store, options, certificate=certificate, proxies=proxies)


def _roles(pairs: list[str]) -> dict[str, Role]:
    """Return group → role of options such as `lab=editor`. Raises UsageError."""
    found: dict[str, Role] = {}
    for pair in pairs:
        group, _, role = pair.rpartition("=")
        if not group or role not in get_args(Role):
            raise UsageError(
                f"--oidc-role is {pair!r}; use GROUP=ROLE with a role of {', '.join(get_args(Role))}"
            )
        found[group] = cast("Role", role)
    return found
