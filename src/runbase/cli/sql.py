"""`runbase sql`: run a SQL query."""

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from runbase.cli import common, tables
from runbase.cli.tables import Column
from runbase.errors import UsageError

EXAMPLES = (
    "Examples:\n"
    '\n    runbase sql "select key, count(*), max(value) from metrics group by key"'
    "\n    runbase sql -f report.sql --csv > report.csv"
)

LONGEST = 40
"""Characters of a text in a cell on a terminal: ids are whole."""


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


def show(names: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows as a table; on a terminal, long texts are cut and the last columns left out if they do not fit."""
    out = common.console()
    longest = None if tables.terminal_width(out) is None else LONGEST
    found = columns(names, rows, longest)
    tables.show(out, found, hint="select fewer columns, or use --csv or --json")


def columns(
    names: Sequence[str], rows: Sequence[Sequence[object]], longest: int | None = None
) -> list[Column]:
    """Return rows as the columns of a table; numbers are right-aligned.

    Args:
        names: the names of the columns.
        rows: the rows.
        longest: characters of a text; of longer ones, the middle is left out. Default: no limit.
    """
    found: list[Column] = []
    for place, name in enumerate(names):
        values = [row[place] for row in rows]
        numeric = bool(values) and all(isinstance(value, int | float | None) for value in values)
        cells = [
            common.number(value)
            if isinstance(value, int | float | None)
            else tables.cell(str(value), longest)
            for value in values
        ]
        found.append(Column(name, cells, right=numeric, rank=place))
    return found
