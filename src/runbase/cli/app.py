"""The list of commands, and how their failures become messages and exit codes.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

import os
import sys
from typing import Annotated

import typer

from runbase import __version__
from runbase.cli import demo, doctor, init, plot, runs, schema, show, sql, sync
from runbase.errors import RunbaseError, UsageError

app = typer.Typer(
    name="runbase",
    help="The record of every experiment, run and metric, in SQL that you own.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (init, demo, runs, show, plot, sql, schema, sync, doctor):
    name = module.__name__.rpartition(".")[2]
    app.command(name, epilog=module.EXAMPLES)(module.command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"runbase {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """The record of every experiment, run and metric, in SQL that you own."""


def main() -> None:
    """Run the command line; every error of ours is one line, not a traceback."""
    try:
        app()
    except RunbaseError as error:
        print(f"runbase: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)
    except BrokenPipeError:  # `runbase runs | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
