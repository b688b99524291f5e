"""`runbase experiments`: list experiments as a table."""

from typing import Annotated

import typer

from runbase.cli import common
from runbase.model import Experiment

EXAMPLES = (
    "Examples:\n"
    "\n    runbase experiments"
    "\n    runbase experiments 'runs > 10 and tags.paper is not null'"
    "\n    runbase experiments --sort 'updated_at desc' --json"
)


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
    """List experiments, newest first."""
    with common.store(home, url) as store:
        listed = store.experiments(where, order_by=sort, limit=limit, deleted=deleted)
    if json:
        common.print_json(list(listed))
        return
    if not listed:
        common.say("No experiments." if where is None else "No experiment matches that filter.")
        return
    metrics = _headline(listed)
    names = ["experiment", "status", "runs", "updated", "model", "method", "tags", *metrics]
    table = common.table(names, numbers=["runs", *metrics])
    for item in listed:
        table.add_row(
            f"[bold]{common.escape(item.name)}[/]",
            common.escape(item.status),
            f"{item.runs:,}",
            common.ago(item.updated_at),
            common.escape(item.base_model or "–"),
            common.escape(item.method or "–"),
            common.escape(common.tags_text(item.tags)),
            *[common.escape(_shown(item.metrics.get(key))) for key in metrics],
        )
    common.console().print(table)


def _headline(listed: list[Experiment], most: int = 3) -> list[str]:
    return list(dict.fromkeys(key for item in listed for key in item.metrics))[:most]


def _shown(value: object) -> str:
    return common.number(value) if isinstance(value, int | float | None) else str(value)
