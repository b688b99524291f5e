"""`runbase compare`: runs and experiments side by side."""

import sys
from typing import Annotated

import typer

from runbase.analysis.compare import Comparison
from runbase.cli import common

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
            autocompletion=common.complete_targets,
        ),
    ],
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show parameters that are the same, too.")
    ] = False,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Compare any mix of runs and experiments: what differs, and which is best."""
    with common.store(home, url) as store:
        found = store.compare(*targets)
    if json:
        common.print_json(
            {
                "items": [
                    {"kind": i.kind, "id": i.id, "name": i.name, "status": i.status}
                    for i in found.items
                ],
                "params": found.params,
                "differing": found.differing,
                "metrics": found.metrics,
                "best": found.best,
                "missing": found.missing,
            }
        )
    else:
        _print(found, everything)
    if found.missing:
        common.say(
            f"runbase: there is no run or experiment {', '.join(found.missing)}", file=sys.stderr
        )
        sys.exit(1)


def _print(found: Comparison, everything: bool) -> None:
    if not found.items:
        return
    names = [common.escape(item.name) for item in found.items]
    table = common.table(["", *names], numbers=names)
    table.add_row("kind", *[item.kind for item in found.items])
    table.add_row("status", *[common.escape(item.status) for item in found.items])
    keys = list(found.params) if everything else found.differing
    if keys:
        table.add_row()
        table.add_row("[bold]Parameters[/]")
    for key in keys:
        table.add_row(
            f"  {common.escape(key)}", *[common.escape(_shown(v)) for v in found.params[key]]
        )
    if found.metrics:
        table.add_row()
        table.add_row("[bold]Metrics[/]")
    for key, values in found.metrics.items():
        best = found.best.get(key, [])
        cells = [
            f"[bold green]{common.number(value)} ★[/]" if n in best else f"{common.number(value)}  "
            for n, value in enumerate(values)
        ]
        table.add_row(f"  {common.escape(key)}", *cells)
    common.console().print(table)
    same = len(found.params) - len(found.differing)
    if same and not everything:
        common.say(f"\n{same} parameters are the same everywhere; --all shows them.")


def _shown(value: object) -> str:
    return common.number(value) if isinstance(value, int | float | None) else str(value)
