"""`runbase schema`: the tables, and what each column means."""

from typing import Annotated

import typer

from runbase.cli import common
from runbase.errors import NotFound, suggestion

EXAMPLES = "Examples: runbase schema · runbase schema runs · runbase schema metrics --json"


def command(
    name: Annotated[str | None, typer.Argument(help="Only this table or view.")] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Print the schema as SQL, with what each column means."""
    with common.store(home, url, sync=False) as store:
        query = "select type, name, tbl_name, sql from sqlite_master where sql is not null"
        found = [
            row
            for row in store.sql(query).to_dicts()
            if name is None or name in (row["name"], row["tbl_name"])
        ]
        if name is not None and not found:
            names = [row["name"] for row in store.sql(query).to_dicts()]
            raise NotFound(f"there is no table or view {name!r}{suggestion(name, names)}")
        if json:
            keys = ("type", "name", "sql")
            common.print_json([{key: row[key] for key in keys} for row in found])
        elif name is None:
            print(store.schema(), end="")
        else:
            print("\n\n".join(f"{row['sql']};" for row in found))
