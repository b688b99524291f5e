"""The store, for reading: experiments, runs, metrics and SQL."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

from runbase.errors import NotFound, suggestion
from runbase.ingest import Report, sync
from runbase.model import Artifact, Envelope, Experiment, Run, Scalar, Series
from runbase.settings import database, load
from runbase.storage.protocol import Rows, Storage
from runbase.storage.urls import open_storage


class Runs(list[Run]):
    """Runs, as a query returned them: a list that can become a DataFrame."""

    def to_pandas(self) -> Any:
        """One row a run, with flat `params.*`, `metrics.*` (last values) and `tags.*` columns."""
        import pandas as pd

        return pd.DataFrame([flat(run) for run in self])


def flat(run: Run) -> dict[str, Any]:
    """A run as one flat row."""
    row: dict[str, Any] = {
        name: getattr(run, name)
        for name in ("id", "experiment", "number", "name", "status", "started_at", "ended_at")
    }
    row["status"] = run.status.value
    row["seconds"] = run.seconds
    row |= {f"params.{key}": value for key, value in run.params.items()}
    row |= {f"metrics.{key}": metric.last for key, metric in run.metrics.items()}
    row |= {f"tags.{key}": True if value is None else value for key, value in run.tags.items()}
    return row


class Store:
    """A database of runs, at a URL; made by `runbase.open`.

    May be used from several threads. Reading never waits for runs that are being written; `sync`
    brings in what journals hold and the database does not.
    """

    def __init__(self, storage: Storage, home: Path | None) -> None:
        self._storage = storage
        self.home = home
        self.url = storage.url

    def sync(self, progress: Callable[[int, int], None] | None = None) -> Report:
        """Take in what the home's journals hold, and mark runs that died without a word.

        `progress` is called with how many run folders are done, and of how many.
        """
        if self.home is None:
            return Report()
        return sync(self._storage, self.home, progress=progress)

    def experiments(self) -> list[Experiment]:
        """All experiments, newest first."""
        return self._storage.experiments()

    def experiment(self, name: str) -> Experiment:
        """The newest experiment of a name, or the one with an id; NotFound otherwise."""
        known = self._storage.experiments()
        for experiment in known:
            if name in (experiment.name, experiment.id):
                return experiment
        names = [experiment.name for experiment in known]
        raise NotFound(f"there is no experiment {name!r}{suggestion(name, names)}")

    def runs(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        experiment: str | None = None,
    ) -> Runs:
        """Runs that satisfy a filter, newest first unless ordered.

        `where` and `order_by` are SQL expressions over `params.k`, `metrics.k` (its last value;
        `metrics.k.min`, `.max`, `.mean`, `.first`, `.count`), `tags.k`, and columns such as `status`,
        `name`, `started_at`, `seconds`, `experiment`. Quote keys with slashes: `metrics."val/acc"`.
        Raises FilterError, which points at the place, and NotFound for an unknown experiment.
        """
        return Runs(self._storage.runs(where, order_by, limit, offset, experiment))

    def run(self, run: "str | Any", experiment: str | None = None) -> Run:
        """One run by id, unique id prefix or name, with its artifacts and status history.

        Of several runs of a name, the newest. Raises NotFound, Ambiguous.
        """
        found = self._id(run, experiment)
        record = self._storage.runs(ids=[found])[0]
        import msgspec

        return msgspec.structs.replace(
            record,
            artifacts=self._storage.artifacts(found),
            history=self._storage.history(found),
        )

    def artifacts(self, run: "str | Any") -> list[Artifact]:
        """A run's files."""
        return self._storage.artifacts(self._id(run))

    def records(self, run: "str | Any", key: str | None = None) -> list[dict[str, Any]]:
        """A run's texts, tables, histograms and images: key, kind, step, time, and value or path."""
        return self._storage.records(self._id(run), key)

    @overload
    def metrics(
        self,
        run: "str | Any",
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: None = None,
        every: bool = False,
    ) -> Series: ...
    @overload
    def metrics(
        self,
        run: "str | Any",
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: int,
        every: Literal[False] = False,
    ) -> Envelope: ...
    def metrics(
        self,
        run: "str | Any",
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: int | None = None,
        every: bool = False,
    ) -> Series | Envelope:
        """The points of a metric between two steps (both included), as NumPy arrays by step.

        Of several points at one step the latest is given, unless `every` is true. With a
        `resolution`, an Envelope instead: least, greatest and mean value in at most that many
        buckets, over every point that was logged. Raises NotFound for an unknown run or metric.
        """
        found = self._id(run)
        if resolution is not None:
            return self._storage.envelope(found, key, start, end, resolution)
        return self._storage.series(found, key, start, end, every=every)

    def telemetry(self, run: "str | Any", key: str) -> Series:
        """Figures about the machine or the system under test; their times matter, not their steps."""
        return self._storage.series(self._id(run), key, every=True, kind="telemetry")

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """The rows of a SQL query: tuples, with their `columns`, and `.to_pandas()`.

        Reads only, unless `write` is true. `params` fill `?` or `:name`. A query that runs longer
        than `timeout` seconds is cancelled with QueryTimeout.
        """
        return self._storage.sql(query, params, write=write, timeout=timeout)

    def schema(self) -> str:
        """The schema as SQL, with what each column means."""
        return self._storage.schema()

    def totals(self) -> dict[str, int]:
        """How many experiments, runs, points, journals, lines and damaged lines it holds."""
        return self._storage.totals()

    def check(self) -> list[str]:
        """What is wrong with the database; empty when it is sound."""
        return self._storage.check()

    def folder(self, run: Run) -> Path | None:
        """Where a run's files are on this machine; None where they are not here."""
        if self.home is None or run.folder is None:
            return None
        folder = self.home / run.folder
        return folder if folder.is_dir() else None

    def close(self) -> None:
        """Let go of the database; the store is not used after that."""
        self._storage.close()

    def _id(self, run: Any, experiment: str | None = None) -> str:
        word = run if isinstance(run, str) else run.id
        return self._storage.find_run(word, experiment)

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
    """Open a store: the home's own, or the one at a URL (`sqlite:///path/runbase.db`) or path.

    Takes up what the home's journals hold and marks runs that died, unless `sync` is False. Raises
    StoreUnavailable, StoreCorrupt, StoreTooNew.
    """
    settings = load(home=home, store=None if url is None else os.fspath(url))
    address = settings.store
    if address.lower() == "none":  # files only: they are read into the home's own database
        address = f"sqlite:///{database(settings.home)}"
    storage = open_storage(address, create=create)
    store = Store(storage, _home_of(settings.home, url, home))
    if sync and store.home is not None and store.home.is_dir():
        store.sync()
    return store


def _home_of(found: Path, url: Any, home: Any) -> Path | None:
    """The home that a store's runs are in; a URL given alone belongs to the folder it lies in."""
    if url is None or home is not None:
        return found
    path = Path(str(url).removeprefix("sqlite:///")).absolute()
    return path.parent if (path.parent / "runs").is_dir() else None


__all__ = ["Runs", "Store", "flat", "open"]
