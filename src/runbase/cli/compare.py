"""`runbase compare`: compare runs and experiments."""

import sys
from typing import Annotated

import typer

from runbase.analysis.compare import Comparison
from runbase.cli import common, completing, tables

EXAMPLES = (
    "Examples:\n"
    "\n    runbase compare brisk-heron-42 calm-otter-7"
    "\n    runbase compare mnist cifar --json"
    "\n    runbase compare 01a1 01a2 --all"
)


def command(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="Runs and experiments, by id, prefix or name.",
            autocompletion=completing.targets,
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show equal parameters as well.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Compare runs and experiments: what differs, and which is best."""
    with common.store(home, url) as store:
        comparison = store.compare(*targets)
    if json:
        common.print_json(
            {
                "items": [
                    {"kind": i.kind, "id": i.id, "name": i.name, "status": i.status}
                    for i in comparison.items
                ],
                "params": comparison.params,
                "differing": comparison.differing,
                "metrics": comparison.metrics,
                "best": comparison.best,
                "missing": comparison.missing,
            }
        )
    else:
        _print(comparison, everything)
    if comparison.missing:
        common.say(
            f"runbase: run or experiment not found: {', '.join(comparison.missing)}",
            file=sys.stderr,
        )
        sys.exit(1)


def _print(comparison: Comparison, everything: bool) -> None:
    if not comparison.items:
        return
    names = [tables.escape(item.name) for item in comparison.items]
    table = common.table(["", *names], numbers=names)
    table.add_row("kind", *[item.kind for item in comparison.items])
    table.add_row("status", *[tables.escape(item.status) for item in comparison.items])
    keys = list(comparison.params) if everything else comparison.differing
    if keys:
        table.add_row()
        table.add_row("[bold]Parameters[/]")
    for key in keys:
        table.add_row(
            f"  {tables.escape(key)}", *[tables.escape(_shown(v)) for v in comparison.params[key]]
        )
    if comparison.metrics:
        table.add_row()
        table.add_row("[bold]Metrics[/]")
    for key, values in comparison.metrics.items():
        best = comparison.best.get(key, [])
        cells = [
            f"[bold green]{common.number(value)} ★[/]" if n in best else f"{common.number(value)}  "
            for n, value in enumerate(values)
        ]
        table.add_row(f"  {tables.escape(key)}", *cells)
    common.console().print(table)
    same = len(comparison.params) - len(comparison.differing)
    if same and not everything:
        common.say(f"\n{same} parameters are equal and not shown; use --all to show them.")


def _shown(value: object) -> str:
    return common.number(value) if isinstance(value, int | float | None) else str(value)
