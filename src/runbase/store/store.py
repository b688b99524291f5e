"""The store: experiments, runs, metrics, SQL, and everything people do with a record."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runbase.analysis.listings import Experiments, Runs
from runbase.events import Problem
from runbase.ingest.journals import Report
from runbase.ingest.liveness import check_liveness
from runbase.ingest.scan import ScanReport, scan
from runbase.ingest.sync import sync
from runbase.model import Run
from runbase.run.context import flush_into
from runbase.settings import database, load
from runbase.storage.deadlines import until
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.storage.types import Rows
from runbase.store import rebuild
from runbase.store.backup import BackupMethods
from runbase.store.base import RunLike
from runbase.store.charts import ChartMethods
from runbase.store.runs import LabelMethods
from runbase.store.schema import SchemaMethods
from runbase.store.transfer import Salvaged, TransferMethods
from runbase.store.trash import TrashMethods

PATIENCE = 1.0
"""Seconds for which opening a store waits for other writers before it goes on with what is there."""


class Store(
    TransferMethods, LabelMethods, ChartMethods, TrashMethods, BackupMethods, SchemaMethods
):
    """A database of runs, at a URL; made by `runbase.open`.

    May be used from several threads. Reading never waits for runs that are being written; `sync`
    brings in what journals hold and the database does not. Wherever a run or an experiment is asked
    for, its id, the beginning of one, its name, or a record of it will do.
    """

    def __init__(self, storage: Storage, home: Path | None, address: str | None = None) -> None:
        self.storage = storage
        self.home = home
        self.url = storage.url
        """Where it is, without a password."""
        self.salvaged: Salvaged | None = None
        """What the latest rebuild took over from a database that was set aside, if there was one."""
        self.address = address or storage.url
        """What opens it anew: its URL as it was given, perhaps with a password. Not to be printed."""

    def sync(
        self,
        progress: Callable[[int, int], None] | None = None,
        *,
        patience: float | None = None,
    ) -> Report:
        """Take in what the home's journals hold, and mark runs that died without a word.

        Of a store without a home, which was opened by its database alone, take in what runs of this process have
        logged.

        Goes on with a rebuild that was stopped: what the old database holds and no folder does is taken over.
        `progress` is called with how many run folders are done, and of how many. While other writers keep
        the database busy for more than `patience` seconds together, it stops, and the report is `late`;
        without it, it waits as long as the database's own timeout.
        """
        if self.home is None:  # a database without a folder of runs: what this process writes to it
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
        """Take in run folders at and below some folders: runbase's own, stable-pretraining's, Lightning's CSV,
        TensorBoard's.

        Only what changed since the last scan is read (`full`: all of it), and nothing is written there. Runs
        whose folder is gone are marked (`missing_at`), and those that died without a word. `progress` is called
        with how many changed folders are done, and of how many, for each path.
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
        """The folder for files that are made from what stands inside others; None: there is no place for them."""
        if self.home is not None:
            return self.home.resolve() / "imported"
        if not self.url.startswith("sqlite:///"):
            return None
        database = Path(self.url.removeprefix("sqlite:///")).resolve()
        return database.with_name(f"{database.stem}-files")

    def _placed(self, folder: str) -> str:
        """A run's folder as the store names it: below its home, or absolute."""
        home = None if self.home is None else self.home.resolve()
        place = Path(folder)
        if home is not None and place.is_relative_to(home):
            return place.relative_to(home).as_posix()
        return folder

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """The rows of a SQL query: tuples, with their `columns`, and `.to_pandas()`.

        Reads only, unless `write` is true. `params` fill `:name` or `?`. A query that runs longer
        than `timeout` seconds is cancelled with QueryTimeout.
        """
        return self.storage.sql(query, params, write=write, timeout=timeout)

    def connect(self) -> Any:
        """A database connection of your own, for transactions, cursors and COPY: sqlite3's or psycopg's,
        in the store's schema. Close it when done.
        """
        return self.storage.connect()

    def totals(self) -> dict[str, int]:
        """How many experiments, runs, points, journals, lines and damaged lines it holds."""
        return self.storage.totals()

    def problems(self, run: RunLike | None = None, limit: int = 100) -> list[Problem]:
        """Lines and events that could not be stored, of a run or of all runs (the newest first).

        Each has `file`, `offset` (bytes), `reason` and the beginning of its `line`. Everything beside
        them is in the store.
        """
        found = None if run is None else self._run_id(run)
        return [problem for _, problem in self.storage.problems(found, limit)]

    def check(self) -> list[str]:
        """What is wrong with the database; empty when it is sound."""
        return self.storage.check()

    def folder(self, run: Run) -> Path | None:
        """Where a run's files are on this machine; None where they are not here."""
        if self.home is None or run.folder is None:
            return None
        folder = self.home / run.folder
        return folder if folder.is_dir() else None

    def close(self) -> None:
        """Let go of the database; the store is not used after that."""
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

    def __repr__(self) -> str:
        return f"<Store {self.url}>"


def open(
    url: "str | os.PathLike[str] | None" = None,
    *,
    home: "str | os.PathLike[str] | None" = None,
    sync: bool = True,
    create: bool = True,
) -> Store:
    """Open a store: the home's own, or the one at a URL or path.

    URLs are `sqlite:///path/runbase.db` and `postgresql://user@host/database?schema=lab`, for which
    libpq's own variables, password and service files count. Takes up what the home's journals hold
    and marks runs that died, unless `sync` is False. Raises StoreUnavailable, StoreCorrupt, StoreTooNew.
    """
    settings = load(home=home, store=None if url is None else os.fspath(url))
    address = settings.store
    if address.lower() == "none":  # files only: they are read into the home's own database
        address = f"sqlite:///{database(settings.home)}"
    storage = open_storage(address, create=create)
    store = Store(storage, _home_of(settings.home, url, home), address)
    if sync and store.home is not None and store.home.is_dir():
        store.sync(patience=PATIENCE)
    return store


def _home_of(found: Path, url: Any, home: Any) -> Path | None:
    """The home that a store's runs are in; a URL given alone belongs to the folder it lies in."""
    if url is None or home is not None:
        return found
    scheme, separator, rest = str(url).partition("://")
    if separator and not scheme.startswith("sqlite"):
        return None
    path = Path(rest.removeprefix("/") if separator else scheme).absolute()
    return path.parent if (path.parent / "runs").is_dir() else None


__all__ = ["Experiments", "Runs", "Store", "open"]
