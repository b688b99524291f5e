"""`runbase init`: a home in this folder."""

from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common
from runbase.store.store import open as open_store

EXAMPLES = "Example: runbase init"


def command(
    folder: Annotated[Path, typer.Argument(help="Where to make it.")] = Path(),
    json: common.Json = False,
) -> None:
    """Make a home for runs here. Not needed: the first run makes one where there is none."""
    home = (folder / ".runbase").absolute()
    there = home.exists()
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# Made by runbase: runs are not code.\n*\n")
    with open_store(home=home) as store:
        if json:
            common.print_json({"home": str(home), "store": store.url, "made": not there})
            return
        common.say(f"{'There already is a' if there else 'Made a'} home for runs: {home}")
        common.say(f"Its database: {store.url}")
