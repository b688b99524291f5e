"""Tools for agents (Model Context Protocol): find runs, read them, compare, look at curves, ask SQL.

Each answer is compact JSON of at most `MOST` characters, about 2,000 tokens; longer lists end with a cursor for the next call.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from runbase import __version__
from runbase.errors import RunbaseError
from runbase.model import Run
from runbase.server import console
from runbase.store.archived_points import missing_points
from runbase.store.store import Store

MOST = 8000
"""Characters of an answer."""
POINTS = 200
"""Points of a curve."""
MOST_ROWS = 100
"""Rows of a query."""
INSTRUCTIONS = """runbase records machine learning experiments, runs and metrics. Start with keys and find_runs.
Filters are like SQL conditions: params.lr < 0.01 and metrics."val/loss" < 0.3 and status = 'COMPLETED' and 'baseline' in tags.
A metric means its last value; metrics.loss.min and .max are also there. Quote names with a slash. order_by takes the same names."""


def create_mcp(store: Store, *, write: bool = False) -> "MCPServer[Any]":
    """Return the tools for a store.

    Args:
        store: the store.
        write: also offer tools that tag runs and set their notes.
    """
    server: MCPServer[Any] = MCPServer("runbase", instructions=INSTRUCTIONS, version=__version__)
    tools = [find_runs, run, compare, curve, keys, sql, schema, experiments, trials]
    for function in [*tools, *([tag, note] if write else [])]:
        server.add_tool(_of(store, function), name=function.__name__, description=function.__doc__)
    return server


def _of(store: Store, function: Callable[..., Any]) -> Callable[..., str]:
    """Return a tool: a function of the store, without the store among its arguments."""
    signature = inspect.signature(function)
    shown = signature.replace(
        parameters=[p for p in signature.parameters.values() if p.name != "store"],
        return_annotation=str,
    )

    @functools.wraps(function)
    def tool(**arguments: Any) -> str:
        try:
            return _compact(function(store, **arguments))
        except RunbaseError as error:
            raise ToolError(str(error)) from error

    tool.__signature__ = shown  # type: ignore[attr-defined]
    tool.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()} | {
        "return": str
    }
    del tool.__wrapped__  # type: ignore[attr-defined]
    return tool


def _compact(answer: Any) -> str:
    """Return an answer as JSON, cut at `MOST` characters with a sentence that says so."""
    text = msgspec.json.encode(_plain(answer)).decode()
    if len(text) <= MOST:
        return text
    return f"{text[:MOST]} … cut at {MOST} of {len(text)} characters; ask for fewer rows or columns"


def _plain(value: Any) -> Any:
    """Return a value with floats of six digits, which is what agents read."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else str(value)
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def find_runs(
    store: Store,
    where: str | None = None,
    columns: list[str] | None = None,
    order_by: str | None = None,
    experiment: str | None = None,
    limit: int = 20,
    after: str | None = None,
) -> dict[str, Any]:
    """Find runs by a filter, sorted, as columns. Default columns: name, experiment, status, started_at. `cursor` is the `after` of the next call."""
    wanted = columns or ["name", "experiment", "status", "started_at"]
    found = store.table(
        where,
        columns=wanted,
        order_by=order_by,
        experiment=experiment,
        limit=min(limit, 100),
        after=after,
    )
    total = store.count(where, experiment=experiment)
    return {"total": total, "ids": found.ids, "columns": found.columns, "cursor": found.cursor}


def run(store: Store, run: str) -> dict[str, Any]:
    """Read one run by name or id: parameters, metrics (last, min, max with steps), tags, notes, status, error, git, artifacts."""
    found = store.run(run)
    return {
        **_head(found),
        "params": found.params,
        "metrics": {
            key: [m.last, m.last_step, m.min, m.min_step, m.max, m.max_step, m.count, m.nans]
            for key, m in found.metrics.items()
        },
        "metrics_are": "last, last_step, min, min_step, max, max_step, count, nans",
        "tags": found.tags,
        "notes": found.notes,
        "error": found.error,
        "git": {
            key: found.git.get(key) for key in ("commit", "branch", "dirty") if key in found.git
        },
        "artifacts": [[a.path, a.kind, a.size] for a in found.artifacts[:50]],
        "history": [[c.status.value, c.time.isoformat(), c.reason] for c in found.history],
    }


def _head(run: Run) -> dict[str, Any]:
    return {
        "id": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status.value,
        "alive": run.alive,
        "seconds": run.seconds,
        "host": run.host,
    }


def compare(store: Store, runs: list[str]) -> dict[str, Any]:
    """Compare runs or experiments by name or id: parameters that differ, last metric values, and where the best are."""
    found = store.compare(*runs)
    return {
        "names": [item.name for item in found.items],
        "differing_params": found.diff(),
        "metrics": found.metrics,
        "best": {key: [found.items[n].name for n in places] for key, places in found.best.items()},
        "missing": found.missing,
    }


def curve(
    store: Store, run: str, metric: str, start: float | None = None, end: float | None = None
) -> dict[str, Any]:
    """Look at the curve of a metric: at most 200 points, and facts: minimum, maximum, spikes, NaN, trend of the last tenth."""
    series = store.metrics(run, metric, start, end)
    values, steps = series.values, series.steps
    good = np.isfinite(values)
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).astype(int))
    facts: dict[str, Any] = {"points": len(values), "not_finite": int((~good).sum())}
    if good.any():
        low, high = (
            int(np.nanargmin(np.where(good, values, np.nan))),
            int(np.nanargmax(np.where(good, values, np.nan))),
        )
        facts["min"], facts["max"] = (
            [values[low].item(), steps[low].item()],
            [values[high].item(), steps[high].item()],
        )
        jumps = np.abs(np.diff(values[good]))
        usual = float(np.median(jumps)) if len(jumps) else 0.0
        spikes: Any = np.flatnonzero(jumps > 20 * usual)[:10] if usual > 0 else []
        facts["spikes_at"] = [steps[good][n + 1].item() for n in spikes]
        tail = values[good][-max(len(values) // 10, 2) :]
        facts["last_tenth"] = [tail[0].item(), tail[-1].item()]
    return {
        "metric": metric,
        "facts": facts,
        "steps": steps[places].tolist(),
        "values": values[places].tolist(),
    }


def keys(
    store: Store, kind: str = "metric", text: str = "", experiment: str | None = None
) -> list[Any]:
    """List keys that runs have: kind metric, param, tag or telemetry; [key, runs, type, least, greatest], most frequent first."""
    found = store.known_keys(kind, text, experiment=experiment, limit=100)
    return [[k.key, k.runs, k.type, k.least, k.greatest] for k in found]


def sql(store: Store, query: str) -> dict[str, Any]:
    """Run one SQL query that only reads, for at most 30 seconds; at most 100 rows. `schema` shows the tables."""
    console.check(query)
    found = store.reader.first_rows(query, (), MOST_ROWS + 1, 30)
    rows = [
        [value if isinstance(value, int | float | str | None) else str(value) for value in row]
        for row in found[:MOST_ROWS]
    ]
    answer = {"columns": list(found.columns), "rows": rows, "more": len(found) > len(rows)}
    note = missing_points(store.reader, query)
    return answer if note is None else {**answer, "note": note}


def schema(store: Store, table: str | None = None) -> Any:
    """List the tables and views with their meaning; with `table`, its columns."""
    tables = [t for t in store.tables() if t["name"] not in console.PRIVATE_TABLES]
    if table is None:
        return [[t["name"], t["comment"]] for t in tables]
    return next((t for t in tables if t["name"] == table), f"there is no table {table!r}")


def experiments(store: Store, where: str | None = None, limit: int = 50) -> list[Any]:
    """List experiments, newest first: name, number of runs, status, objectives."""
    found = store.experiments(where, limit=min(limit, 100))
    return [
        [e.name, e.runs, e.status, [[o.metric, o.direction] for o in e.objectives]] for e in found
    ]


def trials(store: Store, experiment: str) -> dict[str, Any]:
    """Show the trials of an experiment: how many are in each state, and the best ones."""
    found = store.experiment(experiment)
    states: dict[str, int] = {}
    for row in store.storage.trial_rows(found.id):
        states[row.status.value] = states.get(row.status.value, 0) + 1
    best = found.best_trials(5) if found.objectives else []
    shown = [
        {"id": t.run, "number": t.number, "params": t.params, "values": t.values} for t in best
    ]
    return {"states": states, "best": shown}


def tag(store: Store, run: str, tags: dict[str, str | None]) -> str:
    """Add tags to a run or an experiment; null for a tag without a value."""
    store.tag(run, tags)
    return "done"


def note(store: Store, run: str, text: str) -> str:
    """Add a line to the notes of a run or an experiment."""
    store.note(run, text, append=True)
    return "done"
