"""`Store`, the public API to a database of runs, and `open`, which returns one.

The methods are grouped by topic in the other modules of this package; `Store` inherits all of them.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runbase.analysis.listings import Experiments, Runs
from runbase.errors import UsageError, warn
from runbase.events import Problem
from runbase.ingest import packing
from runbase.ingest.journals import Report
from runbase.ingest.liveness import check_liveness
from runbase.ingest.scan import ScanReport, scan
from runbase.ingest.sync import sync
from runbase.model import Run
from runbase.run.context import flush_into
from runbase.settings import database, load
from runbase.storage.deadlines import until
from runbase.storage.open import open_reader, open_storage
from runbase.storage.protocol import Storage
from runbase.storage.types import ReplicaState, Rows, Sizes
from runbase.store import rebuild
from runbase.store.alerts import AlertMethods
from runbase.store.archived_points import missing_points
from runbase.store.backup import BackupMethods
from runbase.store.charts import ChartMethods
from runbase.store.labels import LabelMethods
from runbase.store.schema import SchemaMethods
from runbase.store.transfer import Salvaged, TransferMethods
from runbase.store.trash import TrashMethods
from runbase.typing import RunLike

PATIENCE = 1.0
"""Seconds for which `open` waits for other writers before it continues without their journals."""


class Store(
    TransferMethods,
    LabelMethods,
    ChartMethods,
    TrashMethods,
    BackupMethods,
    SchemaMethods,
    AlertMethods,
):
    """A database of runs, opened by `runbase.open`.

    A store can be used from several threads. Reads never wait for active runs. `sync` ingests new
    journal entries. Methods that take a run or an experiment accept its id, a unique prefix of the
    id, its name, or a record of it.
    """

    def __init__(
        self,
        storage: Storage,
        home: Path | None,
        address: str | None = None,
        *,
        read_url: str | None = None,
        certain: bool = True,
    ) -> None:
        self.storage = storage
        self.reader = storage if not read_url else open_reader(storage, read_url, certain=certain)
        self._read_url = read_url, certain
        self.home = home
        self.url = storage.url
        """The URL of the database, without a password."""
        self.salvaged: Salvaged | None = None
        """What the last `sync` recovered from a database that `runbase sync --rebuild` set aside, if any."""
        self.address = address or storage.url
        """The URL as it was passed to `open`; it may contain a password, so do not print it."""

    def sync(
        self,
        progress: Callable[[int, int], None] | None = None,
        *,
        patience: float | None = None,
    ) -> Report:
        """Ingest new journal entries of the home, and mark runs whose process exited without closing them.

        For a store without a home (opened by its database alone), ingest what the runs of this
        process have logged. An interrupted rebuild is resumed: what the old database contains and
        no run folder does is recovered from it.

        Args:
            progress: called with the number of run folders done and the total.
            patience: seconds to wait in total for other writers. After that, ingestion stops and
                the report has `late` set. Default: wait as long as the database's own timeout.

        Returns:
            A report of what was ingested.
        """
        if (
            self.home is None
        ):  # opened by its database alone: only the runs of this process write to it
            return flush_into(self.address)
        if patience is None:
            report = sync(self.storage, self.home, progress=progress)
        else:
            with until(time.monotonic() + patience):
                report = sync(self.storage, self.home, progress=progress, give_way=True)
            if report.late:
                return report
        aside = rebuild.pending(self.url)
        if aside:
            self.salvaged = Salvaged()
            for path in aside:
                if path.exists():
                    self.salvaged = self.salvaged.with_(self.salvage(path))
            rebuild.done(self.url)
        return report

    def scan(
        self,
        *paths: "str | os.PathLike[str]",
        full: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> ScanReport:
        """Ingest the run folders at and below some paths.

        Known formats are those of runbase, stable-pretraining, Lightning's CSV logger, Ultralytics,
        Ray Tune, transformers, DVCLive, stable-baselines3 and TensorBoard. Nothing is written to the folders. Runs whose folder no longer exists are marked
        (`missing_at`), and so are runs whose process exited without closing them.

        Args:
            paths: folders, searched at any depth.
            full: read everything, not only what changed since the last scan.
            progress: called for each path with the number of changed folders done and the total.

        Returns:
            A report of what was ingested.
        """
        report, files = ScanReport(), self._files()
        for path in paths:
            root = Path(path).expanduser().resolve()
            if root.is_dir():
                self.storage.add_artifact_root(str(root))
            report.add(
                scan(
                    self.storage,
                    root,
                    full=full,
                    place=self._placed,
                    files=files,
                    progress=progress,
                )
            )
            report.lost += check_liveness(self.storage, root).lost
        if files is not None and files.is_dir():
            self.storage.add_artifact_root(str(files))
        return report

    def _files(self) -> Path | None:
        """Return the folder for files extracted from other files (images in event files), or None if there is none."""
        if self.home is not None:
            return self.home.resolve() / "imported"
        if not self.url.startswith("sqlite:///"):
            return None
        database = Path(self.url.removeprefix("sqlite:///")).resolve()
        return database.with_name(f"{database.stem}-files")

    def _placed(self, folder: str) -> str:
        """Return a run folder as stored: relative to the home if it is inside it, else absolute."""
        home = None if self.home is None else self.home.resolve()
        place = Path(folder)
        if home is not None and place.is_relative_to(home):
            return place.relative_to(home).as_posix()
        return folder

    def sql(
        self,
        query: str,
        params: Mapping[str, object] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """Run a SQL query and return its rows.

        The tables and views with points have none of archived runs: a query that reads them warns if
        there are such runs.

        Args:
            query: one SQL statement in the dialect of the database.
            params: values for the placeholders `:name` (a mapping) or `?` (a sequence).
            write: allow statements that change data. Default: read only.
            timeout: seconds after which the query is cancelled. Default: no limit.

        Returns:
            A list of tuples with the attribute `columns` and the method `to_pandas()`.

        Raises:
            QueryError: the database refused the statement.
            QueryTimeout: the query took longer than `timeout`.
        """
        rows = self.reader.sql(query, params, write=write, timeout=timeout)
        if (message := missing_points(self.reader, query)) is not None:
            warn(message)
        return rows

    def connect(self) -> Any:
        """Return a new connection of sqlite3 or psycopg, for your own transactions, cursors and COPY.

        It uses the schema of the store. The caller closes it.
        """
        return self.storage.connect()

    def totals(self) -> dict[str, int]:
        """Return the number of experiments, runs, points, journals, lines and damaged lines."""
        return self.reader.totals()

    def sizes(self, most: int = 20) -> Sizes:
        """Return where the bytes are: by table, by experiment and by run, deleted ones included.

        Args:
            most: the number of experiments and runs, those with the most bytes first.
        """
        return self.reader.sizes(most)

    def problems(self, run: RunLike | None = None, limit: int = 100) -> list[Problem]:
        """Return journal lines and events that could not be stored, newest first.

        Everything else in these journals is in the store.

        Args:
            run: a run; None for all runs.
            limit: the maximum number of problems.

        Returns:
            Problems with `file`, `offset` (bytes), `reason` and the beginning of the `line`.
        """
        run_id = None if run is None else self._run_id(run)
        return [problem for _, problem in self.reader.problems(run_id, limit)]

    def check(self) -> list[str]:
        """Check the database and return a description of each fault; empty if there is none."""
        return self.storage.check()

    def replica_state(self) -> ReplicaState | None:
        """Return whether reads come from the replica, and its lag; None if the store has no replica."""
        state = getattr(self.reader, "replica_state", None)
        return None if state is None else state()

    def folder(self, run: Run) -> Path | None:
        """Return the folder of a run on this machine, or None if it is not here."""
        if self.home is None or run.folder is None:
            return None
        folder = self.home / run.folder
        return folder if folder.is_dir() else None

    def close(self) -> None:
        """Close the database connections. The store cannot be used afterwards."""
        if self.reader is not self.storage:
            self.reader.close()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the address, which may contain a password: the copy opens connections of its own."""
        if self.url.endswith(":memory:"):
            raise UsageError(
                "a database in memory belongs to one process; open a file to use a store in others"
            )
        return _reopen, (self.address, self.home, *self._read_url)

    def __repr__(self) -> str:
        return f"<Store {self.url}>"


def open(
    url: "str | os.PathLike[str] | None" = None,
    *,
    home: "str | os.PathLike[str] | None" = None,
    sync: bool = True,
    create: bool = True,
    read_url: str | None = None,
) -> Store:
    """Open a store: that of the home, or the one at a URL or path.

    Args:
        url: `sqlite:///path/runbase.db`, `postgresql://user@host/database?schema=lab` (libpq's
            environment variables, password file and service file apply), or a path of a SQLite
            file. Default: the setting `store`, else the database of the home.
        home: the folder with the runs. Default: the setting `home`.
        sync: ingest new journal entries and mark runs whose process exited without closing them.
        create: create the database if it does not exist.
        read_url: the URL of a streaming replica of a PostgreSQL store, which lists, curves and SQL
            are read from. Default: the setting `read_store`, if it is a replica of this database.

    Returns:
        The store. Use it in a `with` statement, or call `close`.

    Raises:
        StoreUnavailable: the database cannot be opened or reached.
        StoreCorrupt: the database file is damaged.
        StoreTooNew: the database was written by a newer runbase.
    """
    settings = load(home=home, store=None if url is None else os.fspath(url))
    address = settings.store
    if address.lower() == "none":  # journals only: read them into the database of the home
        address = f"sqlite:///{database(settings.home)}"
    storage = open_storage(address, create=create)
    configured = settings.text("read_store") if read_url is None else None
    if configured and not address.startswith("postgres"):
        if url is None:
            shown = settings.shown("read_store")
            warn(
                f"the setting read_store ({shown}) is not used: the store is {storage.url}, and only PostgreSQL has replicas"
            )
        configured = None
    store = Store(
        storage,
        home_of(settings.home, url, home),
        address,
        read_url=read_url or configured,
        certain=read_url is not None or url is None or address == load(home=home).store,
    )
    if sync and store.home is not None and store.home.is_dir():
        report = store.sync(patience=PATIENCE)
        days = settings.number("pack_after")
        packing.start(storage, address, store.home, days, folders=report.folders)
    return store


def _reopen(address: str, home: Path | None, read_url: str | None, certain: bool) -> Store:
    """Open the database of a pickled store, without ingesting anything."""
    storage = open_storage(address, create=False)
    return Store(storage, home, address, read_url=read_url, certain=certain)


def home_of(
    configured: Path, url: "str | os.PathLike[str] | None", home: "str | os.PathLike[str] | None"
) -> Path | None:
    """Return the home of a store's runs; for a URL passed without a home, the folder that contains it."""
    if url is None or home is not None:
        return configured
    scheme, separator, rest = str(url).partition("://")
    if separator and not scheme.startswith("sqlite"):
        return None
    path = Path(rest.removeprefix("/") if separator else scheme).absolute()
    return path.parent if (path.parent / "runs").is_dir() else None


__all__ = ["Experiments", "Runs", "Store", "open"]
