"""Apply deliveries of events: the only way to store observations.

Each event is passed to the function that stores its kind. If an event of a delivery cannot be stored, the delivery is applied
in parts: the event is listed as a problem, and all other events are stored.
"""

import time as clock
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, cast

from msgspec.structs import replace

from runbase.errors import QueryError, SchemaError, StoreError
from runbase.events import (
    Alerted,
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
    Problem,
    RecordLogged,
    Started,
    StatusChanged,
    Tags,
    Types,
)
from runbase.journal.validation import check_event, mended
from runbase.storage.sql import alerts, artifacts, points_write, runs
from runbase.storage.sql.session import Session
from runbase.storage.types import Applied, Delivery
from runbase.values import plain_text

_HANDLERS: dict[type, Any] = {
    Captured: runs.captured,
    Params: runs.params,
    Tags: runs.tags,
    Noted: runs.noted,
    Alerted: alerts.raised,
    Types: points_write.types,
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
"""Events that change a run's status, with the function that stores each. For a trial, the attempt that reports it is stored too."""


LISTED = 1000
"""Problems of one journal that are listed; further ones are only counted."""


def deliver(session: Session, deliveries: Sequence[Delivery]) -> list[Applied]:
    """Store the events of deliveries; raise if any of them cannot be stored."""
    purged = _lock(session, deliveries)
    return [Applied(False) if d.run in purged else _deliver(session, d) for d in deliveries]


class Careful:
    """Stores deliveries event by event if necessary, and lists those that cannot be stored.

    Slower than `deliver`: a delivery that fails is split in halves, down to single values. `errors` converts a driver's
    exceptions to those of runbase.
    """

    def __init__(
        self, session: Session, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        self._session, self._errors = session, errors

    def deliver(self, deliveries: Sequence[Delivery]) -> list[Applied]:
        """Store deliveries; returns the result of each."""
        purged = _lock(self._session, deliveries)
        return [Applied(False) if d.run in purged else self._deliver(d) for d in deliveries]

    def _deliver(self, delivery: Delivery) -> Applied:
        session = self._session
        try:
            with self._errors(), session.savepoint():
                _open(session, delivery)
        except Exception as error:
            reraise_unless_refused(error)
            return Applied(False, [_problem(delivery, delivery.events[0], error)])
        if not _advance(session, delivery):
            return Applied(False)
        refused = self._apply(delivery, delivery.events)
        problems = [*delivery.problems, *refused]
        if refused:
            session.run("count_refused", id=delivery.journal, problems=len(refused))
        _list_problems(session, delivery, problems)
        return Applied(True, problems)

    def _apply(self, delivery: Delivery, events: Sequence[JournalEvent | Points]) -> list[Problem]:
        """Apply events, splitting those that fail as far as possible; returns what cannot be stored."""
        if not events:
            return []
        try:
            with self._errors(), self._session.savepoint():
                _apply_all(self._session, delivery, events)
            return []
        except Exception as error:
            reraise_unless_refused(error)
            halves = halved(events[0]) if len(events) == 1 else _split(events)
            if not halves:
                return [_problem(delivery, events[0], error)]
        return [problem for half in halves for problem in self._apply(delivery, half)]


def _lock(session: Session, deliveries: Sequence[Delivery]) -> set[str]:
    """Lock the runs of deliveries against concurrent writes; returns which of the runs were purged."""
    ids = {delivery.run for delivery in deliveries}
    runs.lock(session, ids)
    return {row["id"] for row in session.rows("purged_of", ids=session.as_list(sorted(ids)))}


def _deliver(session: Session, delivery: Delivery) -> Applied:
    _open(session, delivery)
    if not _advance(session, delivery):
        return Applied(False)
    _apply_all(session, delivery, delivery.events)
    _list_problems(session, delivery, delivery.problems)
    return Applied(True, delivery.problems)


def _split(events: Sequence[Any]) -> list[Sequence[Any]]:
    half = len(events) // 2
    return [events[:half], events[half:]]


def halved(event: JournalEvent | Points) -> list[Sequence[Any]]:
    """Split an event into two that are equivalent to it; returns an empty list if it cannot be split."""
    if isinstance(event, Points):
        if len(event.steps) > 1:
            half = len(event.steps) // 2
            return [
                [points_write.cut(event, 0, half)],
                [points_write.cut(event, half, len(event.steps))],
            ]
        if len(event.keys) > 1:
            half = len(event.keys) // 2
            return [[_some_keys(event, 0, half)], [_some_keys(event, half, len(event.keys))]]
        return []
    for field in ("values", "set", "types"):
        values: dict[str, Any] = getattr(event, field, None) or {}
        if len(values) > 1:
            items = list(values.items())
            half = len(items) // 2
            first = replace(event, **{field: dict(items[:half])})
            return [[first], [replace(event, **{field: dict(items[half:])})]]
    if isinstance(event, Captured):
        parts = [name for name in ("git", "args", "env", "system") if getattr(event, name)]
        if len(parts) > 1:
            alone = [{name: getattr(event, name)} for name in parts]
            return [[Captured(time=event.time, **facts)] for facts in alone]
    return []


def _some_keys(event: Points, start: int, stop: int) -> Points:
    return replace(event, keys=event.keys[start:stop], columns=event.columns[start:stop])


def reraise_unless_refused(error: Exception) -> None:
    """Raise an error again if it means that the database cannot be used, not that an event is invalid."""
    if isinstance(error, MemoryError | SchemaError):
        raise error
    if isinstance(error, StoreError) and not isinstance(error, QueryError):
        raise error


def _problem(delivery: Delivery, event: JournalEvent | Points, error: Exception) -> Problem:
    place = delivery.locate(event) if delivery.locate else Problem(delivery.file, None, "")
    shown = place.line or plain_text(repr(event))[:100]
    reason = f"cannot be stored: {plain_text(str(error)) or type(error).__name__}"
    return Problem(place.file, place.offset, reason[:500], shown)


def _list_problems(session: Session, delivery: Delivery, problems: Sequence[Problem]) -> None:
    if not problems:
        return
    counted = session.row("count_problems", id=delivery.journal)["problems"]
    room = max(LISTED - (counted - len(problems)), 0)
    now = session.time(clock.time())
    session.many(
        "add_problem",
        [
            {
                "run": delivery.run,
                "journal": delivery.journal,
                "file": problem.file,
                "offset": problem.offset,
                "reason": problem.reason,
                "line": problem.line,
                "time": now,
            }
            for problem in problems[:room]
        ],
    )


def _open(session: Session, delivery: Delivery) -> None:
    """Store the first event of a journal: register the journal and its run."""
    first = delivery.events[0] if delivery.events else None
    if isinstance(first, Opened):
        first, _ = mended(first, clock.time())
        runs.opened(session, first, delivery.folder, delivery.experiment)
        _insert_journal(session, first, delivery)


def _advance(session: Session, delivery: Delivery) -> bool:
    """Advance the journal's offset; False if another ingester did so first."""
    return bool(
        session.changed(
            "advance_journal",
            id=delivery.journal,
            start=delivery.start,
            offset=delivery.offset,
            lines=delivery.lines,
            problems=len(delivery.problems),
        )
    )


def _apply_all(
    session: Session, delivery: Delivery, events: Sequence[JournalEvent | Points]
) -> None:
    latest = 0.0
    writer = points_write.Writer(session, delivery.run, delivery.journal, events)
    for event in events:
        latest = max(latest, _apply(session, delivery, event, writer))
    if latest:
        runs.seen(session, delivery.run, latest, delivery.journal)


def _apply(
    session: Session,
    delivery: Delivery,
    event: JournalEvent | Points,
    writer: points_write.Writer,
) -> float:
    """Store one event; returns when it happened."""
    if isinstance(event, Opened):
        return mended(event, 0.0)[0].time
    check_event(event)
    if isinstance(event, Points):
        points_write.points(session, delivery.run, delivery.journal, event, writer)
        return max(event.times)
    if isinstance(event, Closed | Ended):
        session.run("close_journal", id=delivery.journal, time=session.time(event.time))
    if isinstance(event, Started | StatusChanged | Ended):
        _report(session, delivery, event)
    handler = _HANDLERS.get(type(event))
    if handler is not None:
        handler(session, delivery.run, event)
    return event.time


def _report(session: Session, delivery: Delivery, event: Started | StatusChanged | Ended) -> None:
    """Store a status. A status that a process reports later is stored as later, even if its clock was set back.

    A process that resumes a run comes after all that earlier processes reported, whatever the clocks of their machines are.
    """
    row = session.row("state_of_journal", id=delivery.journal)
    before = session.moment(row["state_at"])
    if before is not None and event.time < before.timestamp():
        event = replace(event, time=before.timestamp())
    if isinstance(event, Started) and event.resumed:
        last = session.row("last_status", run=delivery.run)
        if last is not None and last["attempt"] == row["attempt"]:
            reached = cast("datetime", session.moment(last["time"])).timestamp()
            event = replace(event, time=max(event.time, reached + 1e-6))
    _STATES[type(event)](session, delivery.run, event, row["attempt"])
    session.run("set_state_of_journal", id=delivery.journal, time=session.time(event.time))


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
