"""Store imported runs and experiments: only what is new, and nothing twice."""

import hashlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from msgspec import Struct

from runbase.errors import NotFound, QueryError, StoreError
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
from runbase.ingest.foreign import ImportedExperiment, ImportedRecord, ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import path_of
from runbase.ingest.growth import Held, new_points, with_stored_keys
from runbase.ingest.readers import importer, is_address
from runbase.journal import VERSION
from runbase.model import Experiment, Run
from runbase.status import Phase
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery
from runbase.typing import JsonObject
from runbase.values import as_tags, plain_text

BATCH = 50
"""Runs in one transaction."""


class ImportReport(Struct, kw_only=True):
    """What an import stored."""

    source: str
    system: str
    runs: int = 0
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    points: int = 0
    experiments: int = 0
    """Experiments that were created."""
    counts: dict[str, int] = {}
    """Number of other new items by kind: texts, images, tables, files, samples, links, …"""
    left_out: dict[str, int] = {}
    """Data that runbase cannot store: kind → number."""
    problems: list[str] = []
    """What could not be read, with reasons."""

    def count(self, kind: str, number: int = 1) -> None:
        """Count new items of a kind."""
        if number:
            self.counts[kind] = self.counts.get(kind, 0) + number

    def leave_out(self, what: str, number: int = 1) -> None:
        """Count items that could not be imported."""
        if number:
            self.left_out[what] = self.left_out.get(what, 0) + number


def import_from(
    storage: Storage,
    source: str,
    system: str,
    *,
    columns: Mapping[str, str] | None = None,
    experiment: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Import the runs and experiments of another system. A repeated import stores only what is new.

    Args:
        storage: the database to import into.
        source: a path or URL of the other system's data.
        system: the name of the other system.
        columns: for tables: column, or pattern of columns, → its meaning; see `runbase.integrations.tables.reader`.
        experiment: for tables that do not name one: the experiment of the runs.
        progress: called with (runs done, all runs).

    Returns:
        What was imported, left out, and could not be read.
    """
    reader = importer(system, source)
    report = ImportReport(source=source, system=system)
    experiments = getattr(reader, "experiments", None)
    if experiments is not None:
        import_experiments(storage, experiments(source), report)
    asked = ImportRequest(
        source=source,
        problems=report.problems,
        known=lambda ids: known(storage, ids),
        columns=dict(columns or {}),
        experiment=experiment,
        left_out=report.left_out,
    )
    runs = reader.runs(asked)
    if not is_address(source) and "://" not in source:
        path = path_of(source).resolve()
        storage.add_artifact_root(str(path if path.is_dir() else path.parent))
    return import_runs(storage, runs, report, total=reader.count(source), progress=progress)


def import_runs(
    storage: Storage,
    runs: Iterable[ImportedRun],
    report: ImportReport,
    *,
    total: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Store imported runs; of runs that exist already, only what is new.

    Args:
        storage: the database.
        runs: runs as the other system has them now.
        report: the report, which is filled in and returned.
        total: the number of runs, if known.
        progress: called with (runs done, all runs).
    """
    left = iter(runs)
    links: list[tuple[str, str, str]] = []
    while part := list(islice(left, BATCH)):
        _import_part(storage, part, report)
        links += [(run.id, kind, other) for run in part for kind, other in run.links]
        if progress:
            progress(report.runs, max(total, report.runs))
    _link(storage, links, report)
    return report


def _import_part(storage: Storage, part: Sequence[ImportedRun], report: ImportReport) -> None:
    ids = [run.id for run in part]
    known = {run.id: run for run in storage.get_runs(ids)}
    reached = storage.offsets([f"import-{key}" for key in ids])
    held = Held(storage, [run for run in part if run.id in known])
    deliveries: list[Delivery] = []
    beside: dict[str, _Beside] = {}
    for run in part:
        start = reached.get(f"import-{run.id}", 0)
        report.runs += 1
        events: list[Any] = []
        with _fenced(report, run):
            with_stored_keys(run)
            beside[run.id] = aside = _Beside(run, held)
            fresh = new_points(storage, run, known.get(run.id), changed=aside.is_new)
            events = list(_events(run, known.get(run.id), start, held, fresh))
        if events:
            delivery = Delivery(
                run=run.id,
                events=events,
                journal=f"import-{run.id}",
                start=start,
                offset=start + len(events),
                file=report.system,
                experiment=run.experiment_id,
                lines=len(events),
            )
            deliveries.append(delivery)
    taken = storage.apply(deliveries) if deliveries else []
    changed: set[str] = set()
    refused: set[str] = set()
    for delivery, applied in zip(deliveries, taken, strict=True):
        report.problems += map(str, applied.problems)
        if not applied.taken:  # another process imports the same run, or it was deleted permanently
            refused.add(delivery.run)
            continue
        changed.add(delivery.run)
        _count(report, delivery.events)
    # If an import stopped before `source_status` was set, the next one stores the rest.
    begun = {run for run, record in known.items() if record.source_status is None}
    for run in part:
        if run.id in refused or not (extras := beside.get(run.id)):
            continue
        if run.id in changed | begun or extras.is_new:
            with _fenced(report, run):
                extras.put(storage, report)
            changed.add(run.id)
    report.new += len(changed - known.keys())
    report.updated += len(changed & known.keys())
    report.unchanged = report.runs - report.new - report.updated
    fresh_runs = [run for run in part if run.id in changed | begun]
    gone = [run.id for run in fresh_runs if run.deleted and run.id not in known.keys() - begun]
    if gone:
        storage.delete("run", gone)
    storage.update_runs({run.id: {"source_status": run.source_status} for run in fresh_runs})


def _count(report: ImportReport, events: Sequence[Any]) -> None:
    """Count the items in stored events."""
    kinds: Counter[str] = Counter()
    for event in events:
        if isinstance(event, Points):
            report.points += len(event.steps)
        elif isinstance(event, RecordLogged):
            kinds[_PLURALS.get(event.kind, f"{event.kind} records")] += 1
        elif isinstance(event, ArtifactLogged):
            kinds["files"] += 1
        elif isinstance(event, Params):
            kinds["parameters"] += len(event.values)
        elif isinstance(event, Tags):
            kinds["tags"] += len(event.set)
    for kind, number in kinds.items():
        report.count(kind, number)


_PLURALS = {
    "text": "texts",
    "json": "documents",
    "image": "images",
    "table": "tables",
    "histogram": "histograms",
    "audio": "sounds",
    "video": "videos",
    "plot": "plots",
}


@contextmanager
def _fenced(report: ImportReport, run: ImportedRun) -> Generator[None]:
    """Report an error in one run as a problem, so that the import of the other runs continues."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, QueryError):
            raise
        report.problems.append(f"{report.source}, run {plain_text(run.name)}: {error}")


def _link(storage: Storage, links: Sequence[tuple[str, str, str]], report: ImportReport) -> None:
    """Store links between runs, after all runs are stored."""
    here = {run.id for run in storage.get_runs([other for _, _, other in links])}
    there = {
        (run, link.kind, link.to_id)
        for run in {run for run, _, _ in links}
        for link in storage.links("run", run)
    }
    for run, kind, other in links:
        if run == other:
            report.leave_out(f"links ({kind}) of a run to itself")
        elif other not in here:
            report.leave_out(f"links ({kind}) to a run that is not there")
        elif (run, kind, other) not in there:
            storage.link("run", run, kind, other)
            report.count("links")


def known(storage: Storage, ids: Sequence[str]) -> dict[str, Run]:
    """Return those of some runs that exist in the database, by id."""
    return {run.id: run for run in storage.get_runs(ids)}


# Experiments


def import_experiments(
    storage: Storage, told: Iterable[ImportedExperiment], report: ImportReport
) -> None:
    """Store what another system reports of experiments; existing descriptions and objectives are kept."""
    links: list[tuple[str, str, str]] = []
    ids: dict[str, str] = {}
    for record in told:
        experiment, is_new = _experiment(storage, record, ids)
        ids[record.id or record.name] = experiment.id
        links += [(experiment.id, kind, other) for kind, other in record.links]
        report.experiments += is_new
        changes: JsonObject = {}
        if record.description and not experiment.description:
            changes["description"] = record.description
        if record.objectives and not experiment.objectives:
            changes["objectives"] = record.objectives
        if changes:
            storage.update("experiment", experiment.id, changes)
        for scope, values in record.attributes.items():
            storage.put_attributes("experiment", experiment.id, scope, values)
        if is_new and record.created is not None:
            storage.date_experiment(experiment.id, record.created, record.updated or record.created)
    for origin, kind, other in links:
        goal = ids.get(other)
        if goal == origin:
            report.leave_out(f"links ({kind}) of an experiment to itself")
        elif goal is not None:
            storage.link("experiment", origin, kind, goal)


def _experiment(
    storage: Storage, told: ImportedExperiment, ids: dict[str, str]
) -> tuple[Experiment, bool]:
    """Return the existing experiment or create one with the reported fields; and whether it is new."""
    try:
        existing = storage.find_experiment(told.id or told.name, deleted=False)
        return storage.get_experiments([existing])[0], False
    except NotFound:
        pass
    fields = {**told.fields, "tags": as_tags(told.fields.get("tags"))}
    parent = ids.get(told.parent) if told.parent else None
    if parent is not None:
        fields["parent_id"] = parent
    created = storage.create_experiment(told.name.strip() or "unnamed", fields, told.id)
    if told.parent and parent is None:
        storage.add_ancestor(created, told.parent, told.parent)
    return storage.get_experiments([created])[0], True


# A run


class _Beside:
    """The data of a run that is not stored as events: attributes, telemetry, its place in the queue."""

    def __init__(self, run: ImportedRun, held: Held) -> None:
        self._run = run
        self._attributes = held.new_attributes(run)
        self._samples = run.samples if held.has_more_samples(run) else []
        self.is_new = bool(self._attributes or self._samples)

    def put(self, storage: Any, report: ImportReport) -> None:
        """Store the data."""
        run = self._run
        for scope, values in self._attributes.items():
            storage.put_attributes("run", run.id, scope, values)
        if run.due is not None:
            storage.enqueue(run.id, run.due)
        if self._samples:
            storage.add_samples(run.id, self._samples)
            report.count("samples", len(self._samples))


def _events(
    run: ImportedRun, known: Run | None, start: int, held: Held, fresh: dict[str, list[int]]
) -> Iterator[Any]:
    """Yield the events for what is new of a run; none if nothing is new."""
    if known is None or start == 0:
        yield from _opening(run)
    if known is None or known.status.phase is not Phase.ENDED:
        for time, status in run.history:
            if time > run.started:
                yield StatusChanged(time=time, status=status)
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
    for key, places in fresh.items():
        yield _points(run, key, places)
    types = {k: v for k, v in run.types.items() if known is None or k not in known.metrics}
    if types:
        yield Types(time=run.started, types=types)
    yield from _files(run, held)
    if known is None or known.status is not run.status:
        yield from _state(run, known)


def _opening(run: ImportedRun) -> Iterator[Any]:
    """Yield the events at the beginning of a run."""
    created = run.started if run.created is None else min(run.created, run.started)
    yield Opened(
        time=created,
        version=VERSION,
        journal=f"import-{run.id}",
        run=run.id,
        experiment=run.experiment,
        name=run.name,
        process=Process("", 0),
    )
    for time, status in run.history:
        if time < run.started:
            yield StatusChanged(time=time, status=status)
    if run.status.phase is not Phase.WAITING or run.has_started:
        yield Started(time=run.started, parent=run.parent, user=run.user)
    if run.git or run.args or run.system or run.env:
        yield Captured(
            time=run.started,
            git=run.git or None,
            args=run.args or None,
            system=run.system or None,
            env=run.env or None,
        )


def _points(run: ImportedRun, key: str, places: Sequence[int]) -> Points:
    rows, shares = run.metrics[key], run.progress.get(key)
    times, steps, values = zip(*(rows[place] for place in places), strict=True)
    return Points(
        keys=(key,),
        steps=[*steps],
        times=[*times],
        columns=[[*values]],
        progress=None if shares is None else [shares[place] for place in places],
    )


def _files(run: ImportedRun, held: Held) -> Iterator[Any]:
    """Yield the events for texts, media and files that are not in the database."""
    kept = [
        ImportedRecord(
            time=time, step=step, key=key, kind="text" if isinstance(v, str) else "json", value=v
        )
        for time, step, key, v in run.texts
    ]
    for record in kept + run.records:
        if not held.takes("record", run.id, record.key, float(record.step)):
            yield RecordLogged(
                time=record.time,
                key=record.key,
                kind=record.kind,
                step=record.step,
                value=record.value,
                path=record.path,
            )
    for artifact in run.artifacts:
        if not held.takes("file", run.id, artifact.path, float(artifact.size)):
            yield ArtifactLogged(
                time=run.ended or run.started,
                path=artifact.path,
                kind=artifact.kind,
                uri=artifact.uri,
                size=artifact.size,
                sha256=artifact.sha256 or _digest(artifact.uri),
            )


def _digest(uri: str) -> str | None:
    """Return the SHA-256 of a local file; None if it cannot be read."""
    path = Path(uri)
    try:
        if not path.is_absolute() or not path.is_file():  # opening a pipe would block
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _state(run: ImportedRun, known: Run | None) -> Iterator[Any]:
    times = [rows[-1][0] for rows in run.metrics.values() if rows]
    waited = known is not None and known.started_at is None
    if waited and run.status.phase is not Phase.WAITING:
        yield Started(time=run.started, parent=run.parent, user=run.user)
    if run.status.phase is Phase.ENDED:
        # Times in a source may be inconsistent; make sure that the end is not before the start.
        yield Ended(
            time=max(run.ended or run.started, run.started),
            status=run.status,
            exit_code=run.exit_code,
            error=run.error,
        )
    elif run.status.phase is Phase.ACTIVE and known is not None and not waited:
        yield Started(time=max(times, default=run.started), resumed=True)
    elif run.status.phase is Phase.WAITING:
        when = max([run.started, *times]) if run.has_started else run.started
        yield StatusChanged(time=when, status=run.status)


_NONE = object()
