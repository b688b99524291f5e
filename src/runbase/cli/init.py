"""`runbase init`: create a home in a folder."""

from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common
from runbase.store.store import open as open_store

EXAMPLES = "Examples:\n\n    runbase init\n    runbase init ~/projects/mnist"


def command(
    folder: Annotated[Path, typer.Argument(help="The folder to create it in.")] = Path(),
    json: common.Json = False,
) -> None:
    """Create a home for runs here. This is optional: the first run creates one if needed."""
    home = (folder / ".runbase").absolute()
    existed = home.exists()
    home.mkdir(parents=True, exist_ok=True)
    ignore = home / ".gitignore"
    if not ignore.exists():
        ignore.write_text("# Created by runbase: runs are not code.\n*\n")
    with open_store(home=home) as store:
        if json:
            common.print_json({"home": str(home), "store": store.url, "made": not existed})
            return
        common.say(
            f"{'Home for runs already exists' if existed else 'Created a home for runs'}: {home}"
        )
        common.say(f"Database: {store.url}")
