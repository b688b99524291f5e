"""The Typer application: the list of commands, and the mapping of errors to messages and exit codes.

Exit codes: 0 success, 1 failure, 2 wrong usage.
"""

import importlib
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer

from runbase import __version__
from runbase.cli import (
    alerts,
    archive,
    backup,
    best,
    common,
    compare,
    demo,
    doctor,
    experiments,
    init,
    labels,
    launch,
    mcp,
    plot,
    query,
    queue,
    reproduce,
    runs,
    scan,
    schema,
    server,
    setup,
    show,
    sql,
    sync,
    tokens,
    top,
    transfer,
    trash,
    ui,
    users,
    view,
    worker,
)
from runbase.errors import RunbaseError, UsageError

EXAMPLES = (
    "Examples:\n\n    runbase demo\n    runbase runs --help\n    runbase --install-completion"
)
SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
app = typer.Typer(
    name="runbase",
    help="Track experiments, runs and metrics in your own SQL database.",
    epilog=EXAMPLES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
START, SEE, CHANGE = "Start here", "See results", "Change records"
TRIALS, MOVE, SERVE = "Run trials", "Import and export", "Serve a team"
KEEP = "Set up and maintain"
COMMANDS = (
    ("init", init.command, init.EXAMPLES, START),
    ("demo", demo.command, demo.EXAMPLES, START),
    ("runs", runs.command, runs.EXAMPLES, SEE),
    ("experiments", experiments.command, experiments.EXAMPLES, SEE),
    ("show", show.command, show.EXAMPLES, SEE),
    ("compare", compare.command, compare.EXAMPLES, SEE),
    ("best", best.command, best.EXAMPLES, SEE),
    ("plot", plot.command, plot.EXAMPLES, SEE),
    ("query", query.command, query.EXAMPLES, SEE),
    ("sql", sql.command, sql.EXAMPLES, SEE),
    ("ui", ui.command, ui.EXAMPLES, SEE),
    ("top", top.command, top.EXAMPLES, SEE),
    ("tag", labels.tag, labels.TAG_EXAMPLES, CHANGE),
    ("note", labels.note, labels.NOTE_EXAMPLES, CHANGE),
    ("rename", labels.rename, labels.RENAME_EXAMPLES, CHANGE),
    ("fork", labels.fork, labels.FORK_EXAMPLES, CHANGE),
    ("rm", trash.rm, trash.RM_EXAMPLES, CHANGE),
    ("restore", trash.restore, trash.RESTORE_EXAMPLES, CHANGE),
    ("reproduce", reproduce.command, reproduce.EXAMPLES, TRIALS),
    ("queue", queue.command, queue.EXAMPLES, TRIALS),
    ("worker", worker.command, worker.EXAMPLES, TRIALS),
    ("launch", launch.command, launch.EXAMPLES, TRIALS),
    ("export", transfer.export, transfer.EXPORT_EXAMPLES, MOVE),
    ("import", transfer.import_, transfer.IMPORT_EXAMPLES, MOVE),
    ("copy", transfer.copy, transfer.COPY_EXAMPLES, MOVE),
    ("scan", scan.command, scan.EXAMPLES, MOVE),
    ("sync", sync.command, sync.EXAMPLES, KEEP),
    ("doctor", doctor.command, doctor.EXAMPLES, KEEP),
    ("server", server.command, server.EXAMPLES, SERVE),
    ("mcp", mcp.command, mcp.EXAMPLES, SERVE),
    ("login", tokens.login, tokens.LOGIN_EXAMPLES, SERVE),
    ("backup", backup.command, backup.EXAMPLES, KEEP),
    ("archive", archive.command, archive.EXAMPLES, KEEP),
    ("gc", trash.gc, trash.GC_EXAMPLES, KEEP),
    ("schema", schema.command, schema.EXAMPLES, KEEP),
    ("setup", setup.command, setup.EXAMPLES, KEEP),
)
for name, function, examples, panel in COMMANDS:
    # A query may begin with a comment: `-- all runs`.
    settings = {"ignore_unknown_options": True} if name == "sql" else None
    kind = launch.Launching if name == "launch" else None
    app.command(name, cls=kind, epilog=examples, rich_help_panel=panel, context_settings=settings)(
        function
    )
app.add_typer(alerts.app, name="alerts", epilog=alerts.EXAMPLES, rich_help_panel=SEE)
app.add_typer(view.app, name="view", epilog=view.EXAMPLES, rich_help_panel=KEEP)
app.add_typer(tokens.app, name="tokens", epilog=tokens.EXAMPLES, rich_help_panel=SERVE)
app.add_typer(users.app, name="users", epilog=users.EXAMPLES, rich_help_panel=SERVE)


def _version(wanted: bool) -> None:
    if wanted:
        common.say(f"runbase {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Track experiments, runs and metrics in your own SQL database."""


def _completion(arguments: Sequence[str]) -> bool:
    """Print or install the completion for a shell that is named after the option; Typer guesses the shell.

    Returns:
        Whether the arguments were those of this request.
    """
    if len(arguments) != 2 or arguments[1] not in SHELLS:
        return False
    option, shell = arguments
    scripts: Any = importlib.import_module("typer.completion")
    names = {"prog_name": "runbase", "complete_var": "_RUNBASE_COMPLETE", "shell": shell}
    if option == "--show-completion":
        print(scripts.get_completion_script(**names))
    elif option == "--install-completion":
        _, path = scripts.install(**names)
        common.say(f"Installed completion for {shell} in {path}; it works in new terminals")
    else:
        return False
    return True


def main() -> None:
    """Run the command line; print errors of runbase as one line, without a traceback."""
    with suppress(AttributeError, ValueError):  # a test may have replaced the stream
        sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if not _completion(sys.argv[1:]):
            app()
    except RunbaseError as error:
        common.say(f"runbase: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # `runbase runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
