"""`runbase archive`: move points of ended runs from the database to Parquet files."""

import sys
from typing import Annotated

import typer
from msgspec import to_builtins

from runbase.cli import common
from runbase.errors import UsageError, counted
from runbase.store.archive import ArchiveReport
from runbase.store.archive_files import MovedFiles

EXAMPLES = (
    "Examples:\n"
    "\n    runbase archive --dry-run"
    "\n    runbase archive --older-than 30d"
    "\n    runbase archive 'tags.paper is null' --to s3://lab/archive"
    "\n    runbase archive --move --to /nfs/lab/archive"
    "\n    runbase restore --archived 'name = \"brisk-heron-42\"'"
)


def command(
    where: Annotated[
        str | None,
        typer.Argument(help="A filter: only these runs; see `runbase runs`.", show_default=False),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", help="A folder or a URL. Default: the folder archive of the home."),
    ] = None,
    experiment: common.OfExperiment = None,
    older_than: Annotated[
        str, typer.Option("--older-than", help="Only runs that ended longer ago: 12h, 30d, 4w.")
    ] = "0s",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be archived, and do nothing.")
    ] = False,
    move: Annotated[
        bool, typer.Option("--move", help="Move the files that exist to --to, or to its default.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Move the points of ended runs to Parquet files, about a fifth of the size.

    Tables, filters, charts and data frames show archived runs as before. `runbase restore` moves the points back.
    """
    age = common.span("--older-than", older_than)
    if move:
        if where is not None or experiment is not None or age:
            raise UsageError("--move moves all files; leave out the filter, -e and --older-than")
        with common.store(home, url) as store, common.progress("moving files") as step:
            moved = store.move_archive(to, dry_run=dry_run, progress=step)
        _say_moved(moved, dry_run, json)
        return
    with common.store(home, url) as store, common.progress("archiving runs") as step:
        done = store.archive(
            where, to=to, experiment=experiment, older_than=age, dry_run=dry_run, progress=step
        )
    if json:
        report = {name: getattr(done, name) for name in done.__struct_fields__}
        common.print_json({**report, "dry_run": dry_run})
        return
    _say(done, dry_run)


def _say_moved(moved: MovedFiles, dry_run: bool, json: bool) -> None:
    """Print what was moved; exit with 1 if a file was left."""
    if json:
        common.print_json({**to_builtins(moved), "dry_run": dry_run})
    elif moved.files or not moved.left:
        did = "Would move" if dry_run else "Moved"
        files = f"{counted(moved.files, 'file')} ({common.size(moved.bytes)})"
        common.say(f"{did} {files} to {moved.place}")
        if moved.files and not dry_run:
            common.say(
                "Backups and copies of the database look for them where they were: make a new backup"
            )
    for problem in moved.left:
        common.say(f"not moved: {problem}", file=sys.stderr)
    if moved.left:
        raise typer.Exit(1)


def _say(done: ArchiveReport, dry_run: bool) -> None:
    what = f"{counted(done.runs, 'run')} with {counted(done.points, 'point')}"
    if dry_run:
        common.say(f"Would archive {what} to {done.place}, about {common.size(done.freed)} of rows")
    elif done.runs:
        common.say(
            f"Archived {what} in {counted(len(done.files), 'file')} in {done.place} ({common.size(done.bytes)}), "
            f"about {common.size(done.freed)} of rows less"
        )
        common.say("To return this space to the file system: runbase gc --vacuum")
    else:
        common.say("No run to archive")
    if done.archived:
        common.say(f"archived before: {counted(done.archived, 'run')}")
    if done.active:
        common.say(f"{counted(done.active, 'run')} did not end, or not long enough ago")
    for run in done.changed:
        common.say(f"not archived: run {run} got points meanwhile; run the command again")
