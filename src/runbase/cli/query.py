"""`runbase query`: selected columns of runs or experiments, as a table, CSV or JSON."""

import csv
import sys
from collections.abc import Collection
from typing import Annotated, Any

import typer

from runbase.analysis.listings import Runs
from runbase.cli import chosen, common, completing, runs, sql, tables
from runbase.cli.chosen import Selection
from runbase.errors import NotFound, suggestion

EXAMPLES = (
    "Examples:\n"
    "\n    runbase query -c name,lr,val/loss.min"
    "\n    runbase query 'status = \"COMPLETED\"' -s val/loss --csv > runs.csv"
    "\n    runbase query -c name,params.,tags"
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
            autocompletion=completing.columns,
        ),
    ] = None,
    experiment: common.OfExperiment = None,
    experiments: Annotated[
        bool, typer.Option("--experiments", help="Query experiments instead of runs.")
    ] = False,
    sort: Annotated[
        str | None,
        typer.Option("--sort", "-s", help="Sort keys.", autocompletion=completing.columns),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", help="Maximum number of rows. Default: all.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Print one flat row per run: fields, params.*, metrics.* (last values), tags.*.

    On a terminal, the columns that fit are shown; CSV and JSON have all.
    """
    ranks: dict[str, int] = {}
    with common.store(home, url) as store:
        if experiments:
            values = _of_experiments(store.experiments(where, order_by=sort, limit=limit), columns)
        else:
            selection = Selection(where=where, sort=sort, limit=limit, experiment=experiment)
            found = selection.runs(store)
            common.hint(store, where, sort)
            values = chosen.read(store, selection, found, columns or ",".join(DEFAULTS))
            if columns is None:
                named = f"{where or ''} {sort or ''}"
                ranks = _ranks(found, *runs.ranked(found, runs.objectives_of(store, found), named))
    names = list(values)
    table = list(zip(*values.values(), strict=True))
    if json:
        common.print_json([dict(zip(names, row, strict=True)) for row in table])
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(table)
    elif table:
        shown = sql.columns(names, [[_shown(value) for value in row] for row in table])
        for column in shown:
            column.rank = ranks.get(column.title, len(ranks) + 1) if ranks else 0
        shown.sort(key=lambda column: _order(column.title, ranks))
        tables.show(common.console(), shown, hint="choose with -c KEY, or print all with --csv")
    else:
        common.say("Nothing matches that filter." if where else "Nothing recorded yet.")


def _of_experiments(rows: Any, columns: str | None) -> dict[str, list[Any]]:
    found: list[dict[str, Any]] = rows.rows()
    default = ("name", "status", "runs", "config.", "metrics.")
    known = list(dict.fromkeys(name for row in found for name in row))
    names: list[str] = []
    for column in (part.strip() for part in columns.split(",")) if columns else default:
        matching = [n for n in known if n.startswith(column)] if column.endswith(".") else [column]
        if columns and found and not column.endswith(".") and column not in known:
            raise NotFound(f"no row has a column {column!r}{suggestion(column, known)}")
        names += [name for name in matching if name in known or not found]
    return {name: [row.get(name) for row in found] for name in dict.fromkeys(names)}


def _ranks(
    found: Runs, params: list[str], metrics: list[str], named: Collection[str]
) -> dict[str, int]:
    """Return in which order columns are kept on a terminal: name → 0 for the first."""
    several = len({run.experiment for run in found}) > 1
    order = ["name", "status"]
    order += [f"metrics.{key}" for key in metrics if key in named]
    order += [f"params.{key}" for key in params if key in named]
    order += ["experiment"] if several else []
    for place in range(max(len(params), len(metrics))):
        order += [f"metrics.{key}" for key in metrics[place : place + 1]]
        order += [f"params.{key}" for key in params[place : place + 1]]
        order += ["seconds"] if place == 0 else []
    return {name: place for place, name in enumerate(dict.fromkeys(order))}


def _order(name: str, ranks: dict[str, int]) -> tuple[int, int]:
    """Return where a column stands: fields, parameters and metrics, each in the order of their ranks."""
    if not ranks or not sys.stdout.isatty():
        return (0, 0)
    kind = name.startswith("params.") + 2 * name.startswith("metrics.")
    return (kind, ranks.get(name, len(ranks)) if kind else 0)


def _shown(value: Any) -> Any:
    return value if isinstance(value, int | float | None) else str(value)
