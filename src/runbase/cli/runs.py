"""`runbase runs`: list runs as a table."""

import sys
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from runbase.analysis import headline
from runbase.analysis.directions import best_of, direction_of
from runbase.analysis.listings import Runs
from runbase.cli import chosen, common, completing, tables
from runbase.cli.chosen import Selection
from runbase.cli.tables import Column
from runbase.errors import counted
from runbase.model import Objective, Run
from runbase.store.store import Store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase runs"
    "\n    runbase runs 'params.lr < 0.01'"
    "\n    runbase runs -c lr,val/acc.max,tags"
    "\n    runbase runs -e mnist --sort 'val/acc desc' -n 5"
    "\n    runbase runs \"status = 'FAILED' and started_at > ago('2 days')\""
)
OWN = {
    "run": "run",
    "name": "run",
    "experiment": "experiment",
    "status": "status",
    "started": "started",
    "started_at": "started",
    "took": "took",
    "seconds": "took",
    "tags": "tags",
}
"""Names of columns that every list has → their headings."""


def command(
    where: Annotated[
        str | None,
        typer.Argument(help="A filter, such as 'params.lr < 0.01 and status = \"FAILED\"'."),
    ] = None,
    experiment: common.OfExperiment = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            "-s",
            help="Sort keys, such as 'val/acc desc, lr'.",
            autocompletion=completing.columns,
        ),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Maximum number of runs.")] = 20,
    deleted: Annotated[bool, typer.Option("--deleted", help="List the trash instead.")] = False,
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            "-c",
            help="Columns, separated by commas: parameters, metrics, tags, and filter names such as slurm.job_id.",
            autocompletion=completing.columns,
        ),
    ] = None,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """List runs, newest first, with the best values marked.

    On a terminal, the columns that fit are shown, those that differ and the main metrics first.
    """
    selection = Selection(
        where=where, sort=sort, limit=limit, experiment=experiment, deleted=deleted
    )
    with common.store(home, url) as store:
        found = selection.runs(store)
        if json:
            common.print_json(found.rows())
            return
        common.hint(store, where, sort)
        if not found:
            common.say("No runs." if where is None else "No run matches that filter.")
            return
        values = chosen.read(store, selection, found, columns) if columns else None
        named = f"{where or ''} {sort or ''}"
        show(found, values, objectives=objectives_of(store, found), named=named)
        if found.cursor is not None and not deleted and sys.stdout.isatty():
            total = store.count(where, experiment=experiment)
            left = counted(total - len(found), "more run")
            common.console().print(f"[dim]+{left}, show with -n {total}[/]")


def objectives_of(store: Store, found: Sequence[Run]) -> list[Objective]:
    """Return the objectives of the experiments of some runs."""
    ids = list(dict.fromkeys(run.experiment_id for run in found))
    records = store.storage.get_experiments(ids)
    return [objective for record in records for objective in record.objectives]


def show(
    found: Runs,
    values: Mapping[str, list[Any]] | None = None,
    *,
    objectives: Sequence[Objective] = (),
    named: str = "",
) -> None:
    """Print runs as a table; the best value of each metric is marked with a star.

    Args:
        found: the runs.
        values: chosen columns, which are never left out: name → the value of each run. Default: the
            parameters that differ, tags and metrics.
        objectives: of their experiments.
        named: the text of a filter and of sort keys; what it names is shown first.
    """
    wide = not sys.stdout.isatty()
    fields = _fields(found, wide)
    if values is not None:
        wanted = {OWN[name] for name in values if name in OWN}
        rest = [name for name in values if name not in OWN]
        fields = [column for column in fields if column.title != "tags" or "tags" in wanted]
        for place, column in enumerate(fields):
            column.rank = 0 if column.title in {*wanted, "run"} else _FIELD_ORDER[column.title]
            column.rank += place if column.rank else 0
        more = [
            _chosen(title, values[name], chosen.metric_of(name, found), objectives, wide)
            for name, title in zip(rest, chosen.titles(rest), strict=True)
        ]
        tables.show(common.console(), [*fields, *more])
        return
    params, metrics, mentioned = ranked(found, objectives, named)
    shown = [_parameter(found, key, wide) for key in params]
    shown += [_metric(found, key, objectives, wide) for key in metrics]
    rank(fields, shown[: len(params)], shown[len(params) :], mentioned)
    hint = "choose with -c KEY"
    tables.show(common.console(), [*fields, *shown], hint=hint)


def ranked(
    found: Sequence[Run], objectives: Sequence[Objective] = (), named: str = ""
) -> tuple[list[str], list[str], set[str]]:
    """Return the parameters that differ and the metrics of runs, the most important first, and what `named` names."""
    keys = {key for run in found for key in (*run.params, *run.metrics)}
    mentioned = headline.mentioned(named, keys) if named.strip() else set[str]()
    params = headline.params(found, mentioned)
    return params, headline.metrics(found, objectives, mentioned), mentioned


_FIELD_ORDER = {"run": 0, "status": 1, "experiment": 2, "started": 3, "took": 4, "tags": 5}
_LAST = 10**9


def rank(
    fields: Sequence[Column],
    params: Sequence[Column],
    metrics: Sequence[Column],
    named: Collection[str] = (),
) -> None:
    """Rank columns: the run, its status, what the user named, a metric and a parameter, then in turns."""
    own = {column.title: column for column in fields}
    same = [title for title in ("tags", "experiment") if title in own and _is_same(own[title])]
    order = ["status", "metric", "experiment", "param", "started", "tags", "metric", "param"]
    order += ["took", *["metric", "param"] * max(len(params), len(metrics))]
    left = {"metric": list(metrics), "param": list(params)}
    for place, kind in enumerate(order, 1):
        if kind in left:
            if left[kind]:
                left[kind].pop(0).rank = place
        elif kind in own:
            own[kind].rank = _LAST + same.index(kind) if kind in same else place
    for column in (*params, *metrics):
        if column.title in named:
            column.rank = 1  # as the status


def _is_same(column: Column) -> bool:
    return len(set(column.cells)) < 2


def _fields(found: Runs, wide: bool) -> list[Column]:
    """Return the columns that every list of runs has, and the tags if a run has any."""
    columns = [
        Column("run", [f"[bold]{tables.cell(run.name)}[/]" for run in found]),
        Column("experiment", [tables.cell(run.experiment) for run in found]),
        Column("status", [common.state_text(run, ", " if not wide else "/") for run in found]),
        Column("started", [_started(run, wide) for run in found]),
        Column("took", [common.duration(run.seconds) for run in found], right=True),
    ]
    if any(run.tags for run in found):
        longest = None if wide else tables.LONGEST
        texts = [common.tags_text(run.tags, "," if wide else ", ") for run in found]
        columns.append(Column("tags", [tables.cell(text or "–", longest) for text in texts]))
    return columns


def _started(run: Run, wide: bool) -> str:
    moment = run.started_at or run.created_at
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if wide else common.ago(moment)


def _parameter(found: Runs, key: str, wide: bool) -> Column:
    longest = None if wide else tables.LONGEST
    return Column(key, [tables.cell(shown(run.params.get(key)), longest) for run in found])


def _metric(found: Runs, key: str, objectives: Sequence[Objective], wide: bool) -> Column:
    values = [common.metric_value(run, key) for run in found]
    return _numbers(key, values, key, objectives, wide)


def _chosen(
    title: str,
    values: list[Any],
    metric: str | None,
    objectives: Sequence[Objective],
    wide: bool,
) -> Column:
    if metric is not None and all(isinstance(value, int | float | None) for value in values):
        return _numbers(title, values, metric, objectives, wide)
    return Column(title, [tables.cell(shown(value)) for value in values])


def _numbers(
    title: str,
    values: Sequence[float | None],
    key: str,
    objectives: Sequence[Objective],
    wide: bool,
) -> Column:
    """Return a column of numbers, with a star at the best value; on a pipe, a cell is one word."""
    best = best_of(values, direction_of(key, objectives))
    star, blank = ("★", "") if wide else (" ★", "  ")
    cells = [
        f"[bold green]{common.number(value)}{star}[/]"
        if value is not None and value == best
        else f"{common.number(value)}{blank if best is not None else ''}"
        for value in values
    ]
    return Column(title, cells, right=True)


def shown(value: object) -> str:
    """Return a value as the text of a cell."""
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return common.ago(value)
    return common.number(value) if isinstance(value, int | float) else str(value)
