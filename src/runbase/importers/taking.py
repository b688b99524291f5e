"""How what importers give gets into a store: what is new of it, and nothing twice."""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

from msgspec import Struct

from runbase.client import Store
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
from runbase.importers.base import Foreign, Kept, Told
from runbase.journal import VERSION
from runbase.model import Run
from runbase.status import Phase
from runbase.storage.records import Delivery
from runbase.values import plain_text

BATCH = 50
"""Runs in one transaction."""


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
    links: list[tuple[str, str, str]] = []
    while part := list(islice(left, BATCH)):
        ids = [run.id for run in part]
        known = {run.id: run for run in storage.get_runs(ids)}
        reached = storage.offsets([f"import-{key}" for key in ids])
        held = _held(store, [run for run in part if run.id in known])
        deliveries: list[Delivery] = []
        for run in part:
            start = reached.get(f"import-{run.id}", 0)
            report.runs += 1
            events: list[Any] = []
            with _fenced(report, run):
                if run.by_step and run.id in known:
                    _leave_out(store, run, known[run.id])
                events = list(_events(run, known.get(run.id), start, held))
            if not events:
                report.unchanged += 1
                continue
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
        changed: set[str] = set()
        for delivery, applied in zip(deliveries, taken, strict=True):
            report.problems += map(str, applied.problems)
            if not applied.taken:  # somebody else imports the same, or it was deleted for good
                report.unchanged += 1
                continue
            changed.add(delivery.run)
            report.new += delivery.run not in known
            report.updated += delivery.run in known
            report.points += sum(len(e.steps) for e in delivery.events if isinstance(e, Points))
        links += [(run.id, kind, other) for run in part for kind, other in run.links]
        begun = {run for run, record in known.items() if record.source_status is None}
        fresh = [run for run in part if run.id in changed | begun]
        for run in fresh:
            with _fenced(report, run):
                _beside(storage, run)
        gone = [run.id for run in fresh if run.deleted and run.id not in known.keys() - begun]
        if gone:
            storage.delete("run", gone)
        # Last: where an import was stopped before this, the next one does the rest.
        storage.update_runs({run.id: {"source_status": run.source_status} for run in fresh})
        if progress:
            progress(report.runs, max(total, report.runs))
    here = {run.id for run in storage.get_runs([other for _, _, other in links])}
    for run, kind, other in links:
        if other in here:
            storage.link("run", run, kind, other)
    return report


@contextmanager
def _fenced(report: Imported, run: Foreign) -> Generator[None]:
    """Keep what is odd about one run from stopping the import of all others: it is a problem."""
    try:
        yield
    except Exception as error:
        if isinstance(error, StoreError) and not isinstance(error, QueryError):
            raise
        report.problems.append(f"{report.source}, run {plain_text(run.name)}: {error}")


def known(store: Store, ids: Sequence[str]) -> dict[str, Run]:
    """Of some runs, those that are here."""
    return {run.id: run for run in store._storage.get_runs(ids)}  # pyright: ignore[reportPrivateUsage]


def about(store: Store, told: Iterable[Told]) -> None:
    """What is said of experiments, where nobody here has said something else."""
    storage = store._storage  # pyright: ignore[reportPrivateUsage]
    links: list[tuple[str, str, str]] = []
    for each in told:
        links += [(each.name, kind, other) for kind, other in each.links]
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
    for name, kind, other in links:
        ids = store.experiment(name).id, store.experiment(other).id
        storage.link("experiment", ids[0], kind, ids[1])


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
    if run.due is not None:
        storage.enqueue(run.id, run.due)
    if run.samples:
        storage.add_samples(run.id, run.samples)


def _leave_out(store: Store, run: Foreign, known: Run) -> None:
    """Forget the points whose steps are here."""
    for key in run.metrics.keys() & known.metrics.keys():
        steps = set(store.metrics(run.id, key).steps.tolist())
        run.metrics[key] = [point for point in run.metrics[key] if point[1] not in steps]


def _held(store: Store, runs: Sequence[Foreign]) -> set[tuple[Any, ...]]:
    """Of runs that are here: (run, key, step) of each record, and (run, path, size) of each artifact."""
    with_more = [run.id for run in runs if run.texts or run.records or run.artifacts]
    if not with_more:
        return set()
    names = {f"r{n}": run for n, run in enumerate(with_more)}
    among = ", ".join(f":{name}" for name in names)
    query = (
        f"select run_id, key, cast(step as double precision) from records where run_id in ({among}) "  # noqa: S608
        f"union all select run_id, path, cast(size as double precision) from artifacts where run_id in ({among})"
    )
    return {tuple(row) for row in store.sql(query, names)}


def _events(
    run: Foreign, known: Run | None, start: int, held: set[tuple[Any, ...]]
) -> Iterator[Any]:
    """What is new of a run; nothing where that is nothing."""
    new = list(_points(run, known))
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
    yield from new
    if known is None and run.types:
        yield Types(time=run.started, types=run.types)
    yield from _files(run, held)
    if known is None or known.status is not run.status:
        yield from _state(run, known)


def _opening(run: Foreign) -> Iterator[Any]:
    """How a run begins."""
    yield Opened(
        time=run.started,
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
    if run.status.phase is not Phase.WAITING:
        yield Started(time=run.started, parent=run.parent, user=run.user)
    if run.git or run.args or run.system or run.env:
        yield Captured(
            time=run.started,
            git=run.git or None,
            args=run.args or None,
            system=run.system or None,
            env=run.env or None,
        )


def _files(run: Foreign, held: set[tuple[Any, ...]]) -> Iterator[Any]:
    """What is no number and not here yet."""
    kept = [
        Kept(time=time, step=step, key=key, kind="text" if isinstance(v, str) else "json", value=v)
        for time, step, key, v in run.texts
    ]
    for one in kept + run.records:
        if (run.id, one.key, float(one.step)) not in held:
            yield RecordLogged(
                time=one.time,
                key=one.key,
                kind=one.kind,
                step=one.step,
                value=one.value,
                path=one.path,
            )
    for artifact in run.artifacts:
        if (run.id, artifact.path, float(artifact.size)) not in held:
            yield ArtifactLogged(
                time=run.ended or run.started,
                path=artifact.path,
                kind=artifact.kind,
                uri=artifact.uri,
                size=artifact.size,
            )


def _state(run: Foreign, known: Run | None) -> Iterator[Any]:
    if run.status.phase is Phase.ENDED:
        # Clocks and tables say odd things; a run that has ended did not do so before it began.
        yield Ended(
            time=max(run.ended or run.started, run.started),
            status=run.status,
            exit_code=run.exit_code,
        )
    elif run.status.phase is Phase.ACTIVE and known is not None:
        times = [rows[-1][0] for rows in run.metrics.values() if rows]
        yield Started(time=max(times, default=run.started), resumed=True)
    elif run.status.phase is Phase.WAITING:
        yield StatusChanged(time=run.started, status=run.status)


def _points(run: Foreign, known: Run | None) -> Iterator[Points]:
    """The points of each metric that are not there yet: as many as there are more."""
    for key, rows in run.metrics.items():
        metric = None if known is None else known.metrics.get(key)
        fresh = rows[0 if metric is None or run.by_step else metric.count :]
        if fresh:
            times, steps, values = zip(*fresh, strict=True)
            shares = run.progress.get(key)
            yield Points(
                keys=(key,),
                steps=[*steps],
                times=[*times],
                columns=[[*values]],
                progress=None if shares is None else shares[-len(fresh) :],
            )


_NONE = object()


__all__ = ["Imported", "about", "take"]
