"""`runbase queue`: the trials of experiments by status, once or live."""

import time
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from runbase.cli import common, completing
from runbase.store.store import Store

EXAMPLES = (
    "Examples:\n"
    "\n    runbase queue"
    "\n    runbase queue tuning --watch"
    "\n    runbase queue tuning --json"
)
STATES = ("PENDING", "RUNNING", "COMPLETED", "FAILED", "PRUNED", "CANCELLED")
SHOWN = 20
_COUNTS = """
select experiment, status, count(*) as trials, min(queued_at) as since, max(attempt) as attempts
from trials where experiment = :experiment or cast(:experiment as text) is null
group by experiment, status order by experiment
"""
_RUNNING = """
select experiment, number, attempt, runner, started_at, lease_until, params
from trials
where status = 'RUNNING' and (experiment = :experiment or cast(:experiment as text) is null)
order by started_at desc
"""


def command(
    experiment: Annotated[
        str | None,
        typer.Argument(help="Only this experiment.", autocompletion=completing.experiments),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Update the tables continuously.")
    ] = False,
    every: Annotated[float, typer.Option("--every", help="Seconds between two updates.")] = 2.0,
    home: common.Home = None,
    url: common.Url = None,
    json: common.Json = False,
) -> None:
    """Show the number of trials by status, and which runner runs which trial."""
    with common.store(home, url) as store:
        name = None if experiment is None else store.experiment(experiment).name
        if json:
            common.print_json(look(store, name))
            return
        console = common.console()
        if not watch:
            for table in tables(look(store, name)):
                console.print(table)
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                store.sync()
                grid = Table.grid()
                for table in tables(look(store, name)):
                    grid.add_row(table)
                live.update(grid, refresh=True)
                time.sleep(every)


def look(store: Store, experiment: str | None) -> dict[str, Any]:
    """Return the queues as plain data."""
    counts: dict[str, dict[str, int]] = {}
    for row in store.storage.sql(_COUNTS, {"experiment": experiment}):
        counts.setdefault(row[0], {})[row[1]] = row[2]
    running = store.storage.sql(_RUNNING, {"experiment": experiment}).to_dicts()
    return {"experiments": counts, "running": running}


def tables(queues: dict[str, Any]) -> list[Any]:
    """Return the queues as printable tables."""
    counts: dict[str, dict[str, int]] = queues["experiments"]
    if not counts:
        return ["There are no trials; add one with experiment.new_trial(…)."]
    first = Table(box=None, header_style="bold")
    first.add_column("experiment")
    others = sorted({state for states in counts.values() for state in states} - set(STATES))
    for state in (*STATES, *others):
        first.add_column(state.lower(), justify="right")
    for name, states in counts.items():
        cells = [f"{states[s]:,}" if s in states else "" for s in (*STATES, *others)]
        first.add_row(name, *cells)
    running: list[dict[str, Any]] = queues["running"]
    if not running:
        return [first]
    second = Table(box=None, header_style="bold")
    for name in ("running", "trial", "attempt", "runner", "since", "parameters"):
        second.add_column(name, justify="right" if name in ("trial", "attempt") else "left")
    for row in running[:SHOWN]:
        second.add_row(
            row["experiment"],
            str(row["number"]),
            str(row["attempt"]),
            row["runner"] or "",
            str(row["started_at"])[:19],
            str(row["params"] or "")[:80],
        )
    rest = [f"… and {len(running) - SHOWN:,} more"] if len(running) > SHOWN else []
    return [first, "", second, *rest]
