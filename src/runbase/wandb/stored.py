"""What the store knows of a run in W&B's words: its state, and its summary."""

from collections.abc import Iterable
from typing import Any, cast

from runbase.analysis.directions import lower_is_better
from runbase.model import Metric, Run
from runbase.status import Phase, Status
from runbase.storage.protocol import Storage
from runbase.typing import JsonObject
from runbase.wandb.definitions import Definitions
from runbase.wandb.definitions import Metric as Definition
from runbase.wandb.runs import DEFINITIONS, SUMMARY
from runbase.wandb.summaries import numbers

STATES = {
    Status.COMPLETED: "finished",
    Status.CANCELLED: "killed",
    Status.NODE_FAIL: "crashed",
    Status.PREEMPTED: "preempted",
}


def state_of(run: Run) -> str:
    """Return W&B's word for the status of a run: pending, running, finished, failed, crashed, killed, preempted."""
    if run.status in STATES:
        return STATES[run.status]
    return {Phase.WAITING: "pending", Phase.ACTIVE: "running"}.get(run.status.phase, "failed")


def recorded(storage: Storage, run_id: str) -> tuple[JsonObject, JsonObject]:
    """Return the values that the script set in the summary, and its definitions of metrics."""
    found: list[JsonObject] = []
    for key in (SUMMARY, DEFINITIONS):
        rows = storage.records(run_id, key)
        latest = max(rows, key=lambda row: row["time"], default=None)
        value: Any = None if latest is None else latest["value"]
        found.append(cast("JsonObject", value) if isinstance(value, dict) else {})
    return found[0], found[1]


def summary_of(
    run: Run, explicit: JsonObject, definitions: Iterable[Definition] = ()
) -> JsonObject:
    """Return the summary of a run.

    Args:
        run: the run.
        explicit: the values that the script has set.
        definitions: the definitions of its metrics.
    """
    points = {key for key, _ in numbers(explicit)}  # which were logged at the end of the run
    logged = _logged(run, definitions)
    return {**{key: value for key, value in logged.items() if key not in points}, **explicit}


def _logged(run: Run, definitions: Iterable[Definition]) -> JsonObject:
    """Return the summary of the logged metrics: the last values, or what the definitions say."""
    known = Definitions()
    for one in definitions:
        known.define(one.name, summary=",".join(one.summary) or None, goal=one.goal)
    values: JsonObject = {}
    for key, metric in run.metrics.items():
        definition = known.of(key)
        parts = () if definition is None else definition.summary
        if "none" in parts:
            continue
        if not parts or parts == ("copy",):
            values[key] = metric.last
        else:
            values[key] = {part: _figure(metric, part, definition) for part in parts}
    return values


def _figure(metric: Metric, part: str, definition: Definition | None) -> Any:
    if part == "best":
        goal = "" if definition is None or not definition.goal else definition.goal
        less = goal.startswith("min") if goal else lower_is_better(metric.key)
        return metric.min if less else metric.max
    return getattr(metric, part)
