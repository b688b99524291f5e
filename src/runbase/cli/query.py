"""`runbase query`: chosen columns of runs or experiments, for a table, a pipe or a file."""

import csv
import sys
from typing import Annotated, Any

import typer

from runbase.cli import common, sql
from runbase.errors import NotFound, suggestion

EXAMPLES = (
    "Examples:\n"
    "\n    runbase query -c name,params.lr,metrics.loss"
    "\n    runbase query 'status = \"COMPLETED\"' -s 'metrics.loss' --csv > runs.csv"
    "\n    runbase query --experiments -c name,runs"
)

DEFAULTS = ("name", "experiment", "status", "seconds", "params.", "metrics.")


def command(
    where: Annotated[str | None, typer.Argument(help="A filter; see `runbase runs`.")] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns", "-c", help="With commas; params., metrics. and tags. stand for all."
        ),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Only runs of this experiment.")
    ] = None,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="Query experiments instead of runs.")
    ] = False,
    sort: Annotated[str | None, typer.Option("--sort", "-s", help="Sort keys.")] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", help="How many at most. Default: all.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Print one flat row per run: fields, params.*, metrics.* (last values), tags.*."""
    with common.store(home, url) as store:
        found = (
            store.experiments(where, order_by=sort, limit=limit)
            if experiments
            else store.runs(where, order_by=sort, limit=limit, experiment=experiment)
        )
        rows = found.rows()
    default = ("name", "status", "runs", "config.", "metrics.") if experiments else DEFAULTS
    names = _chosen(rows, tuple(columns.split(",")) if columns else default, strict=bool(columns))
    table = [[row.get(name) for name in names] for row in rows]
    if json:
        common.print_json([dict(zip(names, row, strict=True)) for row in table])
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows(table)
    elif rows:
        sql.show(tuple(names), [tuple(_shown(v) for v in row) for row in table])
    else:
        common.say("Nothing satisfies that filter." if where else "There is nothing yet.")


def _chosen(rows: list[dict[str, Any]], wanted: tuple[str, ...], *, strict: bool) -> list[str]:
    there = list(dict.fromkeys(name for row in rows for name in row))
    names: list[str] = []
    for word in (part.strip() for part in wanted):
        fitting = [n for n in there if n.startswith(word)] if word.endswith(".") else [word]
        if strict and rows and not word.endswith(".") and word not in there:
            raise NotFound(f"none of these has a column {word!r}{suggestion(word, there)}")
        names += [name for name in fitting if name in there or not rows]
    return list(dict.fromkeys(names))


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)
