"""`runbase sql`: run a SQL query."""

import csv
import sys
from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common
from runbase.errors import UsageError

EXAMPLES = (
    "Examples:\n"
    '\n    runbase sql "select key, count(*), max(value) from metrics group by key"'
    "\n    runbase sql -f report.sql --csv > report.csv"
)


def command(
    query: Annotated[str | None, typer.Argument(help="A SQL query; - reads it from stdin.")] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="Read the query from this file.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Allow changes to the database.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", help="Cancel the query after this number of seconds."),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Run a SQL query, read-only by default. `runbase schema` prints the tables."""
    if file is not None:
        query = file.read_text("utf-8")
    elif query == "-" or (query is None and not sys.stdin.isatty()):
        query = sys.stdin.read()
    if not query or not query.strip():
        raise UsageError("no query; pass one, for example: runbase sql 'select * from latest'")
    with common.store(home, url) as store:
        rows = store.sql(query, write=write, timeout=timeout)
    if json:
        common.print_json(rows.to_dicts())
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(rows.columns)
        writer.writerows(rows)
    elif rows.columns:
        show(rows.columns, rows)


def show(columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Print rows as a table."""
    numeric = [
        name
        for i, name in enumerate(columns)
        if rows and all(isinstance(row[i], int | float | None) for row in rows)
    ]
    table = common.table([common.escape(name) for name in columns], numbers=numeric)
    for row in rows:
        cells = [
            common.number(value)
            if isinstance(value, int | float | None)
            else common.escape(str(value))
            for value in row
        ]
        table.add_row(*cells)
    common.console().print(table)
