"""`runbase experiments`: list experiments as a table."""

import sys
from typing import Annotated, Any

import typer

from runbase.analysis.directions import best_of, direction_of
from runbase.cli import common, tables
from runbase.cli.runs import shown
from runbase.cli.tables import Column
from runbase.model import Experiment
from runbase.store.store import Experiments, Store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase experiments"
    "\n    runbase experiments 'runs > 10 and tags.paper is not null'"
    "\n    runbase experiments --sort 'updated_at desc' --json"
)
Figures = dict[str, dict[str, tuple[float | None, float | None]]]


def command(
    where: Annotated[
        str | None, typer.Argument(help="A filter, such as 'status = \"done\" and runs > 3'.")
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", "-s", help="Sort keys, such as 'updated_at desc'.")
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", help="Maximum number of experiments.")
    ] = 20,
    deleted: Annotated[bool, typer.Option("--deleted", help="List the trash instead.")] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """List experiments, newest first.

    The column `best` has the best value of the first objective over the runs.
    """
    with common.store(home, url) as store:
        listed = store.experiments(where, order_by=sort, limit=limit, deleted=deleted)
        if json:
            common.print_json(list(listed))
            return
        if not listed:
            common.say("No experiments." if where is None else "No experiment matches that filter.")
            return
        figures = _figures(store, listed)
    _show(listed, figures)


def _figures(store: Store, listed: Experiments) -> Figures:
    ids = [item.id for item in listed if item.objectives]
    return store.reader.figures_of_experiments(ids) if ids else {}


def _show(listed: Experiments, figures: Figures) -> None:
    wide = not sys.stdout.isatty()
    longest = None if wide else tables.LONGEST
    separator = "," if wide else ", "
    best = [_best(item, figures.get(item.id, {})) for item in listed]
    tags = [common.tags_text(item.tags, separator) for item in listed]
    texts: dict[str, list[str]] = {
        "best": best,
        "tags": tags,
        "model": [item.base_model or "" for item in listed],
        "method": [item.method or "" for item in listed],
    }
    columns = [
        Column("experiment", [f"[bold]{tables.cell(item.name)}[/]" for item in listed]),
        Column("status", [tables.cell(item.status) for item in listed], rank=3),
        Column("runs", [f"{item.runs:,}" for item in listed], right=True, rank=1),
        Column("updated", [_updated(item, wide) for item in listed], rank=2),
    ]
    for place, (title, values) in enumerate(texts.items(), 4):
        cells = [tables.cell(text or "–", longest) for text in values]
        column = Column(title, cells, rank=2 if title == "best" else place)
        if any(values):
            columns.append(column)
    for place, key in enumerate(dict.fromkeys(key for item in listed for key in item.metrics), 8):
        columns.append(_metric(listed, key, place, wide))
    tables.show(common.console(), columns, hint="print all with --json")


def _updated(item: Experiment, wide: bool) -> str:
    return f"{item.updated_at:%Y-%m-%dT%H:%M:%SZ}" if wide else common.ago(item.updated_at)


def _best(item: Experiment, figures: dict[str, tuple[float | None, float | None]]) -> str:
    """Return the best value of the first objective over the runs of an experiment."""
    for objective in item.objectives[:1]:
        low, high = figures.get(objective.metric, (None, None))
        value = low if objective.direction == "min" else high
        return "" if value is None else f"{objective.metric}={common.number(value)}"
    return ""


def _metric(listed: Experiments, key: str, rank: int, wide: bool) -> Column:
    """Return a headline figure of the experiments, with a star at the best."""
    values: list[Any] = [item.metrics.get(key) for item in listed]
    numbers = [value if isinstance(value, int | float) else None for value in values]
    objectives = [objective for item in listed for objective in item.objectives]
    best = best_of(numbers, direction_of(key, objectives))
    star, blank = ("★", "") if wide else (" ★", "  ")
    cells = [
        f"[bold green]{common.number(number)}{star}[/]"
        if number is not None and number == best
        else tables.cell(shown(value)) + (blank if best is not None else "")
        for value, number in zip(values, numbers, strict=True)
    ]
    return Column(key, cells, right=True, rank=rank)
