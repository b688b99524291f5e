"""`runbase view`: create, list and drop wide views of metrics, for any SQL tool."""

from typing import Annotated

import typer

from runbase.cli import common, completing, tables

EXAMPLES = (
    "Examples:\n\n    runbase view create curves -m train/loss,val/acc\n    runbase view list"
)
CREATE_EXAMPLES = (
    "Examples:\n"
    "\n    runbase view create curves -m train/loss,val/acc"
    "\n    runbase sql 'select * from curves'"
)

app = typer.Typer(
    help="Manage wide views of metrics: one row per run and step, one column per metric.",
    no_args_is_help=True,
)


@app.command(epilog=CREATE_EXAMPLES)
def create(
    name: Annotated[str, typer.Argument(help="The name of the view in SQL.")],
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics",
            "-m",
            help="The metrics of its columns, separated by commas.",
            autocompletion=completing.metric_lists,
        ),
    ],
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Create a view, which includes new data automatically."""
    with common.store(home, url) as store:
        columns = store.create_view(name, [key.strip() for key in metrics.split(",")])
    if json:
        common.print_json({"name": name, "columns": columns})
        return
    common.say(f"{name}(run_id, step, {', '.join(columns)})")


@app.command("list", epilog="Examples:\n\n    runbase view list\n    runbase view list --json")
def list_(home: common.Home = None, url: common.Url = None, json: common.Json = False) -> None:
    """List the views, with the metric of each column."""
    with common.store(home, url) as store:
        views = store.views()
    if json:
        common.print_json(views)
        return
    if not views:
        common.say("No views; create one with `runbase view create`.")
        return
    table = common.table(["view", "column", "metric"])
    for name, columns in views.items():
        for number, (column, metric) in enumerate(columns.items()):
            table.add_row(
                tables.escape(name) if number == 0 else "",
                tables.escape(column),
                tables.escape(metric),
            )
    common.console().print(table)


@app.command(epilog="Examples:\n\n    runbase view drop curves")
def drop(
    name: Annotated[str, typer.Argument(help="The name of the view.")],
    home: common.Home = None,
    url: common.Url = None,
) -> None:
    """Drop a view; the metrics are not changed."""
    with common.store(home, url) as store:
        store.drop_view(name)
    common.say(f"Dropped {name}")
