"""`runbase backup`: copy the database to a file."""

from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common

EXAMPLES = (
    "Examples:\n"
    "\n    runbase backup /mnt/backups --keep 7"
    "\n    runbase backup before-cleanup.db"
    "\n    runbase backup lab.dump --store postgresql://lab/runs"
)


def command(
    target: Annotated[
        Path, typer.Argument(help="A file, or a folder for a file with the time in its name.")
    ] = Path(),
    keep: Annotated[
        int | None,
        typer.Option(
            "--keep", help="Number of backups to keep in the folder; older ones are removed."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Write a consistent copy of the whole database to a file, without blocking its users.

    A SQLite backup is a store of its own, which every command opens with --store. A PostgreSQL backup is written by
    pg_dump and restored by pg_restore. Run folders are plain files and not included.
    """
    with common.store(home, url) as store, common.progress("copying pages") as step:
        done = store.backup(target, keep=keep, dry_run=dry_run, progress=step)
    if json:
        common.print_json(
            {**{k: getattr(done, k) for k in done.__struct_fields__}, "dry_run": dry_run}
        )
        return
    if dry_run:
        common.say(f"Would write {done.path}")
    else:
        common.say(f"Wrote {done.path} ({common.size(done.bytes)}, {done.seconds:.1f} s)")
    for path in done.removed:
        common.say(f"{'would remove' if dry_run else 'removed'} {path}")
