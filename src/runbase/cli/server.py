"""`runbase server`: serve the store to a team over HTTP."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common
from runbase.errors import UsageError
from runbase.extras import load

EXAMPLES = (
    "Examples:\n"
    "\n    runbase server"
    "\n    runbase server --auth tokens --host 0.0.0.0"
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
        str, typer.Option("--auth", help="Who may call: none (this machine only) or tokens.")
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
    from runbase.server.options import ServerOptions

    if auth not in ("none", "tokens"):
        raise UsageError(f"--auth is {auth!r}; use none or tokens")
    if log_format not in ("text", "json"):
        raise UsageError(f"--log-format is {log_format!r}; use text or json")
    if (tls_cert is None) != (tls_key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    options = ServerOptions(
        host=host,
        port=port,
        auth=auth,
        # Behind its own address a server may have any name, so callers with a token are not asked for it.
        hosts=tuple(host_name) if host_name else ("*",) if auth == "tokens" else (),
        root_path=root_path,
        mlflow=mlflow,
        alerts=alerts,
        alert_private_targets=alert_private_targets,
        public_url=public_url,
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
        if auth == "tokens" and not any(
            token.revoked_at is None for token in store.storage.tokens()
        ):
            common.say("There is no token yet: make one with `runbase tokens add NAME`.")
        certificate = None if tls_cert is None or tls_key is None else (str(tls_cert), str(tls_key))
        serve.serve(store, options, certificate=certificate, proxies=proxies)
