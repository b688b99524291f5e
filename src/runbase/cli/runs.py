"""`runbase runs`: list runs as a table."""

from datetime import datetime
from typing import Annotated

import typer

from runbase.analysis.directions import best_of, direction_of
from runbase.analysis.frames import run_row
from runbase.analysis.listings import Runs
from runbase.cli import common

EXAMPLES = (
    "Examples:\n"
    "\n    runbase runs"
    "\n    runbase runs 'params.lr < 0.01'"
    "\n    runbase runs -c lr,tags.stage,slurm.job_id"
    "\n    runbase runs -e mnist --sort 'metrics.\"val/acc\" desc' -n 5"
)


def command(
    where: Annotated[
        str | None,
        typer.Argument(help="A filter, such as 'params.lr < 0.01 and status = \"FAILED\"'."),
    ] = None,
    experiment: Annotated[
        str | None, typer.Option("--experiment", "-e", help="Only runs of this experiment.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="Sort keys, such as 'metrics.loss asc'.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of runs.")] = 20,
    deleted: Annotated[bool, typer.Option("--deleted", help="List the trash instead.")] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            "-c",
            help="Columns, separated by commas: parameters, metrics, and filter names such as tags.stage or slurm.job_id.",
        ),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """List runs, newest first, with the best values marked."""
    with common.store(home, url) as store:
        listed = store.runs(
            where, order_by=sort, limit=limit, experiment=experiment, deleted=deleted
        )
        if json:
            common.print_json(listed.rows())
            return
        common.hint(store, where, sort)
        if not listed:
            common.say("No runs." if where is None else "No run matches that filter.")
            return
        show(listed, columns.split(",") if columns else None)


def show(found: Runs, columns: list[str] | None = None, mark: list[str] | None = None) -> None:
    """Print runs as a table; the best value of each metric is marked with a star."""
    params = columns if columns is not None else _varying(found)
    keys = [k for k in columns or [] if any(k in run.metrics for run in found)]
    if columns is None:
        keys = common.headline(found) if mark is None else mark
    params = [key for key in params if key not in keys]
    names = ["run", "experiment", "status", "started", "took", *params, *keys]
    table = common.table(names, numbers=["took", *keys])
    best = {key: _best(found, key) for key in keys}
    rows = {run.id: run_row(run) for run in found} if columns is not None else {}
    for run in found:
        values = [_cell(common.metric_value(run, key), best[key]) for key in keys]
        table.add_row(
            f"[bold]{common.escape(run.name)}[/]",
            common.escape(run.experiment),
            common.state_text(run),
            common.ago(run.started_at or run.created_at),
            common.duration(run.seconds),
            *[
                common.escape(_shown(run.params.get(key, rows.get(run.id, {}).get(key))))
                for key in params
            ],
            *values,
        )
    common.console().print(table)


def _varying(found: Runs, most: int = 4) -> list[str]:
    """Return the parameters that differ between these runs, which identify them best."""
    keys = dict.fromkeys(key for run in found for key in run.params)
    differing = [k for k in keys if len({repr(run.params.get(k)) for run in found}) > 1]
    return differing[:most] if len(found) > 1 else list(keys)[:most]


def _best(found: Runs, key: str) -> float | None:
    return best_of((common.metric_value(run, key) for run in found), direction_of(key))


def _cell(value: float | None, best: float | None) -> str:
    text = common.number(value)
    return f"[bold green]{text} ★[/]" if value is not None and value == best else f"{text}  "


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return common.ago(value)
    return common.number(value) if isinstance(value, int | float) else str(value)
