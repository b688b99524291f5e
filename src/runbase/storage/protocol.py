"""The interface and the guarantees of every storage backend.

**Records and points.** `apply` is the only way to store observations. It accepts deliveries: events of one run in the order
they were written, usually a part of one journal. A delivery that names a journal is stored only if the journal's offset in
the database equals the offset at which the delivery begins; otherwise nothing of it is stored, and the result reports this.
All deliveries of a call and their new offsets are stored together or not at all. An event that cannot be stored (a number
out of range, a text that exceeds the database's limits) does not prevent others from being stored: it is listed as a
problem. Applying the same journal in pieces of any size, by any number of processes, results in the same rows.

**State.** A run's status is the latest that the run itself reported, except that a run in an active state can be marked as
lost (NODE_FAIL) and as alive again. What the run reports always takes precedence.

**Threads and processes.** A backend may be used from any thread. After a fork, the child opens connections of its own.
Readers never wait for writers. Writers wait for each other, at most `timeout` seconds, and then raise StoreBusy.

**Reading.** Results are plain data that later writes do not change. An unknown run or experiment raises NotFound; a damaged
or unreachable database raises a StoreError; exceptions of drivers are never raised.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from runbase.events import Problem
from runbase.model import (
    Ancestor,
    Artifact,
    Change,
    Experiment,
    Link,
    Run,
    Use,
)
from runbase.status import Status
from runbase.storage.alert_protocol import AlertReading, AlertStorage
from runbase.storage.archive_protocol import ArchiveStorage
from runbase.storage.points_protocol import Points
from runbase.storage.server_protocol import ServerStorage
from runbase.storage.trial_protocol import TrialStorage
from runbase.storage.types import (
    Applied,
    Changes,
    Delivery,
    Kind,
    LiveRun,
    Page,
    Query,
    Rows,
    Scanned,
    Script,
    Sizes,
    Step,
    TablePage,
)
from runbase.storage.users_protocol import UserStorage


class Observations(Protocol):
    """Store events, and track how far journals and folders have been read."""

    def apply(self, deliveries: Sequence[Delivery]) -> list[Applied]:
        """Store events.

        Returns:
            For each delivery, whether this call stored it, and which of its events could not be stored.
        """
        ...

    def problems(self, run: str | None = None, limit: int = 100) -> list[tuple[str, Problem]]:
        """Return what could not be stored, of a run or of all (the newest first): run id and problem."""
        ...

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """Return how many bytes of each journal have been ingested; unknown journals are left out."""
        ...

    def sizes(self, most: int) -> Sizes:
        """Return the bytes of tables, and of the experiments and runs with the most bytes."""
        ...

    def totals(self) -> dict[str, int]:
        """Count experiments, runs, points, journals, lines and damaged lines."""
        ...

    def synced_folders(self) -> dict[str, int]:
        """Return run folders whose journals are all closed and ingested: path below the home → time of change (ns)."""
        ...

    def put_synced_folders(self, folders: Mapping[str, int], packed: Collection[str] = ()) -> None:
        """Record folders whose journals are all closed and ingested, and which of them have packed ones only."""

    def plain_folders(self, before: float, most: int) -> list[str]:
        """Return such folders with plain journals that have not changed since a time (seconds since the epoch)."""
        ...

    def scans(self, root: str) -> dict[str, Scanned]:
        """Return scanned folders at or below a root, by path."""
        ...

    def put_scans(self, found: Sequence[Scanned]) -> int:
        """Record folders as they were read; returns how many of their runs had been missing."""
        ...

    def mark_missing(self, missing: Sequence[Scanned]) -> int:
        """Record that folders were removed; returns how many runs have no folder left and were marked."""
        ...


class Liveness(Protocol):
    """Which runs are alive."""

    def live_runs(self) -> list[LiveRun]:
        """Return the runs in an active state, and those that are marked as lost."""
        ...

    def heartbeat(self, alive: Sequence[str]) -> None:
        """Record a heartbeat of runs, using the database clock; lost runs are marked as alive."""
        ...

    def mark_lost(
        self, run: str, seen_at: float, reason: str, status: Status = Status.NODE_FAIL
    ) -> None:
        """Give a run this status since `seen_at`, if it is still in an active state."""
        ...

    def mark_alive(self, run: str, seen_at: float) -> None:
        """Return a lost run to the status that it reported last."""
        ...


class Experiments(Protocol):
    """Experiments and their lineage."""

    def experiments(self, query: Query = ...) -> Page[Experiment]:
        """Return the experiments that match a query, newest first unless ordered."""
        ...

    def find_experiment(self, word: str, *, deleted: bool = False) -> str:
        """Return the id of an experiment by name (the newest), id, or unique prefix of an id."""
        ...

    def get_experiments(self, ids: Sequence[str]) -> list[Experiment]:
        """Return experiments by id, in this order; unknown ids are left out."""
        ...

    def create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """Create an experiment and return its id. Several experiments may have the same name."""
        ...

    def get_or_create_experiment(
        self, name: str, fields: Mapping[str, Any], experiment: str | None = None
    ) -> str:
        """Return the id of the newest experiment of a name; create one from the other arguments if none exists."""
        ...

    def date_experiment(self, experiment: str, created: float, updated: float) -> None:
        """Set when an experiment was created and last changed (seconds since the epoch): imports keep the source's times."""
        ...

    def add_ancestor(self, experiment: str, ancestor: str, name: str) -> None:
        """Record that an experiment descends from one that is not in the database."""
        ...

    def lineage(self, experiment: str) -> tuple[list[Ancestor], list[Ancestor]]:
        """Return the ancestors of an experiment and its descendants, nearest first."""
        ...

    def figures_of_experiments(
        self, ids: Sequence[str]
    ) -> dict[str, dict[str, tuple[float | None, float | None]]]:
        """Return the least and greatest last value of each metric over each experiment's runs."""
        ...


class Runs(Protocol):
    """Runs and what belongs to them."""

    def runs(self, query: Query = ...) -> Page[Run]:
        """Return the runs that match a query, newest first unless ordered."""
        ...

    def table(self, query: Query, columns: Sequence[str] | None = None) -> TablePage:
        """Return columns of the runs that match a query, by name as in filters; all columns without names."""
        ...

    def count_runs(self, query: Query) -> int:
        """Count the runs that match a query's filter."""
        ...

    def unknown_keys(self, query: Query, columns: Sequence[str] = ()) -> list[str]:
        """Return a message for each parameter, metric and tag of a query, or of columns, that no run has."""
        ...

    def find_run(self, word: str, experiment: str | None = None, *, deleted: bool = False) -> str:
        """Return the id of the run with this id, unique prefix, or name (the newest of that name)."""
        ...

    def get_runs(self, ids: Sequence[str]) -> list[Run]:
        """Return runs by id, in this order; unknown ids are left out."""
        ...

    def whole_run(self, run: str) -> Run | None:
        """Return a run with its artifacts, states, attributes, links and uses; None if the id is unknown."""
        ...

    def create_run(
        self, experiment: str, name: str | None, fields: Mapping[str, Any], run: str | None = None
    ) -> str:
        """Create a run that waits for its start; returns its id."""
        ...

    def history(self, run: str) -> list[Change]:
        """Return a run's states, oldest first."""
        ...

    def records(self, run: str, key: str | None = None) -> list[dict[str, Any]]:
        """Return a run's media (text, tables, images, …) by key and step."""
        ...


class Artifacts(Protocol):
    """Files of runs."""

    def artifacts(self, run: str) -> list[Artifact]:
        """Return a run's artifacts, by path."""
        ...

    def artifact_versions(self, name: str, experiment: str | None = None) -> list[Artifact]:
        """Return the versions of a name, oldest first."""
        ...

    def uses(self, run: str) -> list[Use]:
        """Return which artifacts a run used, and which runs used its own."""
        ...

    def artifact_roots(self) -> list[str]:
        """Return the folders below which files of imported and scanned runs may be read."""
        ...

    def add_artifact_root(self, path: str) -> None:
        """Allow files of imported and scanned runs to be read below a folder."""
        ...


class Edits(Protocol):
    """Changes of runs and experiments that users and programs request."""

    def update(self, kind: Kind, key: str, changes: Mapping[str, Any]) -> None:
        """Set fields; tags, parameters, objectives and documents are replaced as a whole."""
        ...

    def update_runs(self, changes: Mapping[str, Mapping[str, Any]]) -> None:
        """Set fields of many runs, by id, in one transaction."""
        ...

    def add(self, kind: Kind, key: str, more: Mapping[str, Mapping[str, Any]]) -> None:
        """Merge keys into tags, parameters and documents; concurrent merges are all applied."""
        ...

    def remove(self, kind: Kind, key: str, keys: Mapping[str, Sequence[str]]) -> None:
        """Remove keys from tags, parameters and documents."""
        ...

    def tag_runs(
        self, runs: Sequence[str], tags: Mapping[str, str | None], remove: Sequence[str] = ()
    ) -> int:
        """Set tags of many runs, by id, and remove others; returns how many of the runs exist."""
        ...

    def set_status(
        self, run: str, status: Status | str, reason: str | None, at: float | None
    ) -> None:
        """Report a new status of a run."""
        ...

    def link(self, kind: Kind, from_id: str, name: str, to_id: str) -> None:
        """Link one run or experiment to another; a repeated call has no effect."""
        ...

    def unlink(self, kind: Kind, from_id: str, name: str | None, to_id: str) -> int:
        """Remove links; returns how many were removed."""
        ...

    def links(self, kind: Kind, key: str) -> list[Link]:
        """Return the links that begin or end at a run or an experiment."""
        ...


class Trash(Protocol):
    """Deletion in two steps, and the files that belong only to deleted runs."""

    def delete(self, kind: Kind, ids: Sequence[str], *, back: bool = False) -> int:
        """Move to the trash, or `back` out of it; returns how many were moved."""
        ...

    def purge(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """Delete permanently, with all that belongs to it; returns the folders that contained the runs' files.

        Journals of a purged run that are found later are not ingested.
        """
        ...

    def purged(self, ids: Sequence[str]) -> set[str]:
        """Return which of these runs were deleted permanently."""
        ...

    def deleted_before(self, before: float) -> tuple[list[str], list[str]]:
        """Return the ids of runs and of experiments that were deleted before a time."""
        ...

    def folders(self, ids: Sequence[str]) -> list[str]:
        """Return the folders that only these runs have files in."""
        ...

    def uploads(self, ids: Sequence[str]) -> list[str]:
        """Return the URLs of files that these runs uploaded and no other run refers to."""
        ...

    def runs_of_experiments(self, experiments: Sequence[str]) -> list[str]:
        """Return the ids of the runs of experiments, deleted ones included."""
        ...


class ChangeFeed(Protocol):
    """What changed."""

    def changes(self, cursor: str | None = None) -> Changes:
        """Return the runs and experiments that changed since a cursor, and the new cursor."""
        ...

    def await_change(self, timeout: float) -> None:
        """Return after the next change in the database, or after `timeout` seconds; it may return early."""


class Copies(Protocol):
    """Export and import of whole runs and databases."""

    def dump(self, ids: Sequence[str]) -> list[Any]:
        """Return runs as plain data, with all points, for `load`."""
        ...

    def dump_related(self, experiments: Sequence[str]) -> Any:
        """Return the links and attributes of experiments as plain data, for `load_related`."""
        ...

    def load_experiments(self, records: Sequence[Experiment], *, by_name: bool) -> dict[str, str]:
        """Store experiments of another database; returns their ids there → their ids here."""
        ...

    def load_related(self, around: Any, places: Mapping[str, str]) -> None:
        """Store links and attributes, by the ids that the experiments have here; existing ones are kept."""
        ...

    def load(self, dumps: Sequence[Any], places: Mapping[str, str]) -> tuple[int, int]:
        """Store runs of another database, and complete those that exist here.

        Returns:
            How many are new, and how many had points that were not here.
        """
        ...

    def fork_runs(self, ids: Sequence[str], experiment: str) -> list[str]:
        """Copy runs into another experiment, each with an id of its own and a link to the original."""
        ...

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the state of the database at one moment to a file, in SQLite's format or that of `pg_dump`.

        Other readers and writers do not wait for it. The file appears when it is complete.
        """
        ...


class Schema(Protocol):
    """SQL, and the schema."""

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """Run any query; refuses to write unless `write` is true."""
        ...

    def first_rows(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        most: int,
        timeout: float | None = None,
    ) -> Rows:
        """Run a query that only reads, and stop after `most` rows; the database does not compute the others."""
        ...

    def connect(self) -> Any:
        """Open a connection of the caller's own: sqlite3's or psycopg's."""
        ...

    def schema(self) -> str:
        """Return the current schema as SQL with its comments."""
        ...

    def objects(self) -> list[dict[str, Any]]:
        """Return each table and view: kind, name, comment, and its columns with type and comment."""
        ...

    def setup(self, scripts: Sequence[Script], *, dry_run: bool) -> list[Step]:
        """Apply users' scripts, each once, all or none; `dry_run` rolls everything back."""
        ...

    def ledger(self) -> list[dict[str, Any]]:
        """Return every step of the schema: name, owner, sha256, applied."""
        ...

    def create_view(self, name: str, metrics: Sequence[str]) -> dict[str, str]:
        """Create a wide view of metrics; returns column → metric."""
        ...

    def views(self) -> dict[str, dict[str, str]]:
        """Return the wide views: name → column → metric."""
        ...

    def drop_view(self, name: str) -> None:
        """Drop a wide view."""
        ...

    def check(self) -> list[str]:
        """Return what is wrong with the database; empty when it is sound."""
        ...


class Storage(
    Observations,
    Liveness,
    Experiments,
    Runs,
    Artifacts,
    Edits,
    Trash,
    ChangeFeed,
    Copies,
    Points,
    Schema,
    TrialStorage,
    AlertReading,
    AlertStorage,
    ServerStorage,
    UserStorage,
    ArchiveStorage,
    Protocol,
):
    """A database of runs; see the module's docstring for its guarantees."""

    @property
    def crowded(self) -> bool:
        """Whether the database has few connections left, so that a process should use it rarely."""
        ...

    url: str
    dialect: str

    def close(self) -> None:
        """Close the connections."""
        ...
