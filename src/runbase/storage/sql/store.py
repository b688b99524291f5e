"""The storage: one class over a driver, for every dialect. Holds the dispatch, not the SQL."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from runbase.errors import StoreError, UsageError
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
from runbase.storage.records import (
    Delivery,
    Kind,
    LiveRun,
    Page,
    Query,
    Rows,
    Scanned,
    Script,
    Step,
)
from runbase.storage.sql import (
    apply,
    artifacts,
    curves,
    edits,
    experiments,
    listing,
    lives,
    runs,
    scans,
    schema,
    search,
    subjects,
    transfer,
    trash,
)
from runbase.storage.sql import setup as user
from runbase.storage.sql.comments import described
from runbase.storage.sql.driver import Driver
from runbase.storage.sql.migrate import migrate, migrations, pending
from runbase.storage.sql.session import Session
from runbase.storage.sql.transfer import RunDump
from runbase.storage.sql.trialstore import TrialStore

_NOT_DELETED = {"run": "r.deleted_at is null", "experiment": "e.deleted_at is null"}
_DELETED = {"run": "r.deleted_at is not null", "experiment": "e.deleted_at is not null"}
_EVERYTHING = Query()
_OWN_FOR = 5.0
"""Seconds for which the columns that users added are taken to be the same."""


class SqlStorage(TrialStore):
    """Keeps the promises of `runbase.storage.protocol.Storage` over a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._lanes = []
        self.url = driver.url
        self.dialect = driver.dialect
        self._own: dict[str, list[Any]] = {}
        self._own_until = 0.0
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
        return self._driver.transact(lambda session: apply.deliver(session, deliveries), bulk=True)

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """How many bytes of each journal are in here."""
        with self._driver.read() as session:
            rows = session.rows("journal_offsets", journals=session.each(journals))
        return {row["id"]: row["offset"] for row in rows}

    # Liveness

    def live_runs(self) -> list[LiveRun]:
        """Runs in an active state, and those taken for lost."""
        with self._driver.read() as session:
            return lives.live_runs(session)

    def beat(self, runs: Sequence[str]) -> None:
        """They live."""
        self._driver.transact(lambda session: lives.beat(session, runs))

    def mark_lost(self, run: str, seen: float, reason: str) -> None:
        """No sign of life since `seen`."""
        self._driver.transact(lambda session: lives.mark_lost(session, run, seen, reason))

    def mark_alive(self, run: str, seen: float) -> None:
        """It lives after all."""
        self._driver.transact(lambda session: lives.mark_alive(session, run, seen))

    # Experiments

    def experiments(self, query: Query = _EVERYTHING) -> Page[Experiment]:
        """Experiments that satisfy a query."""
        with self._driver.read() as session:
            own = self._own_columns(session, "experiments", "e")
            found = search.search(session, subjects.EXPERIMENTS, _only(query, "experiment"), own)
            return Page(listing.experiments_of(session, found.ids, list(own)), found.cursor)

    def find_experiment(self, word: str, *, deleted: bool = False) -> str:
        """The id of an experiment by name (the newest), id, or unique beginning of an id."""
        with self._driver.read() as session:
            return experiments.find(session, word, deleted=deleted)

    def get_experiments(self, ids: Sequence[str]) -> list[Experiment]:
        """Experiments by id, in this order; unknown ones are left out."""
        with self._driver.read() as session:
            own = self._own_columns(session, "experiments", "e")
            return listing.experiments_of(session, ids, list(own))

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
            found = search.search(session, subjects.RUNS, _only(query, "run"), own)
            return Page(listing.runs_of(session, found.ids, list(own)), found.cursor)

    def count_runs(self, query: Query) -> int:
        """How many runs satisfy a query's filter."""
        with self._driver.read() as session:
            own = self._own_columns(session, "runs", "r")
            return search.count(session, subjects.RUNS, _only(query, "run"), own)

    def get_runs(self, ids: Sequence[str]) -> list[Run]:
        """Runs by id, in this order; unknown ones are left out."""
        with self._driver.read() as session:
            return listing.runs_of(session, ids, list(self._own_columns(session, "runs", "r")))

    # Scanned folders

    def scans(self, root: str) -> dict[str, Scanned]:
        """What is known of folders at or below a root, by path."""
        with self._driver.read() as session:
            return scans.below(session, root)

    def put_scans(self, found: Sequence[Scanned]) -> int:
        """Folders as they were read; how many of their runs had been missing."""
        return self._driver.transact(lambda session: scans.put(session, found))

    def folders_gone(self, missing: Sequence[Scanned]) -> int:
        """Folders that are not there any more; how many runs have none left, and are marked."""
        return self._driver.transact(lambda session: scans.gone(session, missing))

    def whole_run(self, run: str) -> Run | None:
        """A run with its files, states, links and uses; None where there is none of this id."""
        with self._driver.read() as session:
            found = listing.runs_of(session, [run], list(self._own_columns(session, "runs", "r")))
            return (
                msgspec.structs.replace(
                    found[0],
                    artifacts=artifacts.listing(session, run),
                    history=runs.history(session, run),
                    links=listing.links(session, "links_of_run", run),
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
            for run, fields in changes.items():
                edits.set_run(session, run, fields, own)

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
            return listing.links(session, statement, key)

    # The bin

    def delete(self, kind: Kind, ids: Sequence[str], *, back: bool = False) -> int:
        """Into the bin, or `back` out of it; how many there were."""
        return self._driver.transact(lambda session: trash.put(session, kind, ids, back=back))

    def purge(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """For good, with all below; the folders that held the runs' files."""
        purge = trash.purge_runs if kind == "run" else trash.purge_experiments
        return self._driver.transact(lambda session: purge(session, ids))

    def purged(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs were deleted for good."""
        with self._driver.read() as session:
            return {row["id"] for row in session.rows("purged_of", ids=session.each(ids))}

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """The whole database in a file."""
        half = path.with_name(f".{path.name}.{os.getpid()}.backup")
        try:
            self._driver.backup(half, progress)
            with half.open("rb") as whole:
                os.fsync(whole.fileno())
            half.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write the backup {path}: {error.strerror}") from error
        finally:
            half.unlink(missing_ok=True)

    def in_the_bin(self, before: float) -> tuple[list[str], list[str]]:
        """Ids of runs, and of experiments, that were deleted before a moment."""
        with self._driver.read() as session:
            return trash.old(session, before)

    def folders(self, ids: Sequence[str]) -> list[str]:
        """The folders that only these runs have files in."""
        with self._driver.read() as session:
            rows = session.rows("folders_of_runs", ids=session.each(ids))
        return [row["folder"] for row in rows]

    def uploads(self, ids: Sequence[str]) -> list[str]:
        """What these runs uploaded and nobody else refers to: URLs."""
        with self._driver.read() as session:
            return [row["uri"] for row in session.rows("uploads_of_runs", ids=session.each(ids))]

    def below(self, experiments_: Sequence[str]) -> list[str]:
        """The ids of the runs of experiments, the deleted ones too."""
        with self._driver.read() as session:
            rows = session.rows("runs_of_experiments", ids=session.each(experiments_))
        return [row["id"] for row in rows]

    def figures_of_experiments(
        self, ids: Sequence[str]
    ) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """The least and greatest last value of each metric over each experiment's runs."""
        found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
        with self._driver.read() as session:
            for row in session.rows("figures_of_experiments", ids=session.each(ids)):
                found.setdefault(row["experiment_id"], {})[row["key"]] = (row["low"], row["high"])
        return found

    # Whole runs, out and in

    def dump(self, ids: Sequence[str]) -> list[RunDump]:
        """Runs as plain data, points and all."""
        with self._driver.read() as session:
            own = list(self._own_columns(session, "runs", "r"))
            return transfer.dump_runs(session, ids, own)

    def load_experiments(self, records: Sequence[Experiment], *, by_name: bool) -> dict[str, str]:
        """Experiments from elsewhere; by the id that each had, the one that it has here."""

        def work(session: Session) -> dict[str, str]:
            own = list(self._own_columns(session, "experiments", "e"))
            placed = [
                (record, *transfer.load_experiment(session, record, own, by_name=by_name))
                for record in sorted(records, key=lambda record: record.created_at)
            ]
            for record, here, new in placed:
                if new and record.parent_id is not None:
                    transfer.load_descent(session, here, record.parent_id)
            return {record.id: here for record, here, _ in placed}

        return self._driver.transact(work)

    def dump_around(self, experiments_: Sequence[str]) -> transfer.Around:
        """What belongs to experiments beside their records, as plain data."""
        with self._driver.read() as session:
            return transfer.dump_around(session, experiments_)

    def load_around(self, around: transfer.Around, places: Mapping[str, str]) -> None:
        """It put in; what is here already stays."""
        self._driver.transact(lambda session: transfer.load_around(session, around, places))

    def load(self, dumps: Sequence[RunDump], places: Mapping[str, str]) -> tuple[int, int]:
        """Runs from elsewhere, into the experiments of `places`; how many are new, and how many had
        points that were not here.
        """

        def work(session: Session) -> tuple[int, int]:
            session.rows("lock_runs", runs=session.each(sorted(dump.id for dump in dumps)))
            own = list(self._own_columns(session, "runs", "r"))
            done = [transfer.load_run(session, d, places[d.experiment_id], own) for d in dumps]
            transfer.load_links(session, dumps)
            return sum(new for new, _ in done), sum(fuller for _, fuller in done)

        return self._driver.transact(work, bulk=True)

    def fork_runs(self, ids: Sequence[str], experiment: str) -> list[str]:
        """Copies of runs in another experiment, with ids of their own, linked to what they copy."""
        made: list[str] = []
        for run in ids:
            dump = self.dump([run])[0]
            dump.id = new_id()
            dump.links, dump.journals, dump.uses = [(dump.id, "fork", run)], [], []
            self.load([dump], {dump.experiment_id: experiment})
            made.append(dump.id)
        return made

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

    def points(
        self, runs: Sequence[str], keys: Sequence[str] | None, kind: str = "metric"
    ) -> dict[tuple[str, str], Series]:
        """All points of many metrics of many runs, in one query; by run and key."""
        with self._driver.read() as session:
            return curves.many(session, runs, keys, kind)

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
        return search.own_columns(self._own.get(table, []), _ours(self.dialect, table), alias)


@cache
def _ours(dialect: str, table: str) -> frozenset[str]:
    """The columns that the schema itself gives a table."""
    return frozenset(
        item.column
        for step in migrations(dialect)
        for item in described(step.text)
        if item.name == table and item.column
    )


def _only(query: Query, kind: Kind) -> search.Query:
    """A query with the conditions that its own fields stand for."""
    conditions = [(_DELETED if query.deleted else _NOT_DELETED)[kind]]
    values: dict[str, Any] = {}
    if query.experiment is not None:
        conditions.append(
            "r.experiment_id = :experiment" if kind == "run" else "e.id = :experiment"
        )
        values["experiment"] = query.experiment
    return search.Query(
        where=query.where,
        order_by=query.order_by,
        limit=query.limit,
        offset=query.offset,
        after=query.after,
        conditions=tuple(conditions),
        values=values,
    )
