"""`runbase top`: a live table of active runs, with keys to sort, filter, tag and open."""

from typing import Annotated, Any

import typer
from rich.console import Console

from runbase.cli import common, completing, tables
from runbase.cli.tables import Column
from runbase.cli.toprows import ORDERS, cells
from runbase.cli.watching import Row, Watch, sort_rows
from runbase.extras import load

EXAMPLES = (
    "Examples:\n"
    "\n    runbase top"
    "\n    runbase top -e mnist --metrics train/loss,val/acc"
    "\n    runbase top 'params.lr < 0.01'"
    "\n    runbase top --once"
)


def command(
    where: Annotated[
        str | None, typer.Argument(help="Only runs that match this filter; see `runbase runs`.")
    ] = None,
    experiment: common.OfExperiment = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            "-m",
            help="Metrics to show, separated by commas.",
            autocompletion=completing.metric_lists,
        ),
    ] = None,
    sort: Annotated[
        str, typer.Option("--sort", "-s", help=f"Sort by {', '.join(ORDERS)}, or a metric.")
    ] = "started",
    every: Annotated[float, typer.Option("--every", help="Seconds between two updates.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Print the table once and exit.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Watch active runs: their progress, metrics, and the age of the last point.

    Runs lost within the last hour are shown too, marked. Keys: s sort, r reverse, / filter, t tag, Enter open,
    p pause, q quit. Without a terminal, the table is printed once.
    """
    with common.store(home, url) as store:
        keys = [key.strip() for key in (metrics or "").split(",") if key.strip()]
        watch = Watch(store, where=where, experiment=experiment, metrics=keys)
        out = common.console()
        if json:
            common.print_json([as_data(row) for row in sort_rows(watch.look(), sort)])
        elif once or not out.is_terminal:
            show(out, sort_rows(watch.look(), sort, descending=sort == "started"))
        else:
            load("textual", "cli", "the live screen of runbase top")
            from runbase.cli.topscreen import TopScreen

            TopScreen(store, watch, sort=sort, every=every).run()


def show(out: Console, rows: list[Row]) -> None:
    """Print rows as a table whose columns fit the terminal."""
    if not rows:
        out.print("No active runs.")
        return
    names = [figure.key for figure in rows[0].figures]
    titles = ["run", "experiment", "state", "progress", "step", *names, "last point", "took"]
    ranks = [0, 6, 0, 3, 2, *range(7, 7 + len(names)), 4, 5]
    if names:
        ranks[5] = 1  # the first metric
    cells_of_columns = zip(*(cells(row) for row in rows), strict=True)
    columns = [
        Column(title, list(column), right=title in ("step", *names), rank=rank)
        for title, column, rank in zip(titles, cells_of_columns, ranks, strict=True)
    ]
    tables.show(out, columns, hint="choose with --metrics")


def as_data(row: Row) -> dict[str, Any]:
    """Return a row as plain data for JSON."""
    return {
        "id": row.run.id,
        "name": row.run.name,
        "experiment": row.run.experiment,
        "status": row.run.status.value,
        "state": row.state,
        "progress": row.progress,
        "seconds_left": row.left,
        "job_seconds_left": row.job_left,
        "step": row.step,
        "age": row.age,
        "seconds": row.took,
        "metrics": {figure.key: figure.value for figure in row.figures},
        "host": row.run.host,
        "tags": row.run.tags,
    }
