"""`runbase schema`: print the tables and the meaning of each column."""

from typing import Annotated

import typer

from runbase.cli import common, tables
from runbase.errors import NotFound, suggestion

EXAMPLES = (
    "Examples:\n\n    runbase schema\n    runbase schema runs\n    runbase schema metrics --json"
)


def command(
    name: Annotated[str | None, typer.Argument(help="Only this table or view.")] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Print the schema as SQL with a comment for each column, including your own tables and columns."""
    with common.store(home, url, sync=False) as store:
        if name is None and not json:
            common.say(store.schema(), end="")
            return
        known = store.tables()
    selected = [table for table in known if name in (None, table["name"])]
    if not selected:
        names = [table["name"] for table in known]
        raise NotFound(f"table or view {name!r} not found{suggestion(name or '', names)}")
    if json:
        common.print_json(selected)
        return
    for table in selected:
        common.say(
            f"{table['kind']} {table['name']}"
            + (f": {table['comment']}" if table["comment"] else "")
        )
        shown = common.table(["  column", "type", "description"])
        for column in table["columns"]:
            shown.add_row(f"  {column['name']}", column["type"], tables.escape(column["comment"]))
        common.console().print(shown)
