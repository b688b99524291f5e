"""A read-only registry of the runs in a tree of folders, without a server or any set-up.

The folders are scanned into a cache database before each query.

    registry = runbase.open_registry("/nfs/team")
    registry.query(tag="vit", hparams={"lr": 0.1}, sort_by="summary.val/acc", limit=10)
"""

import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from runbase import extras, model
from runbase.errors import NotFound, UsageError, suggestion
from runbase.settings import cache_folder, load
from runbase.store.store import Store, open
from runbase.typing import JsonObject

_COLUMNS = {
    "run_id": "id",
    "name": "name",
    "experiment": "experiment",
    "status": "status",
    "created_at": "created_at",
    "updated_at": "updated_at",
    "started_at": "started_at",
    "ended_at": "ended_at",
    "run_dir": "folder",
    "checkpoint_path": "checkpoint",
    "notes": "notes",
}
_PREFIXES = {"summary": "metrics", "hparams": "params", "config": "params"}


class Record(Struct, frozen=True, kw_only=True):
    """A run of a registry. Times are in seconds since the epoch."""

    run_id: str
    """The id of the run; in a format with ids of its own, that id."""
    status: str
    """The status that the tool which wrote the folder recorded, such as completed; else a status of runbase in lower case."""
    created_at: float
    updated_at: float
    alive: bool
    """Whether it is active and its last heartbeat is less than three minutes old."""
    run_dir: str | None
    checkpoint_path: str | None
    config: JsonObject
    """The parameters, nested."""
    hparams: JsonObject
    """The parameters, flat."""
    summary: dict[str, float | None]
    """Metric → last value."""
    tags: tuple[str, ...]
    notes: str
    run: model.Run
    """The full run record."""


class Registry:
    """The runs of a tree of folders, opened by `open_registry`."""

    def __init__(self, store: Store, roots: Sequence[Path], *, scan: bool, ttl: float) -> None:
        self.store = store
        """The store that the folders are scanned into, for metrics, SQL and charts."""
        self._roots, self._scan, self._ttl = list(roots), scan, ttl
        self._scanned: float | None = None

    def query(
        self,
        *,
        tag: str | None = None,
        status: str | None = None,
        alive: bool | None = None,
        hparams: Mapping[str, object] | None = None,
        sort_by: str | None = None,
        descending: bool = True,
        limit: int | None = None,
    ) -> list[Record]:
        """Return the runs that match all conditions.

        Args:
            tag: a tag that the run has.
            status: its status, as recorded in the folder or as named by runbase.
            alive: whether it is active with a recent heartbeat.
            hparams: parameter → required value. Keys are used literally, dots included.
            sort_by: a field of `Record`, or ``summary.METRIC``, ``hparams.KEY``, ``config.KEY``. Runs
                without a value come last. Default: the creation time.
            descending: sort in descending order.
            limit: the maximum number of runs, after all filters.

        Raises:
            UsageError: `sort_by` is not one of these.
        """
        self._look()
        parts: list[str] = []
        if tag is not None:
            parts.append(f"{_text(tag)} in tags")
        if status is not None:
            parts.append(f"(source_status = {_text(status)} or status = {_text(status.upper())})")
        if alive is not None:
            parts.append("alive" if alive else "not alive")
        for key, value in (hparams or {}).items():
            parts.append(f"params.{_name(key)} {_equals(value)}")
        order = "created_at" if sort_by is None else self._order(sort_by)
        runs = self.store.runs(
            " and ".join(parts) or None,
            order_by=f"{order}{' desc' if descending else ''}, id",
            limit=limit,
        )
        return self._records(runs)

    def get(self, run_id: str) -> Record | None:
        """Return the run with an id, or None."""
        try:
            return self[run_id]
        except KeyError:
            return None

    def __getitem__(self, run_id: str) -> Record:
        self._look()
        try:
            run = self.store.run(run_id)
        except NotFound as missing:
            raise KeyError(run_id) from missing
        return self._records([run])[0]

    def __len__(self) -> int:
        self._look()
        return self.store.count()

    def __iter__(self) -> Iterator[Record]:
        return iter(self.query())

    def to_dataframe(self, records: Sequence[Record] | None = None) -> Any:
        """Return records (default: all) as a pandas DataFrame with columns `hparams.*` and `summary.*`."""
        pd: Any = extras.load("pandas", "analysis", "a data frame")

        rows: list[JsonObject] = []
        for record in self.query() if records is None else records:
            plain = (
                "run_id",
                "status",
                "created_at",
                "updated_at",
                "alive",
                "run_dir",
                "checkpoint_path",
            )
            row = {name: getattr(record, name) for name in plain}
            row |= {"tags": list(record.tags), "notes": record.notes}
            row |= {f"hparams.{key}": value for key, value in record.hparams.items()}
            row |= {f"summary.{key}": value for key, value in record.summary.items()}
            rows.append(row)
        return pd.DataFrame(rows)

    def scan(self, *, full: bool = False) -> Any:
        """Scan the folders now and return the report; with `full`, read everything again."""
        self._scanned = time.monotonic()
        return self.store.scan(*self._roots, full=full)

    def close(self) -> None:
        """Close the cache database."""
        self.store.close()

    def __enter__(self) -> "Registry":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _records(self, runs: Sequence[model.Run]) -> list[Record]:
        """Return runs as records, with one query for the locations of all checkpoints."""
        places: dict[str, str] = {}
        if any(run.checkpoint for run in runs):
            places = dict(
                self.store.sql(
                    "select a.run_id, a.uri from artifacts a join runs r on r.id = a.run_id "
                    "where a.path = r.checkpoint"
                )
            )
        return [_record(run, self.store, places.get(run.id)) for run in runs]

    def _look(self) -> None:
        """Scan, unless the last scan is younger than `scan_ttl_s`."""
        if self._scan and (self._scanned is None or time.monotonic() - self._scanned >= self._ttl):
            self.scan()

    def _order(self, sort_by: str) -> str:
        if sort_by in _COLUMNS:
            return _COLUMNS[sort_by]
        kind, dot, key = sort_by.partition(".")
        if dot and kind in _PREFIXES:
            return f"{_PREFIXES[kind]}.{_name(key)}"
        known = [*_COLUMNS, *(f"{prefix}.KEY" for prefix in _PREFIXES)]
        raise UsageError(
            f"cannot sort by {sort_by!r}{suggestion(sort_by, _COLUMNS)}; use one of {', '.join(known)}"
        )


def open_registry(
    path: "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None" = None,
    *,
    db_path: "str | os.PathLike[str] | None" = None,
    scan: bool = True,
    scan_ttl_s: float = 2.0,
) -> Registry:
    """Open the runs in one or several trees of folders, read-only and without a server.

    Args:
        path: folders to search, at any depth. Formats as for `Store.scan`. Default: the home.
        db_path: the database used as a cache, a path or URL. It can be deleted without loss.
            Default: a file in the user's cache folder.
        scan: scan for changes before each query.
        scan_ttl_s: seconds for which a scan counts as current.

    Returns:
        The registry. Use it in a `with` statement, or call `close`.

    Raises:
        UsageError: a folder does not exist.
    """
    if path is None:
        home = load().home
        if not home.is_dir():
            raise UsageError(
                f"the home {home} does not exist; pass a folder, open_registry('/nfs/team'), "
                "or set RUNBASE_HOME"
            )
        folders: list[Any] = [home]
    else:
        folders = [path] if isinstance(path, str | os.PathLike) else list(path)
    roots = [Path(folder).expanduser().resolve() for folder in folders]
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"folder {root} not found; pass a folder with runs")
    place = _cache(roots) if db_path is None else os.fspath(db_path)
    return Registry(open(place, sync=False), roots, scan=scan, ttl=scan_ttl_s)


def _cache(roots: Sequence[Path]) -> str:
    base = cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256("\0".join(map(str, roots)).encode()).hexdigest()[:12]
    return str(base / f"registry-{digest}.db")


def _record(run: model.Run, store: Store, checkpoint: str | None) -> Record:
    nested: JsonObject = {}
    for key, value in run.params.items():
        place = nested
        *path, last = key.split("/")
        for part in path:
            inner = place.setdefault(part, {})
            place = cast("JsonObject", inner) if isinstance(inner, dict) else place
        place[last] = value
    folder = None if run.folder is None else Path(run.folder)
    if folder is not None and not folder.is_absolute():
        folder = store.folder(run)
    return Record(
        run_id=run.name if run.source_status is not None else run.id,
        status=run.source_status or run.status.value.lower(),
        created_at=run.created_at.timestamp(),
        updated_at=run.updated_at.timestamp(),
        alive=run.alive,
        run_dir=None if folder is None else str(folder),
        checkpoint_path=_place(checkpoint, folder) or run.checkpoint,
        config=nested,
        hparams=run.params,
        summary={key: metric.last for key, metric in run.metrics.items()},
        tags=tuple(run.tags),
        notes=run.notes,
        run=run,
    )


def _place(uri: str | None, folder: Path | None) -> str | None:
    """Return the location of an artifact; a relative one is resolved in the run's folder."""
    return uri if uri is None or folder is None or "://" in uri else str(folder / uri)


def _name(key: str) -> str:
    return '"' + key.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _equals(value: object) -> str:
    match value:
        case None:
            return "is null"
        case bool():
            return f"= {'true' if value else 'false'}"
        case int() | float():
            return f"= {value!r}"
        case str():
            return f"= {_text(value)}"
        case _:
            raise UsageError(f"a parameter cannot be compared with {value!r}; give a scalar")


__all__ = ["Record", "Registry", "open_registry"]
