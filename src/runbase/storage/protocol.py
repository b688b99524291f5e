"""What every storage backend promises.

**Records and points.** `apply` is the only way in for observations. It takes deliveries: events of
one run, in the order they were written, mostly a stretch of one journal. A delivery that names a
journal is taken in only if the journal's offset in the database is the one that the delivery
begins at; otherwise nothing of it is, and `apply` says so. All deliveries of a call, and their new
offsets, are in the database together or not at all. An event that cannot be stored (a number out of
range, a text past the database's limits) keeps nothing else out: it is listed as a problem. Applying the same journal in pieces of any
size, by any number of processes, ends with the same rows.

**State.** A run's status is the latest that the run itself reported, except that a run in an
active state can be *taken for lost* (NODE_FAIL) and found again; what the run reports always wins.

**Threads and processes.** A backend may be used from any thread. It is not handed across a fork: a
child that uses it gets connections of its own. Readers never wait for writers. Writers wait for
each other, at most `timeout` seconds, and then raise StoreBusy.

**Reading.** What is returned is plain data that later writes do not change. Whatever is unknown
raises NotFound; a damaged or unreachable database raises a StoreError; no driver's own exception
gets out.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from runbase.events import Problem
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
from runbase.storage.trial_protocol import TrialStorage
from runbase.storage.types import (
    Applied,
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


class Storage(TrialStorage, Protocol):
    """A database of runs; see the module's text for what it promises."""

    url: str
    dialect: str

    # Observations
    def apply(self, deliveries: Sequence[Delivery]) -> list[Applied]:
        """Take in events; says of each delivery whether it was this call that took it in.

        An event that cannot be stored is listed as a problem of its run; all others come in.
        """
        ...

    def problems(self, run: str | None = None, limit: int = 100) -> list[tuple[str, Problem]]:
        """What could not be stored, of a run or of all (the newest first): the run's id, and the problem."""
        ...

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """How many bytes of each journal are in here; unknown journals are left out."""
        ...

    # Scanned folders
    def scans(self, root: str) -> dict[str, Scanned]:
        """What is known of folders at or below a root, by path."""
        ...

    def put_scans(self, found: Sequence[Scanned]) -> int:
        """Folders as they were read; how many of their runs had been missing."""
        ...

    def mark_missing(self, missing: Sequence[Scanned]) -> int:
        """Folders that are not there any more; how many runs have none left, and are marked."""
        ...

    # Liveness
    def live_runs(self) -> list[LiveRun]:
        """Runs in an active state, and those taken for lost."""
        ...

    def heartbeat(self, alive: Sequence[str]) -> None:
        """They live: a sign of it by the database's clock; those that were taken for lost are found again."""
        ...

    def mark_lost(
        self, run: str, seen_at: float, reason: str, status: Status = Status.NODE_FAIL
    ) -> None:
        """No sign of life since `seen_at`: it gets this status, if it is still in an active state."""
        ...

    def mark_alive(self, run: str, seen_at: float) -> None:
        """It lives after all: back to what it reported last."""
        ...

    # Experiments
    def experiments(self, query: Query = ...) -> Page[Experiment]:
        """Experiments that satisfy a query, newest first unless ordered."""
        ...

    def find_experiment(self, word: str, *, deleted: bool = False) -> str:
        """The id of an experiment by name (the newest), id, or unique beginning of an id."""
        ...

    def get_experiments(self, ids: Sequence[str]) -> list[Experiment]:
        """Experiments by id, in this order; unknown ones are left out."""
        ...

    def create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """A new experiment's id; several may have one name."""
        ...

    def get_or_create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """The newest experiment of a name; the rest is for one that has to be made."""
        ...

    def date_experiment(self, experiment: str, created: float, updated: float) -> None:
        """When it was created and last changed (seconds since the epoch), as the system says it comes from."""
        ...

    def add_ancestor(self, experiment: str, ancestor: str, name: str) -> None:
        """It descends from an experiment that is not there any more."""
        ...

    def lineage(self, experiment: str) -> tuple[list[Ancestor], list[Ancestor]]:
        """Where an experiment comes from, and what was forked from it, nearest first."""
        ...

    # Runs
    def find_run(self, word: str, experiment: str | None = None, *, deleted: bool = False) -> str:
        """The id of the run with this id, unique prefix, or name (the newest of that name)."""
        ...

    def runs(self, query: Query = ...) -> Page[Run]:
        """Runs that satisfy a query, newest first unless ordered."""
        ...

    def count_runs(self, query: Query) -> int:
        """How many runs satisfy a query's filter."""
        ...

    def whole_run(self, run: str) -> Run | None:
        """A run with its files, states, links and uses; None where there is none of this id."""
        ...

    def get_runs(self, ids: Sequence[str]) -> list[Run]:
        """Runs by id, in this order; unknown ones are left out."""
        ...

    def create_run(
        self, experiment: str, name: str | None, fields: Mapping[str, Any], run: str | None = None
    ) -> str:
        """A run that waits for its start; its id."""
        ...

    def artifacts(self, run: str) -> list[Artifact]:
        """A run's files, by path."""
        ...

    def add_artifact_root(self, path: str) -> None:
        """A folder below which files of imported and scanned runs may be read."""
        ...

    def artifact_roots(self) -> list[str]:
        """Those folders."""
        ...

    def artifact_versions(self, name: str, experiment: str | None = None) -> list[Artifact]:
        """The versions of a name, oldest first."""
        ...

    def uses(self, run: str) -> list[Use]:
        """What a run used, and by whom its own artifacts were used."""
        ...

    def history(self, run: str) -> list[Change]:
        """A run's states, oldest first."""
        ...

    def records(self, run: str, key: str | None = None) -> list[dict[str, Any]]:
        """A run's records (text, tables, images …) by key and step."""
        ...

    # Changes of runs and experiments
    def update(self, kind: Kind, key: str, changes: Mapping[str, Any]) -> None:
        """Set fields, to empty too; tags, parameters, objectives and documents are replaced."""
        ...

    def update_runs(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set fields of many runs, by id, in one transaction."""
        ...

    def add(self, kind: Kind, key: str, more: Mapping[str, Mapping[str, Any]]) -> None:
        """Merge keys into tags, parameters and documents; two who do so at once both count."""
        ...

    def remove(self, kind: Kind, key: str, keys: Mapping[str, Sequence[str]]) -> None:
        """Take keys out of tags, parameters and documents."""
        ...

    def set_status(
        self, run: str, status: Status | str, reason: str | None, at: float | None
    ) -> None:
        """A new state of a run, as somebody reports it."""
        ...

    def link(self, kind: Kind, from_id: str, name: str, to_id: str) -> None:
        """One run or experiment points to another; the same link twice is one."""
        ...

    def unlink(self, kind: Kind, from_id: str, name: str | None, to_id: str) -> int:
        """It does so no more; how many links there were."""
        ...

    def links(self, kind: Kind, key: str) -> list[Link]:
        """What an object points to, and what points to it."""
        ...

    # The bin
    def delete(self, kind: Kind, ids: Sequence[str], *, back: bool = False) -> int:
        """Into the bin, or `back` out of it; how many there were."""
        ...

    def purge(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """For good, with all below; the folders that held the runs' files. Journals of a purged
        run that are met later are not taken in."""
        ...

    def purged(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs were deleted for good, and are not to come back."""
        ...

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """The whole database as it is at one moment, in a file: SQLite's as SQLite, PostgreSQL's as `pg_dump` writes it.

        Nobody waits for it. The file is there when it is whole, and never before.
        """
        ...

    def deleted_before(self, before: float) -> tuple[list[str], list[str]]:
        """Ids of runs, and of experiments, that were deleted before a moment."""
        ...

    def folders(self, ids: Sequence[str]) -> list[str]:
        """The folders that only these runs have files in."""
        ...

    def uploads(self, ids: Sequence[str]) -> list[str]:
        """What these runs uploaded and nobody else refers to: URLs."""
        ...

    def runs_of_experiments(self, experiments: Sequence[str]) -> list[str]:
        """The ids of the runs of experiments, the deleted ones too."""
        ...

    def figures_of_experiments(
        self, ids: Sequence[str]
    ) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """The least and greatest last value of each metric over each experiment's runs."""
        ...

    # Whole runs, out and in
    def dump(self, ids: Sequence[str]) -> list[Any]:
        """Runs as plain data, points and all, for `load`."""
        ...

    def load_experiments(self, records: Sequence[Experiment], *, by_name: bool) -> dict[str, str]:
        """Experiments from elsewhere; by the id that each had, the one that it has here."""
        ...

    def dump_related(self, experiments: Sequence[str]) -> Any:
        """Links of experiments, and what tools keep about them, as plain data."""
        ...

    def load_related(self, around: Any, places: Mapping[str, str]) -> None:
        """They put in, by the ids that the experiments have here; what is here already stays."""
        ...

    def load(self, dumps: Sequence[Any], places: Mapping[str, str]) -> tuple[int, int]:
        """Runs from elsewhere, completed where they are here already; how many are new, and how many
        had points that were not here."""
        ...

    def fork_runs(self, ids: Sequence[str], experiment: str) -> list[str]:
        """Copies of runs in another experiment, with ids of their own, linked to what they copy."""
        ...

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
        ...

    def envelope(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> Envelope:
        """A metric in at most about `resolution` buckets."""
        ...

    def points(
        self, runs: Sequence[str], keys: Sequence[str] | None, kind: str = "metric"
    ) -> dict[tuple[str, str], Series]:
        """All points of many metrics (of all, where none are named) of many runs; by run and key."""
        ...

    # SQL
    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """The rows of any query; refuses to write unless told to."""
        ...

    def connect(self) -> Any:
        """A connection of the caller's own: sqlite3's or psycopg's."""
        ...

    def schema(self) -> str:
        """The schema as it stands, as SQL text with its comments."""
        ...

    def objects(self) -> list[dict[str, Any]]:
        """Each table and view: kind, name, comment, and its columns with type and comment."""
        ...

    def setup(self, scripts: Sequence[Script], *, dry_run: bool) -> list[Step]:
        """Apply users' scripts, each once, all or none; `dry_run` takes everything back."""
        ...

    def ledger(self) -> list[dict[str, Any]]:
        """Every step of the schema: name, owner, sha256, applied."""
        ...

    def create_view(self, name: str, metrics: Sequence[str]) -> dict[str, str]:
        """A wide view of metrics: column → metric."""
        ...

    def views(self) -> dict[str, dict[str, str]]:
        """The wide views: name → column → metric."""
        ...

    def drop_view(self, name: str) -> None:
        """Drop a wide view."""
        ...

    def totals(self) -> dict[str, int]:
        """How many experiments, runs, points, journals, lines and damaged lines are in here."""
        ...

    def check(self) -> list[str]:
        """What is wrong with the database; empty when it is sound."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
