"""The one way in for observations: deliveries of events, each to the verb of its noun."""

from collections.abc import Sequence
from typing import Any

from runbase.events import (
    ArtifactLogged,
    ArtifactRemoved,
    ArtifactUsed,
    Captured,
    Closed,
    Ended,
    JournalEvent,
    Noted,
    Opened,
    Params,
    Points,
    RecordLogged,
    Started,
    StatusChanged,
    Tags,
    Types,
)
from runbase.storage.records import Delivery
from runbase.storage.sql import artifacts, points, runs
from runbase.storage.sql.session import Session

_HANDLERS: dict[type, Any] = {
    Captured: runs.captured,
    Params: runs.params,
    Tags: runs.tags,
    Noted: runs.noted,
    Types: points.types,
    ArtifactLogged: artifacts.logged,
    ArtifactUsed: artifacts.used,
    ArtifactRemoved: artifacts.removed,
    RecordLogged: runs.recorded,
}
_STATES: dict[type, Any] = {
    Started: runs.started,
    StatusChanged: runs.status_changed,
    Ended: runs.ended,
}
"""What says how a run stands: of a trial, with the attempt that says it."""


def deliver(session: Session, deliveries: Sequence[Delivery]) -> list[bool]:
    """Take in events; says of each delivery whether it was this call that took it in."""
    ids = session.each(sorted({delivery.run for delivery in deliveries}))
    session.rows("lock_runs", runs=ids)
    purged = {row["id"] for row in session.rows("purged_of", ids=ids)}
    return [d.run not in purged and _deliver(session, d) for d in deliveries]


def _deliver(session: Session, delivery: Delivery) -> bool:
    first = delivery.events[0] if delivery.events else None
    if isinstance(first, Opened):
        runs.opened(session, first, delivery.folder)
        _insert_journal(session, first, delivery)
    taken = session.changed(
        "advance_journal",
        id=delivery.journal,
        start=delivery.start,
        offset=delivery.offset,
        lines=delivery.lines,
        problems=delivery.problems,
    )
    if not taken:
        return False
    latest = 0.0
    for event in delivery.events:
        latest = max(latest, _apply(session, delivery, event))
    if latest:
        runs.seen(session, delivery.run, latest)
    return True


def _apply(session: Session, delivery: Delivery, event: JournalEvent | Points) -> float:
    """One event; when it happened."""
    if isinstance(event, Points):
        points.points(session, delivery.run, delivery.journal, event)
        return max(event.times)
    if isinstance(event, Closed | Ended):
        session.run("close_journal", id=delivery.journal, time=session.time(event.time))
    state = _STATES.get(type(event))
    if state is not None:
        attempt = session.row("attempt_of_journal", id=delivery.journal)["attempt"]
        state(session, delivery.run, event, attempt)
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(session, delivery.run, event)
    return event.time


def _insert_journal(session: Session, event: Opened, delivery: Delivery) -> None:
    process = event.process
    session.run(
        "insert_journal",
        id=event.journal,
        run=event.run,
        file=delivery.file,
        host=process.host,
        pid=process.pid,
        process_started=process.started,
        boot=process.boot,
        time=session.time(event.time),
        attempt=event.attempt,
    )
