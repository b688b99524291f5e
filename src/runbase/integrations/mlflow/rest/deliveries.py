"""Store what clients log: each request is one delivery, which is stored as a whole or not at all.

The requests for a run are the lines of a journal that exists in the database only. Its offset counts them. A delivery is
made of the run as it is at an offset, and stored only if the offset is still the same, so that requests of several servers
for one run follow each other. A point that is stored already is left out: a request that a client repeats changes nothing.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from runbase.events import JournalEvent, Opened, Params, Points, Process
from runbase.integrations.mlflow.rest import models
from runbase.integrations.mlflow.rest.calls import Call, Fields
from runbase.integrations.mlflow.rest.errors import MlflowError, invalid, not_found
from runbase.integrations.mlflow.rest.experiments import milliseconds
from runbase.integrations.mlflow.rest.numbers import SCOPE
from runbase.integrations.mlflow.rest.records import (
    LONGEST_PARAM,
    LONGEST_TAG,
    TagChanges,
    param,
    param_text,
)
from runbase.journal.format import VERSION
from runbase.model import Run
from runbase.storage.types import Delivery

Event = JournalEvent | Points
FILE = "mlflow"
"""The name of the journals that exist in the database only."""
MOST = {"metrics": 1000, "params": 100, "tags": 100}
MOST_TOGETHER = 1000
_TRIES = 1000
"""How often a delivery is made again because other requests for the run were stored before it."""


class Point:
    """A value of a metric: `mark` is what makes it the same as another one."""

    __slots__ = ("key", "mark", "step", "timestamp", "value")

    def __init__(self, key: str, value: float, timestamp: int, step: int) -> None:
        self.key, self.value, self.timestamp, self.step = key, value, timestamp, step
        self.mark = key, timestamp, step, value if value == value else None


def journal_of(run: str) -> str:
    """Return the id of the journal of a run's requests."""
    return f"mlflow-{run}"


def opened(run: str, experiment: str, name: str, at: float, host: str, attempt: int = 0) -> Opened:
    """Return the first event of the journal of a run's requests."""
    return Opened(
        time=at,
        version=VERSION,
        journal=journal_of(run),
        run=run,
        experiment=experiment,
        name=name,
        process=Process(host, 0),
        attempt=attempt,
    )


def run_of(call: Call, key: str, permission: str = "read", *, active: bool = False) -> Run:
    """Return a run, deleted ones included, if the caller may use it.

    Args:
        call: the request.
        key: the id of the run.
        permission: what the caller must be allowed to do with it.
        active: whether it must not be deleted.
    """
    found = call.store.storage.get_runs([key])
    if not found or (permission == "read" and not call.caller.may("read", found[0].experiment_id)):
        raise not_found(f"Run with id={key} not found")
    call.caller.require(permission, found[0].experiment_id)
    if active and found[0].deleted_at is not None:
        raise invalid(f"The run {key} must be in the 'active' state. Current state is deleted.")
    return found[0]


def deliver(call: Call, key: str, events_of: Callable[[Run], Sequence[Event]]) -> Run:
    """Store events of a run.

    Args:
        call: the request.
        key: the id of the run.
        events_of: makes the events for the run as it is now; called again if the run changed meanwhile.

    Returns:
        The run before the events.
    """
    storage, journal = call.store.storage, journal_of(key)
    for _ in range(_TRIES):
        start = storage.offsets([journal]).get(journal)
        run = run_of(call, key, "log", active=True)
        events = [*events_of(run)]
        if not events:
            return run
        if start is None:
            head = opened(key, run.experiment, run.name, time.time(), call.host, run.attempt)
            events.insert(0, head)
        begin = start or 0
        applied = storage.apply(
            [
                Delivery(
                    run=key,
                    events=events,
                    journal=journal,
                    start=begin,
                    offset=begin + 1,
                    file=FILE,
                    lines=1,
                )
            ]
        )[0]
        if applied.taken:
            if applied.problems:
                raise invalid("; ".join(problem.reason for problem in applied.problems))
            return run
    raise MlflowError("TEMPORARILY_UNAVAILABLE", f"run {key} is changed too often; try again")


def log(
    call: Call,
    key: str,
    *,
    points: Sequence[Point] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    together: bool = True,
) -> None:
    """Store metrics, parameters and tags of a run, all or none.

    Args:
        call: the request.
        key: the id of the run.
        points: values of metrics.
        params: parameter → text.
        tags: tag → value.
        together: whether the request is a batch, for messages.
    """
    changes = TagChanges({k: v[:LONGEST_TAG] for k, v in (tags or {}).items()}, time.time())

    def events_of(run: Run) -> list[Event]:
        found: list[Event] = []
        new = _new_params(run, params or {}, together)
        if new:
            found.append(Params(time=time.time(), values=new))
        return [*found, *changes.events, *_point_events(unseen(call, run, points))]

    run = deliver(call, key, events_of)
    if changes.fields:
        call.store.storage.update("run", run.id, changes.fields)
    if changes.attributes:
        call.store.storage.put_attributes("run", run.id, SCOPE, changes.attributes)


def _new_params(run: Run, params: Mapping[str, str], together: bool) -> dict[str, object]:
    """Return parameters that the run does not have. Raises MlflowError if one has another value."""
    new: dict[str, object] = {}
    changed: list[dict[str, str]] = []
    for name, text in params.items():
        value = text[:LONGEST_PARAM]
        if name not in run.params:
            new[name] = param(value)
        elif (old := param_text(run.params[name])) != value:
            changed.append({"key": name, "old_value": old, "new_value": value})
    if changed and together:
        raise invalid(
            f"Changing param values is not allowed. Params were already logged='{changed}' for run ID='{run.id}'."
        )
    if changed:
        first = changed[0]
        raise invalid(
            f"Changing param values is not allowed. Param with key='{first['key']}' was already logged with "
            f"value='{first['old_value']}' for run ID='{run.id}'. Attempted logging new value "
            f"'{first['new_value']}'."
        )
    return new


def unseen(call: Call, run: Run, points: Sequence[Point]) -> list[Point]:
    """Return the points that are not stored, each once."""
    new = list({point.mark: point for point in points}.values())
    doubtful: dict[str, list[Point]] = {}
    for point in new:
        metric = run.metrics.get(point.key)
        if metric is None or metric.last_step is None or metric.last_time is None:
            continue
        if (point.step, point.timestamp) <= (metric.last_step, milliseconds(metric.last_time)):
            doubtful.setdefault(point.key, []).append(point)
    known: set[tuple[str, int, int, float | None]] = set()
    for key, some in doubtful.items():
        steps = [point.step for point in some]
        series = call.store.storage.series(run.id, key, min(steps), max(steps), every=True)
        rows = zip(
            series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True
        )
        known.update(
            (key, round(at * 1000), int(step), value if value == value else None)
            for step, at, value in rows
        )
    return [point for point in new if point.mark not in known]


def _point_events(points: Sequence[Point]) -> list[Event]:
    """Return points as log calls: those of one step and time with different keys are one call."""
    calls: dict[tuple[int, int, int], dict[str, float]] = {}
    ordered = sorted(
        points, key=lambda p: (p.step, p.timestamp, p.value if p.value == p.value else 0.0)
    )
    for point in ordered:
        again = 0
        while point.key in calls.setdefault((point.step, point.timestamp, again), {}):
            again += 1
        calls[point.step, point.timestamp, again][point.key] = point.value
    groups: list[tuple[tuple[str, ...], list[tuple[int, int]], list[list[float]]]] = []
    for (step, timestamp, _), values in calls.items():
        keys = tuple(values)
        if not groups or groups[-1][0] != keys:
            groups.append((keys, [], [[] for _ in keys]))
        groups[-1][1].append((step, timestamp))
        for column, value in zip(groups[-1][2], values.values(), strict=True):
            column.append(value)
    return [
        Points(
            keys=keys,
            steps=[step for step, _ in axis],
            times=[timestamp / 1000 for _, timestamp in axis],
            columns=[list(column) for column in columns],
        )
        for keys, axis, columns in groups
    ]


# Requests


def point_of(fields: Fields, key: str = "key", shown: str = "name") -> Point:
    """Return the point in a request."""
    return Point(
        fields.key(key, shown, "Metric name"),
        fields.figure("value"),
        fields.integer("timestamp"),
        fields.integer("step", 0),
    )


def log_metric(call: Call) -> dict[str, object]:
    """Store one value of a metric."""
    key = call.fields.either("run_id", "run_uuid")
    log(call, key, points=[point_of(call.fields)])
    models.log_metrics(call, key, [call.fields])
    return {}


def log_parameter(call: Call) -> dict[str, object]:
    """Store one parameter."""
    key = call.fields.either("run_id", "run_uuid")
    name = call.fields.key("key", what="Param key")
    log(call, key, params={name: call.fields.values_text("value")}, together=False)
    return {}


def log_batch(call: Call) -> dict[str, object]:
    """Store metrics, parameters and tags, all or none."""
    key = call.fields.either("run_id", "run_uuid")
    lists = {name: call.fields.objects(name) for name in MOST}
    for name, items in lists.items():
        if len(items) > MOST[name]:
            raise _too_many(f"{MOST[name]} {name}", len(items), name)
    total = sum(map(len, lists.values()))
    if total > MOST_TOGETHER:
        raise _too_many(f"{MOST_TOGETHER} metrics, params, and tags in total", total, "entities")
    points = [point_of(item) for item in lists["metrics"]]
    params: dict[str, str] = {}
    repeated: list[str] = []
    for item in lists["params"]:
        name = item.key("key", what="Param key")
        repeated += [name] if name in params else []
        params[name] = item.values_text("value")
    if repeated:
        raise invalid(
            f"Duplicate parameter keys have been submitted: {repeated}. Please ensure the request contains "
            "only one param value per param key."
        )
    tags = {item.key("key", what="Tag key"): item.values_text("value") for item in lists["tags"]}
    log(call, key, points=points, params=params, tags=tags)
    models.log_metrics(call, key, lists["metrics"])
    return {}


def _too_many(most: str, number: int, what: str) -> MlflowError:
    return invalid(
        f"A batch logging request can contain at most {most}. Got {number} {what}. "
        f"Please split up them across multiple requests and try again."
    )
