"""The storage: one class over a driver, for every dialect. Holds the dispatch, not the SQL."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast

from runbase.errors import NotFound, suggestion
from runbase.events import (
    ArtifactLogged,
    Captured,
    Closed,
    Ended,
    JournalEvent,
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
from runbase.model import Artifact, Change, Envelope, Experiment, Metric, Run, Scalar, Series
from runbase.status import Status
from runbase.storage.protocol import Delivery, LiveRun, Rows
from runbase.storage.sql import curves, experiments, points, runs, schema
from runbase.storage.sql.migrate import migrate, pending
from runbase.storage.sql.session import Session
from runbase.storage.sql.statements import for_dialect

T = TypeVar("T")

_HANDLERS: dict[type, Any] = {
    Started: runs.started,
    Captured: runs.captured,
    Params: runs.params,
    Tags: runs.tags,
    Noted: runs.noted,
    StatusChanged: runs.status_changed,
    Types: points.types,
    ArtifactLogged: runs.artifact_logged,
    RecordLogged: runs.recorded,
    Ended: runs.ended,
}

_RUNS = """
select r.*, e.name as experiment_name
from runs r join experiments e on e.id = r.experiment_id
where r.deleted_at is null
"""


class Driver(Protocol):
    """What the storage asks of a driver."""

    url: str
    dialect: str
    prepare: Callable[[Any], object]

    def new(self) -> bool: ...
    def write(self) -> AbstractContextManager[Session]: ...
    def read(self) -> AbstractContextManager[Session]: ...
    def transact(self, work: Callable[[Any], T]) -> T: ...
    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        write: bool,
        timeout: float | None,
    ) -> Rows: ...
    def close(self) -> None: ...


class SqlStorage:
    """Keeps the promises of `runbase.storage.protocol.Storage` over a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.url = driver.url
        driver.prepare = migrate
        if driver.new() or self._behind():
            with driver.write():
                pass

    def _behind(self) -> bool:
        with self._driver.read() as session:
            return bool(pending(session))

    # Observations

    def apply(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Take in events, all deliveries in one transaction; which of them were taken in."""

        def work(session: Session) -> list[bool]:
            session.rows("lock_runs", runs=session.each([d.run for d in deliveries]))
            return [_deliver(session, delivery) for delivery in deliveries]

        return self._driver.transact(work)

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """How many bytes of each journal are in here."""
        with self._driver.read() as session:
            rows = session.rows("journal_offsets", journals=session.each(journals))
        return {row["id"]: row["offset"] for row in rows}

    # Liveness

    def live_runs(self) -> list[LiveRun]:
        """Runs in an active state, and those taken for lost."""
        found: dict[str, LiveRun] = {}
        with self._driver.read() as session:
            for row in session.rows("active_runs"):
                seen = session.moment(row["seen_at"] or row["updated_at"])
                run = found.setdefault(
                    row["id"],
                    LiveRun(
                        id=row["id"],
                        folder=row["folder"],
                        lost=row["lost_at"] is not None,
                        seen=cast("datetime", seen).timestamp(),
                        processes=[],
                    ),
                )
                if row["host"] is not None:
                    started, boot = row["process_started"], row["boot"]
                    run.processes.append(Process(row["host"], row["pid"], started, boot))
        return list(found.values())

    def mark_lost(self, run: str, seen: float, reason: str) -> None:
        """No sign of life since `seen`."""
        with self._driver.write() as session:
            runs.mark_lost(session, run, seen, reason)

    def mark_alive(self, run: str, seen: float) -> None:
        """It lives after all."""
        with self._driver.write() as session:
            runs.mark_alive(session, run, seen)

    # Experiments and runs

    def experiments(self) -> list[Experiment]:
        """All experiments, newest first."""
        with self._driver.read() as session:
            return experiments.listing(session)

    def find_run(self, run: str, experiment: str | None = None) -> str:
        """The id of the run with this id, unique prefix, or name."""
        with self._driver.read() as session:
            return runs.find(session, run, experiment)

    def runs(
        self,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        experiment: str | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Run]:
        """Runs that satisfy a filter, with everything known of each; five queries in all."""
        text, values = _RUNS, dict[str, Any]()
        if ids is not None:
            text += " and r.id = any(:ids)"
        if where or order_by:
            from runbase.storage.sql.filters import Compiler  # a SQL parser: half of a quick start

            compiler = Compiler()
            text += f" and ({compiler.where(where)})" if where else ""
            order = compiler.order(order_by) + ", " if order_by else ""
            values |= compiler.values
        else:
            order = ""
        if experiment is not None:
            text += " and e.name = :experiment"
            values["experiment"] = experiment
        text += f" order by {order}r.created_at desc, r.id desc"
        text += " limit :limit offset :offset"
        values |= {"limit": 2**62 if limit is None else limit, "offset": offset}
        with self._driver.read() as session:
            if ids is not None:
                values["ids"] = session.each(ids)
            if experiment is not None:
                _check_experiment(session, experiment)
            return _assemble(session, session.query(for_dialect(text, session.dialect), values))

    def artifacts(self, run: str) -> list[Artifact]:
        """A run's files."""
        with self._driver.read() as session:
            return runs.artifacts(session, run)

    def history(self, run: str) -> list[Change]:
        """A run's states."""
        with self._driver.read() as session:
            return runs.history(session, run)

    def records(self, run: str, key: str | None = None) -> list[dict[str, Any]]:
        """A run's records."""
        with self._driver.read() as session:
            return runs.records(session, run, key)

    # Points

    def series(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        every: bool = False,
        kind: str = "metric",
    ) -> Series:
        """The points of a metric, by step."""
        with self._driver.read() as session:
            return curves.series(session, run, key, start, end, every=every, kind=kind)

    def envelope(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> Envelope:
        """A metric in at most `resolution` buckets."""
        with self._driver.read() as session:
            return curves.envelope(session, run, key, start, end, resolution, kind)

    # SQL

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """The rows of any query."""
        return self._driver.sql(query, params, write, timeout)

    def schema(self) -> str:
        """The schema as it stands, with its comments."""
        with self._driver.read() as session:
            return "\n\n".join(schema.statements(session)) + "\n"

    def totals(self) -> dict[str, int]:
        """How much is in here."""
        counts = self.sql(
            "select (select count(*) from experiments) as experiments, "
            "(select count(*) from runs) as runs, "
            "(select cast(coalesce(sum(count), 0) as bigint) from series) as points"
        ).to_dicts()[0]
        with self._driver.read() as session:
            return {**counts, **dict(session.row("journal_totals"))}

    def check(self) -> list[str]:
        """What the database's own examination finds, and whether blocks and figures agree."""
        with self._driver.read() as session:
            return schema.faults(session)

    def close(self) -> None:
        """Let go of connections."""
        self._driver.close()


def _deliver(session: Session, delivery: Delivery) -> bool:
    first = delivery.events[0] if delivery.events else None
    if isinstance(first, Opened):
        runs.opened(session, first, delivery.folder)
        _insert_journal(session, first, delivery)
    taken = session.run(
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
    )


def _check_experiment(session: Session, name: str) -> None:
    known = [experiment.name for experiment in experiments.listing(session)]
    if name not in known:
        raise NotFound(f"there is no experiment {name!r}{suggestion(name, known)}")


def _assemble(session: Session, rows: list[Any]) -> list[Run]:
    ids = session.each([row["id"] for row in rows])
    found_params: dict[str, list[Any]] = {}
    for row in session.rows("params_of_runs", runs=ids):
        found_params.setdefault(row["run_id"], []).append(row)
    tags: dict[str, dict[str, str | None]] = {}
    for row in session.rows("tags_of_runs", runs=ids):
        tags.setdefault(row["run_id"], {})[row["key"]] = row["value"]
    metrics: dict[str, dict[str, Metric]] = {}
    for row in session.rows("series_of_runs", runs=ids):
        metrics.setdefault(row["run_id"], {})[row["key"]] = _metric(session, row)
    return [
        _run(
            session,
            row,
            runs.parameters(found_params.get(row["id"], [])),
            tags.get(row["id"], {}),
            metrics.get(row["id"], {}),
        )
        for row in rows
    ]


def _run(
    session: Session,
    row: Any,
    params: dict[str, Any],
    tags: dict[str, str | None],
    metrics: dict[str, Metric],
) -> Run:
    moments = {
        name: cast("Any", session.moment(row[name]))
        for name in ("created_at", "started_at", "ended_at", "updated_at", "seen_at")
    }
    documents = {name: session.document(row[name]) for name in ("git", "args", "env", "system")}
    return Run(
        id=row["id"],
        experiment=row["experiment_name"],
        experiment_id=row["experiment_id"],
        number=row["number"],
        name=row["name"],
        status=Status(row["status"]),
        parent_id=row["parent_id"],
        user=row["username"],
        host=row["host"],
        pid=row["pid"],
        folder=row["folder"],
        notes=row["notes"],
        params=params,
        tags=tags,
        metrics=metrics,
        error=session.document(row["error"]),
        exit_code=row["exit_code"],
        **moments,
        **documents,
    )


def _metric(session: Session, row: Any) -> Metric:
    count, nans = row["count"], row["nans"]
    last_time = row["last_time"]
    mean = row["sum"] / (count - nans) if row["sum"] is not None and count > nans else None
    # A NaN that was logged last is NULL in the table, as a metric without points is.
    first, last = (math.nan if row[n] is None and count else row[n] for n in ("first", "last"))
    return Metric(
        key=row["key"],
        type=row["type"],
        count=count,
        nans=nans,
        first=first,
        first_step=row["first_step"],
        last=last,
        last_step=row["last_step"],
        last_time=None if last_time is None else session.moment(session.time(last_time)),
        min=row["min"],
        min_step=row["min_step"],
        max=row["max"],
        max_step=row["max_step"],
        mean=mean,
    )
