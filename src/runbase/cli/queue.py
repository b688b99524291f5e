"""`runbase queue`: the trials of experiments by status, once or live."""

import time
from collections import Counter
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
select e.id, e.name, r.status, count(*) as trials
from runs r join experiments e on e.id = r.experiment_id
where r.queued_at is not null and r.deleted_at is null
  and (e.id = :experiment or cast(:experiment as text) is null)
group by e.id, e.name, r.status order by e.name, e.id
"""
_RUNNING = """
select t.experiment, t.number, t.attempt, t.runner, t.started_at, t.lease_until, t.params
from trials t join runs r on r.id = t.run_id
where t.status = 'RUNNING' and (r.experiment_id = :experiment or cast(:experiment as text) is null)
order by t.started_at desc
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
        wanted = None if experiment is None else store.experiment(experiment).id
        if json:
            common.print_json(look(store, wanted))
            return
        console = common.console()
        if not watch:
            for table in tables(look(store, wanted)):
                console.print(table)
            return
        with Live(console=console, auto_refresh=False) as live:
            while True:
                store.sync()
                grid = Table.grid()
                for table in tables(look(store, wanted)):
                    grid.add_row(table)
                live.update(grid, refresh=True)
                time.sleep(every)


def look(store: Store, experiment: str | None) -> dict[str, Any]:
    """Return the queues as plain data: of the experiment with an id, or of all.

    Experiments of one name are told apart by their ids.
    """
    rows = store.storage.sql(_COUNTS, {"experiment": experiment})
    ids = {(str(row[0]), str(row[1])) for row in rows}
    several = {name for name, count in Counter(name for _, name in ids).items() if count > 1}
    counts: dict[str, dict[str, int]] = {}
    for key, name, state, trials in rows:
        label = f"{name} ({key})" if name in several else name
        counts.setdefault(label, {})[state] = trials
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
