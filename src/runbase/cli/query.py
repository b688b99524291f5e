"""`runbase query`: selected columns of runs or experiments, as a table, CSV or JSON."""

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
            "--columns",
            "-c",
            help="Columns, separated by commas; params., metrics. and tags. select all of a kind.",
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
        int | None, typer.Option("--limit", "-n", help="Maximum number of rows. Default: all.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Print one flat row per run: fields, params.*, metrics.* (last values), tags.*."""
    with common.store(home, url) as store:
        records = (
            store.experiments(where, order_by=sort, limit=limit)
            if experiments
            else store.runs(where, order_by=sort, limit=limit, experiment=experiment)
        )
        rows = records.rows()
        if not experiments:
            common.hint(store, where, sort)
    default = ("name", "status", "runs", "config.", "metrics.") if experiments else DEFAULTS
    names = _chosen(rows, tuple(columns.split(",")) if columns else default, strict=bool(columns))
    table = [[row.get(name) for name in names] for row in rows]
    if json:
        common.print_json([dict(zip(names, row, strict=True)) for row in table])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(table)
    elif rows:
        sql.show(tuple(names), [tuple(_shown(v) for v in row) for row in table])
    else:
        common.say("Nothing matches that filter." if where else "Nothing recorded yet.")


def _chosen(rows: list[dict[str, Any]], wanted: tuple[str, ...], *, strict: bool) -> list[str]:
    known = list(dict.fromkeys(name for row in rows for name in row))
    names: list[str] = []
    for column in (part.strip() for part in wanted):
        matching = [n for n in known if n.startswith(column)] if column.endswith(".") else [column]
        if strict and rows and not column.endswith(".") and column not in known:
            raise NotFound(f"no row has a column {column!r}{suggestion(column, known)}")
        names += [name for name in matching if name in known or not rows]
    return list(dict.fromkeys(names))


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)
