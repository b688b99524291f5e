"""The storage: one class over a driver, for every dialect. Holds the dispatch, not the SQL."""

import time
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from runbase.errors import StoreUnavailable, UsageError
from runbase.events import Problem
from runbase.ids import name_for, new_id
from runbase.model import (
    Ancestor,
    Artifact,
    Change,
    Envelope,
    Experiment,
    Link,
    Run,
    Scalar,
    Series,
    Use,
)
from runbase.status import Status
from runbase.storage.sql import (
    apply,
    artifacts,
    attributes,
    edits,
    experiments,
    liveness,
    points_read,
    runs,
    schema,
)
from runbase.storage.sql import user_schema as user
from runbase.storage.sql.comments import described
from runbase.storage.sql.driver import Driver
from runbase.storage.sql.migrate import migrate, migrations, pending
from runbase.storage.sql.run_verbs import KeepStore
from runbase.storage.sql.search import fetch, fields, find
from runbase.storage.sql.session import Session
from runbase.storage.sql.trial_verbs import TrialStore
from runbase.storage.types import (
    Applied,
    Delivery,
    Kind,
    LiveRun,
    Page,
    Query,
    Rows,
    Script,
    Step,
)

_NOT_DELETED = {"run": "r.deleted_at is null", "experiment": "e.deleted_at is null"}
_DELETED = {"run": "r.deleted_at is not null", "experiment": "e.deleted_at is not null"}
_EVERYTHING = Query()
_OWN_FOR = 5.0
"""Seconds for which the columns that users added are taken to be the same."""


class SqlStorage(KeepStore, TrialStore):
    """Keeps the promises of `runbase.storage.protocol.Storage` over a driver."""

    def __init__(self, driver: Driver, *, create: bool = True) -> None:
        self._driver = driver
        self._lanes = []
        self.url = driver.url
        self.dialect = driver.dialect
        self._own: dict[str, list[Any]] = {}
        self._own_until = 0.0
        driver.prepare = migrate
        if not create and (driver.new() or self._is_empty()):
            driver.close()
            raise StoreUnavailable(f"no such store: {driver.url} has no tables of runbase")
        if driver.new() or self._behind():
            with driver.write():
                pass

    def _behind(self) -> bool:
        with self._driver.read() as session:
            return bool(pending(session))

    def _is_empty(self) -> bool:
        with self._driver.read() as session:
            return len(pending(session)) == len(migrations(self.dialect))

    # Observations

    def apply(self, deliveries: Sequence[Delivery]) -> list[Applied]:
        """Take in events, all deliveries in one transaction; what became of each.

        Where that fails because of what they say, they are applied once more in parts.
        """
        try:
            return self._driver.transact(
                lambda session: apply.deliver(session, deliveries), bulk=True
            )
        except Exception as error:
            apply.reraise_unless_refused(error)
        errors = self._driver.errors
        return self._driver.transact(
            lambda session: apply.Careful(session, errors).deliver(deliveries)
        )

    def problems(self, run: str | None = None, limit: int = 100) -> list[tuple[str, Problem]]:
        """What could not be stored, of a run or of all (the newest first): the run's id, and the problem."""
        with self._driver.read() as session:
            if run is None:
                rows = session.rows("newest_problems", limit=limit)
            else:
                rows = session.rows("problems_of_run", run=run)[:limit]
            return [
                (
                    row["run_id"],
                    Problem(row["file"], row["offset"], row["reason"], row["line"]),
                )
                for row in rows
            ]

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """How many bytes of each journal are in here."""
        with self._driver.look() as session:
            rows = session.rows("journal_offsets", journals=session.each(journals))
        return {row["id"]: row["offset"] for row in rows}

    # Liveness

    def live_runs(self) -> list[LiveRun]:
        """Runs in an active state, and those taken for lost."""
        with self._driver.read() as session:
            return liveness.live_runs(session)

    def beat(self, runs: Sequence[str]) -> None:
        """They live."""
        self._driver.transact(lambda session: liveness.beat(session, runs))

    def mark_lost(
        self, run: str, seen: float, reason: str, status: Status = Status.NODE_FAIL
    ) -> None:
        """No sign of life since `seen`."""
        self._driver.transact(
            lambda session: liveness.mark_lost(session, run, seen, reason, status)
        )

    def mark_alive(self, run: str, seen: float) -> None:
        """It lives after all."""
        self._driver.transact(lambda session: liveness.mark_alive(session, run, seen))

    # Experiments

    def experiments(self, query: Query = _EVERYTHING) -> Page[Experiment]:
        """Experiments that satisfy a query."""
        with self._driver.read() as session:
            own = self._own_columns(session, "experiments", "e")
            found = find.search(session, fields.EXPERIMENTS, _only(query, "experiment"), own)
            return Page(fetch.experiments_of(session, found.ids, list(own)), found.cursor)

    def find_experiment(self, word: str, *, deleted: bool = False) -> str:
        """The id of an experiment by name (the newest), id, or unique beginning of an id."""
        with self._driver.read() as session:
            return experiments.find(session, word, deleted=deleted)

    def get_experiments(self, ids: Sequence[str]) -> list[Experiment]:
        """Experiments by id, in this order; unknown ones are left out."""
        with self._driver.read() as session:
            own = self._own_columns(session, "experiments", "e")
            return fetch.experiments_of(session, ids, list(own))

    def create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """A new experiment's id."""

        def work(session: Session) -> str:
            own = self._own_columns(session, "experiments", "e")
            return edits.create_experiment(session, name, fields, list(own), id=experiment)

        return self._driver.transact(work)

    def get_or_create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """The newest experiment of a name; the rest is for one that has to be made."""

        def work(session: Session) -> str:
            session.rows("lock_name", name=name)
            row = session.row("experiment_by_name", name=name)
            own = self._own_columns(session, "experiments", "e")
            if row:
                return row["id"]
            return edits.create_experiment(session, name, fields, list(own), id=experiment)

        return self._driver.transact(work)

    def date_experiment(self, experiment: str, created: float, updated: float) -> None:
        """When it was created and last changed (seconds since the epoch), as the system says it comes from."""

        def work(session: Session) -> None:
            times = {"created": session.time(created), "updated": session.time(updated)}
            session.run("date_experiment", id=experiment, **times)

        self._driver.transact(work)

    def add_ancestor(self, experiment: str, ancestor: str, name: str) -> None:
        """It descends from an experiment that is not there any more."""
        self._driver.transact(
            lambda session: session.run(
                "add_ancestor", id=experiment, ancestor=ancestor, ancestor_name=name
            )
        )

    def lineage(self, experiment: str) -> tuple[list[Ancestor], list[Ancestor]]:
        """Where an experiment comes from, and what was forked from it, nearest first."""
        with self._driver.read() as session:
            above = experiments.ancestors(session, experiment)
            return above, experiments.descendants(session, experiment)

    # Runs

    def find_run(self, run: str, experiment: str | None = None, *, deleted: bool = False) -> str:
        """The id of the run with this id, unique prefix, or name."""
        with self._driver.read() as session:
            return runs.find(session, run, experiment, deleted=deleted)

    def runs(self, query: Query = _EVERYTHING) -> Page[Run]:
        """Runs that satisfy a query, with everything known of each."""
        with self._driver.read() as session:
            own = self._own_columns(session, "runs", "r")
            found = find.search(session, fields.RUNS, _only(query, "run"), own)
            return Page(fetch.runs_of(session, found.ids, list(own)), found.cursor)

    def count_runs(self, query: Query) -> int:
        """How many runs satisfy a query's filter."""
        with self._driver.read() as session:
            own = self._own_columns(session, "runs", "r")
            return find.count(session, fields.RUNS, _only(query, "run"), own)

    def get_runs(self, ids: Sequence[str]) -> list[Run]:
        """Runs by id, in this order; unknown ones are left out."""
        with self._driver.read() as session:
            return fetch.runs_of(session, ids, list(self._own_columns(session, "runs", "r")))

    def whole_run(self, run: str) -> Run | None:
        """A run with its files, states, links and uses; None where there is none of this id."""
        with self._driver.read() as session:
            found = fetch.runs_of(session, [run], list(self._own_columns(session, "runs", "r")))
            return (
                msgspec.structs.replace(
                    found[0],
                    artifacts=artifacts.listing(session, run),
                    history=runs.history(session, run),
                    attributes=attributes.of_run(session, run),
                    links=fetch.links(session, "links_of_run", run),
                    uses=artifacts.uses(session, run),
                )
                if found
                else None
            )

    def create_run(
        self, experiment: str, name: str | None, fields: Mapping[str, Any], run: str | None = None
    ) -> str:
        """A run that waits for its start; its id."""
        made = run or new_id()

        def work(session: Session) -> str:
            own = list(self._own_columns(session, "runs", "r"))
            runs.create(session, experiment, name or name_for(made), fields, made, own)
            rest = {
                key: value
                for key, value in fields.items()
                if key not in ("parent_id", "user", "notes")
            }
            if rest:
                edits.set_run(session, made, rest, own)
            return made

        return self._driver.transact(work)

    def artifacts(self, run: str) -> list[Artifact]:
        """A run's files."""
        with self._driver.read() as session:
            return artifacts.listing(session, run)

    def add_artifact_root(self, path: str) -> None:
        """A folder below which files of imported and scanned runs may be read."""
        self._driver.transact(
            lambda session: session.run(
                "add_artifact_root", path=path, time=session.time(time.time())
            )
        )

    def artifact_roots(self) -> list[str]:
        """Those folders."""
        with self._driver.read() as session:
            return [row["path"] for row in session.rows("artifact_roots")]

    def artifact_versions(self, name: str, experiment: str | None = None) -> list[Artifact]:
        """The versions of a name, oldest first."""
        with self._driver.read() as session:
            return artifacts.versions(session, name, experiment)

    def uses(self, run: str) -> list[Use]:
        """What a run used, and by whom its own artifacts were used."""
        with self._driver.read() as session:
            return artifacts.uses(session, run)

    def history(self, run: str) -> list[Change]:
        """A run's states."""
        with self._driver.read() as session:
            return runs.history(session, run)

    def records(self, run: str, key: str | None = None) -> list[dict[str, Any]]:
        """A run's records."""
        with self._driver.read() as session:
            return runs.records(session, run, key)

    # Changes

    def update(self, kind: Kind, key: str, changes: Mapping[str, Any]) -> None:
        """Set fields; tags, parameters, objectives and documents are replaced as a whole."""

        def work(session: Session) -> None:
            table, alias = ("runs", "r") if kind == "run" else ("experiments", "e")
            own = list(self._own_columns(session, table, alias))
            change = edits.set_run if kind == "run" else edits.set_experiment
            change(session, key, changes, own)

        self._driver.transact(work)

    def update_runs(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set fields of many runs."""

        def work(session: Session) -> None:
            own = list(self._own_columns(session, "runs", "r"))
            for run, values in changes.items():
                edits.set_run(session, run, values, own)

        if changes:
            self._driver.transact(work)

    def add(self, kind: Kind, key: str, more: Mapping[str, Mapping[str, Any]]) -> None:
        """Merge keys into tags, parameters and documents."""
        change = edits.add_to_run if kind == "run" else edits.add_to_experiment
        self._driver.transact(lambda session: change(session, key, more))

    def remove(self, kind: Kind, key: str, keys: Mapping[str, Sequence[str]]) -> None:
        """Take keys out of tags, parameters and documents."""
        change = edits.remove_from_run if kind == "run" else edits.remove_from_experiment
        self._driver.transact(lambda session: change(session, key, keys))

    def set_status(
        self, run: str, status: Status | str, reason: str | None, at: float | None
    ) -> None:
        """A new state of a run, as somebody reports it."""
        self._driver.transact(lambda session: edits.set_status(session, run, status, reason, at))

    def link(self, kind: Kind, from_id: str, name: str, to_id: str) -> None:
        """One run or experiment points to another."""
        if from_id == to_id:
            raise UsageError(f"a {kind} cannot link to itself")
        statement = "link_runs" if kind == "run" else "link_experiments"
        self._driver.transact(
            lambda session: session.run(statement, from_id=from_id, kind=name, to_id=to_id)
        )

    def unlink(self, kind: Kind, from_id: str, name: str | None, to_id: str) -> int:
        """It does so no more; how many links there were."""
        statement = "unlink_runs" if kind == "run" else "unlink_experiments"
        return self._driver.transact(
            lambda session: session.changed(statement, from_id=from_id, kind=name, to_id=to_id)
        )

    def links(self, kind: Kind, key: str) -> list[Link]:
        """What an object points to, and what points to it."""
        statement = "links_of_run" if kind == "run" else "links_of_experiment"
        with self._driver.read() as session:
            return fetch.links(session, statement, key)

    def figures_of_experiments(
        self, ids: Sequence[str]
    ) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """The least and greatest last value of each metric over each experiment's runs."""
        found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
        with self._driver.read() as session:
            for row in session.rows("figures_of_experiments", ids=session.each(ids)):
                found.setdefault(row["experiment_id"], {})[row["key"]] = (row["low"], row["high"])
        return found

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
            return points_read.series(session, run, key, start, end, every=every, kind=kind)

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
            return points_read.envelope(session, run, key, start, end, resolution, kind)

    def points(
        self, runs: Sequence[str], keys: Sequence[str] | None, kind: str = "metric"
    ) -> dict[tuple[str, str], Series]:
        """All points of many metrics of many runs, in one query; by run and key."""
        with self._driver.read() as session:
            return points_read.many(session, runs, keys, kind)

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

    def connect(self) -> Any:
        """A connection of the caller's own: sqlite3's or psycopg's."""
        return self._driver.connect()

    def schema(self) -> str:
        """The schema as it stands, with its comments."""
        with self._driver.read() as session:
            return "\n\n".join(schema.statements(session)) + "\n"

    def objects(self) -> list[dict[str, Any]]:
        """Each table and view: kind, name, comment, and its columns with type and comment."""
        with self._driver.read() as session:
            return schema.objects(session)

    def setup(self, scripts: Sequence[Script], *, dry_run: bool) -> list[Step]:
        """Apply users' scripts, each once, all or none."""
        try:
            return self._driver.transact(
                lambda session: user.apply_scripts(session, scripts, dry_run=dry_run)
            )
        except user.TakeBack as done:
            return done.steps
        finally:
            self._own_until = 0.0

    def ledger(self) -> list[dict[str, Any]]:
        """Every step of the schema."""
        with self._driver.read() as session:
            return user.ledger(session)

    def create_view(self, name: str, metrics: Sequence[str]) -> dict[str, str]:
        """A wide view of metrics: column → metric."""
        return self._driver.transact(lambda session: user.create_view(session, name, metrics))

    def views(self) -> dict[str, dict[str, str]]:
        """The wide views: name → column → metric."""
        with self._driver.read() as session:
            return user.views(session)

    def drop_view(self, name: str) -> None:
        """Drop a wide view."""
        self._driver.transact(lambda session: user.drop_view(session, name))

    def totals(self) -> dict[str, int]:
        """How much is in here."""
        with self._driver.read() as session:
            return dict(session.row("totals")) | dict(session.row("journal_totals"))

    def check(self) -> list[str]:
        """What the database's own examination finds, and whether blocks and figures agree."""
        with self._driver.read() as session:
            return schema.faults(session)

    def close(self) -> None:
        """Let go of connections."""
        try:
            for lane in self._lanes:
                lane.end()
        finally:
            self._driver.close()

    def _own_columns(self, session: Session, table: str, alias: str) -> dict[str, Any]:
        """Columns that users added to a table, as filters may name them."""
        if time.monotonic() > self._own_until:
            self._own = {}
            for row in session.rows("columns", schema=session.schema):
                self._own.setdefault(row["table_name"], []).append(row)
            self._own_until = time.monotonic() + _OWN_FOR
        return find.own_columns(self._own.get(table, []), _ours(self.dialect, table), alias)


@cache
def _ours(dialect: str, table: str) -> frozenset[str]:
    """The columns that the schema itself gives a table."""
    return frozenset(
        item.column
        for step in migrations(dialect)
        for item in described(step.text)
        if item.name == table and item.column
    )


def _only(query: Query, kind: Kind) -> find.Query:
    """A query with the conditions that its own fields stand for."""
    conditions = [(_DELETED if query.deleted else _NOT_DELETED)[kind]]
    values: dict[str, Any] = {}
    if query.experiment is not None:
        conditions.append(
            "r.experiment_id = :experiment" if kind == "run" else "e.id = :experiment"
        )
        values["experiment"] = query.experiment
    return find.Query(
        where=query.where,
        order_by=query.order_by,
        limit=query.limit,
        offset=query.offset,
        after=query.after,
        conditions=tuple(conditions),
        values=values,
    )
