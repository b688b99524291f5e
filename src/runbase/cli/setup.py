"""`runbase setup`: create the schema and apply your own SQL scripts, each once."""

from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common, tables
from runbase.store.store import open as open_store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase setup 001_cost.sql"
    "\n    runbase setup sql/ --dry-run"
    "\n    runbase setup --status"
)


def command(
    scripts: Annotated[
        list[Path] | None, typer.Argument(help="SQL files, or folders with SQL files.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Apply everything, then roll back.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="List every step of the schema, with its checksum.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Create the schema, and add your own tables, views and columns.

    Scripts are applied in order, each once, in one transaction. A first line `-- dialect: sqlite` (or
    postgres) limits a script to one database; subfolders of these names do the same.
    """
    with open_store(url, home=home, sync=False) as store:
        steps = store.setup(*(scripts or []), dry_run=dry_run)
        ledger = store.setup_status() if status else []
        where = store.url
    if json:
        common.print_json({"steps": steps, "ledger": ledger, "dry_run": dry_run})
        return
    for step in steps:
        common.say(f"{step.name}: {step.state}")
    if dry_run and steps:
        common.say("Nothing was changed: this was a dry run.")
    if status:
        table = common.table(["step", "whose", "applied", "sha256"])
        for row in ledger:
            applied = common.when(row["applied"])
            table.add_row(
                tables.escape(row["name"]), row["owner"], applied, str(row["sha256"])[:12]
            )
        common.console().print(table)
    if not steps and not status:
        common.say(f"{where} is set up; pass scripts to extend it")
