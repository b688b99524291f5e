"""The Typer application: the list of commands, and the mapping of errors to messages and exit codes.

Exit codes: 0 success, 1 failure, 2 wrong usage.
"""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer

from runbase import __version__
from runbase.errors import RunbaseError, UsageError

EXAMPLES = (
    "Examples:\n\n    runbase demo\n    runbase runs --help\n    runbase --install-completion"
)
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
START, SEE, CHANGE = "Start here", "See results", "Change records"
TRIALS, MOVE, SERVE = "Run trials", "Import and export", "Serve a team"
KEEP = "Set up and maintain"


class Command(NamedTuple):
    """Where a command is: its module below `runbase.cli`, its function (None: an application with further commands)."""

    module: str
    function: str | None
    panel: str
    """The heading in the help."""


COMMANDS = {
    "init": Command("init", "command", START),
    "demo": Command("demo", "command", START),
    "runs": Command("runs", "command", SEE),
    "experiments": Command("experiments", "command", SEE),
    "show": Command("show", "command", SEE),
    "compare": Command("compare", "command", SEE),
    "best": Command("best", "command", SEE),
    "plot": Command("plot", "command", SEE),
    "query": Command("query", "command", SEE),
    "sql": Command("sql", "command", SEE),
    "ui": Command("ui", "command", SEE),
    "top": Command("top", "command", SEE),
    "tag": Command("labels", "tag", CHANGE),
    "note": Command("labels", "note", CHANGE),
    "rename": Command("labels", "rename", CHANGE),
    "fork": Command("labels", "fork", CHANGE),
    "rm": Command("trash", "rm", CHANGE),
    "restore": Command("trash", "restore", CHANGE),
    "reproduce": Command("reproduce", "command", TRIALS),
    "queue": Command("queue", "command", TRIALS),
    "worker": Command("worker", "command", TRIALS),
    "launch": Command("launch", "command", TRIALS),
    "export": Command("transfer", "export", MOVE),
    "import": Command("transfer", "import_", MOVE),
    "copy": Command("transfer", "copy", MOVE),
    "scan": Command("scan", "command", MOVE),
    "sync": Command("sync", "command", KEEP),
    "doctor": Command("doctor", "command", KEEP),
    "server": Command("server", "command", SERVE),
    "mcp": Command("mcp", "command", SERVE),
    "login": Command("tokens", "login", SERVE),
    "backup": Command("backup", "command", KEEP),
    "archive": Command("archive", "command", KEEP),
    "gc": Command("trash", "gc", KEEP),
    "schema": Command("schema", "command", KEEP),
    "setup": Command("setup", "command", KEEP),
    "alerts": Command("alerts", None, SEE),
    "view": Command("view", None, KEEP),
    "tokens": Command("tokens", None, SERVE),
    "users": Command("users", None, SERVE),
}


def build(*names: str) -> typer.Typer:
    """Return the application with some commands, or with all.

    A command alone starts faster: the modules of the others are not loaded.
    """
    app = typer.Typer(
        name="runbase",
        help="Track experiments, runs and metrics in your own SQL database.",
        epilog=EXAMPLES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(options)
    for name in names or COMMANDS:
        _add(app, name)
    return app


def _add(app: typer.Typer, name: str) -> None:
    """Add a command to the application."""
    place = COMMANDS[name]
    module: Any = import_module(f"runbase.cli.{place.module}")
    if place.function is None:
        app.add_typer(module.app, name=name, epilog=module.EXAMPLES, rich_help_panel=place.panel)
        return
    of = "" if place.function == "command" else f"{place.function.strip('_').upper()}_"
    app.command(
        name,
        cls=module.Launching if name == "launch" else None,
        epilog=getattr(module, f"{of}EXAMPLES"),
        rich_help_panel=place.panel,
        # A query may begin with a comment: `-- all runs`.
        context_settings={"ignore_unknown_options": True} if name == "sql" else None,
    )(getattr(module, place.function))


def _version(wanted: bool) -> None:
    if wanted:
        _say(f"runbase {__version__}")
        raise typer.Exit


def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Track experiments, runs and metrics in your own SQL database."""
    if not gc.isenabled():  # see `runbase.cli.main`
        gc.freeze()
        gc.enable()


def _completion(arguments: Sequence[str]) -> bool:
    """Print or install the completion for a shell that is named after the option; Typer guesses the shell.

    Returns:
        Whether the arguments were those of this request.
    """
    if len(arguments) != 2 or arguments[1] not in SHELLS:
        return False
    option, shell = arguments
    scripts: Any = import_module("typer.completion")
    names = {"prog_name": "runbase", "complete_var": "_RUNBASE_COMPLETE", "shell": shell}
    if option == "--show-completion":
        print(scripts.get_completion_script(**names))
    elif option == "--install-completion":
        _, path = scripts.install(**names)
        _say(f"Installed completion for {shell} in {path}; it works in new terminals")
    else:
        return False
    return True


def _wanted(arguments: Sequence[str]) -> list[str]:
    """Return the command that the arguments name; none if all are needed, as for the help or for a completion."""
    completes = "_RUNBASE_COMPLETE" in os.environ
    return [] if completes else [name for name in arguments[:1] if name in COMMANDS]


def _say(text: str, file: Any = None) -> None:
    from runbase.cli import common

    common.say(text, file=file)


def main() -> None:
    """Run the command line; print errors of runbase as one line, without a traceback."""
    with suppress(AttributeError, ValueError):  # a test may have replaced the stream
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if not _completion(sys.argv[1:]):
            build(*_wanted(sys.argv[1:]))()
    except RunbaseError as error:
        _say(f"runbase: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # `runbase runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
