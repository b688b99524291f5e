"""What importers give, and how it gets into a store."""

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from msgspec import Struct

from runbase.client import Store
from runbase.errors import NotFound
from runbase.events import (
    ArtifactLogged,
    Captured,
    Ended,
    Noted,
    Opened,
    Params,
    Points,
    Process,
    RecordLogged,
    Started,
    StatusChanged,
    Tags,
    Types,
)
from runbase.journal import VERSION
from runbase.model import Run
from runbase.status import Phase, Status
from runbase.storage.records import Delivery

BATCH = 50
"""Runs in one transaction."""
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+|nan|[+-]?inf")


class Artifact(Struct, frozen=True, kw_only=True):
    """A file of a run: its name within the run, where it is, and bytes."""

    path: str
    uri: str
    size: int


class Foreign(Struct, kw_only=True):
    """A run as another system has it. Times are seconds since the epoch."""

    id: str
    """32 hexadecimal characters: its own id where that is such a one."""
    name: str
    experiment: str
    status: Status
    source_status: str
    started: float
    ended: float | None = None
    user: str | None = None
    parent: str | None = None
    notes: str = ""
    params: dict[str, Any] = {}
    tags: dict[str, str | None] = {}
    git: dict[str, Any] = {}
    args: dict[str, Any] = {}
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    """Metric → (time, step, value) of each point, in an order in which new ones come last."""
    types: dict[str, str] = {}
    """Metric → bool or time, where its values are no plain numbers."""
    texts: list[tuple[float, int | float, str, Any]] = []
    """(time, step, key, value) of what is no number."""
    artifacts: list[Artifact] = []
    attributes: dict[str, dict[str, Any]] = {}
    """What its tools kept about it: scope → key → value."""
    samples: list[tuple[float, str, Any]] = []
    """Telemetry: (time, key, value)."""
    deleted: bool = False


class Told(Struct, kw_only=True):
    """What another system says of an experiment."""

    name: str
    description: str = ""
    objectives: dict[str, str] = {}
    fields: dict[str, Any] = {}
    """Other fields of our experiments, for one that is not here yet."""
    parent: str | None = None
    """The name of the one that it descends from, which came before it."""
    attributes: dict[str, dict[str, Any]] = {}


class Imported(Struct, kw_only=True):
    """What an import did."""

    source: str
    system: str
    runs: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    points: int = 0
    problems: list[str] = []
    """What could not be read: where, and why."""


def take(
    store: Store,
    runs: Iterable[Foreign],
    report: Imported,
    *,
    total: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Bring runs into a store; those that are there already get what is new of them."""
    storage = store._storage  # pyright: ignore[reportPrivateUsage]
    left = iter(runs)
    while part := list(islice(left, BATCH)):
        ids = [run.id for run in part]
        known = {run.id: run for run in storage.get_runs(ids)}
        reached = storage.offsets([f"import-{key}" for key in ids])
        deliveries: list[Delivery] = []
        for run in part:
            start = reached.get(f"import-{run.id}", 0)
            events = list(_events(run, known.get(run.id), start))
            report.runs += 1
            if not events:
                report.unchanged += 1
                continue
            report.new += run.id not in known
            report.updated += run.id in known
            report.points += sum(len(e.steps) for e in events if isinstance(e, Points))
            deliveries.append(
                Delivery(
                    run=run.id,
                    events=events,
                    journal=f"import-{run.id}",
                    start=start,
                    offset=start + len(events),
                    file=report.system,
                    lines=len(events),
                )
            )
        taken = storage.apply(deliveries) if deliveries else []
        changed = {d.run for d, mine in zip(deliveries, taken, strict=True) if mine}
        fresh = [run for run in part if run.id in changed]
        storage.update_runs({run.id: {"source_status": run.source_status} for run in fresh})
        for run in fresh:
            _beside(storage, run)
        gone = [run.id for run in part if run.deleted and run.id in changed and run.id not in known]
        if gone:
            storage.delete("run", gone)
        if progress:
            progress(report.runs, max(total, report.runs))
    return report


def about(store: Store, told: Iterable[Told]) -> None:
    """What is said of experiments, where nobody here has said something else."""
    storage = store._storage  # pyright: ignore[reportPrivateUsage]
    for each in told:
        experiment = _experiment(store, each)
        changes: dict[str, Any] = {}
        if each.description and not experiment.description:
            changes["description"] = each.description
        if each.objectives and not experiment.objectives:
            changes["objectives"] = each.objectives
        if changes:
            store.update_experiment(experiment, **changes)
        for scope, values in each.attributes.items():
            storage.put_attributes("experiment", experiment.id, scope, values)


def _experiment(store: Store, told: Told) -> Any:
    """The experiment of a name: the one that is here, or a new one with all that is said of it."""
    try:
        return store.experiment(told.name)
    except NotFound:
        fields = dict(told.fields)
        checkpoint = fields.pop("checkpoint", None)
        made = store.create_experiment(told.name, parent=told.parent, **fields)
        if checkpoint:
            store.update_experiment(made, checkpoint=checkpoint)
        return made


def _beside(storage: Any, run: Foreign) -> None:
    """What of a run is no event."""
    for scope, values in run.attributes.items():
        if values:
            storage.put_attributes("run", run.id, scope, values)
    if run.samples:
        storage.add_samples(run.id, run.samples)


def typed(text: str) -> Any:
    """A parameter that was stored as text, as what it was: a number, true or false, None; else the text."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _events(run: Foreign, known: Run | None, start: int) -> Iterator[Any]:
    """What is new of a run; nothing where that is nothing."""
    new = list(_points(run, known))
    if known is None or start == 0:
        yield Opened(
            time=run.started,
            version=VERSION,
            journal=f"import-{run.id}",
            run=run.id,
            experiment=run.experiment,
            name=run.name,
            process=Process("", 0),
        )
        if run.status.phase is not Phase.WAITING:
            yield Started(time=run.started, parent=run.parent, user=run.user)
        if run.git or run.args:
            yield Captured(time=run.started, git=run.git or None, args=run.args or None)
    params = {
        k: v for k, v in run.params.items() if known is None or known.params.get(k, _NONE) != v
    }
    if params:
        yield Params(time=run.started, values=params)
    tags = {k: v for k, v in run.tags.items() if known is None or known.tags.get(k, _NONE) != v}
    if tags:
        yield Tags(time=run.started, set=tags)
    if run.notes and (known is None or known.notes != run.notes):
        yield Noted(time=run.started, text=run.notes)
    yield from new
    if known is None:
        if run.types:
            yield Types(time=run.started, types=run.types)
        for time, step, key, value in run.texts:
            kind = "text" if isinstance(value, str) else "json"
            yield RecordLogged(time=time, key=key, kind=kind, step=step, value=value)
        for artifact in run.artifacts:
            yield ArtifactLogged(
                time=run.ended or run.started,
                path=artifact.path,
                kind="file",
                uri=artifact.uri,
                size=artifact.size,
            )
    if known is None or known.status is not run.status:
        yield from _state(run)


def _state(run: Foreign) -> Iterator[Any]:
    if run.status.phase is Phase.ENDED:
        yield Ended(time=run.ended or run.started, status=run.status)
    elif run.status.phase is Phase.WAITING:
        yield StatusChanged(time=run.started, status=run.status)


def _points(run: Foreign, known: Run | None) -> Iterator[Points]:
    """The points of each metric that are not there yet: as many as there are more."""
    for key, rows in run.metrics.items():
        metric = None if known is None else known.metrics.get(key)
        fresh = rows[0 if metric is None else metric.count :]
        if fresh:
            times, steps, values = zip(*fresh, strict=True)
            yield Points(keys=(key,), steps=[*steps], times=[*times], columns=[[*values]])


_NONE = object()


__all__ = ["Artifact", "Foreign", "Imported", "Told", "about", "take", "typed"]
