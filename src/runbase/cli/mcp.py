"""`runbase mcp`: tools for agents over standard input and output (Model Context Protocol)."""

from typing import Annotated

import typer

from runbase.cli import common
from runbase.extras import load

EXAMPLES = (
    "Examples:\n\n    runbase mcp\n    runbase mcp --write --store https://runbase.lab.example"
)


def command(
    write: Annotated[
        bool, typer.Option("--write", help="Also offer tools that tag runs and add notes.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Offer the store to an agent: find runs, read, compare, look at curves, ask SQL.

    Register the command in the agent's configuration; it talks over standard input and output.
    """
    load("mcp", "mcp", "runbase mcp")
    from runbase.server.mcp import create_mcp

    with common.store(home, url) as store:
        create_mcp(store, write=write).run("stdio")
