"""The readers of what other tools wrote: which there are, and which one a source is for.

A reader of **records** (a database, a folder, a server) is a module with

    recognises(source) -> whether the source is one of its tool
    count(source) -> how many runs it has
    runs(asked) -> ImportedRun after ImportedRun
    experiments(source) -> what it says of experiments (only where the tool has them)

A reader of **run folders** is a module with a NAME and

    tells(folder, names) -> the names of the files that describe the run; none: the folder is not of this format
    read(folder, names, reached, keep) -> Folder: the run's id, and what is new

`reached` says how far a file has been read before; each `Delivery` continues from there, so that several scanners at
once take everything once. `keep` makes files of bytes that stand inside other files. What cannot be read raises
`Unreadable`, which says why.

A reader lies in the folder of its tool below `runbase.integrations` and is loaded when it is needed.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from runbase.errors import NotFound, UsageError
from runbase.ingest import journal_folders
from runbase.ingest.folders import Format
from runbase.ingest.foreign import ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import is_database
from runbase.ingest.foreign_databases import tables as database_tables


class Importer(Protocol):
    """A module that reads another tool's record."""

    def recognises(self, source: str) -> bool:
        """Whether a source is that tool's."""
        ...

    def count(self, source: str) -> int:
        """How many runs it has."""
        ...

    def runs(self, asked: ImportRequest) -> Iterator[ImportedRun]:
        """All of them."""
        ...


_SERVERS = {"mlflow": "mlflow.server_reader"}
"""Readers that ask over the network, where the source is an address."""
_RECORDS = {
    "mlflow": "mlflow.reader",
    "mlos_bench": "mlos.reader",
    "sqltrack": "sqltrack.reader",
    "experiment-store": "experiment_store.reader",
    "wandb": "wandb.reader",
    "trackio": "trackio.reader",
    "neptune": "neptune.reader",
    "goodseed": "goodseed.reader",
    "table": "tables.reader",
}
_FOLDERS = ("stable_pretraining.reader", "lightning.reader", "tensorboard.reader")


@cache
def folder_formats() -> tuple[Format, ...]:
    """The formats of run folders, in the order in which they are asked: the first that a folder satisfies reads it."""
    return (journal_folders, *(cast("Format", _load(name)) for name in _FOLDERS))


def _load(name: str) -> object:
    return import_module(f"runbase.integrations.{name}")


def importer(system: str, source: str) -> Importer:
    """The reader of a tool's records for a source."""
    modules = _SERVERS if is_address(source) else _RECORDS
    return cast("Importer", _load(modules[system]))


SYSTEMS = tuple(_RECORDS)
"""Their names."""
KNOWN = (
    "a .db of runbase, mlruns or a database of MLflow, a folder of W&B, Trackio, Neptune or GoodSeed, a database of "
    "mlos_bench, SQLTrack or the experiment store, run folders of stable-pretraining, Lightning or TensorBoard, "
    ".csv, .tsv, .jsonl, .parquet"
)
"""What can be imported, for people."""


def importer_for(source: str, system: str | None = None) -> str | None:
    """The system whose record a source is; None where none of them knows it."""
    if system is not None:
        if system not in _RECORDS:
            raise UsageError(f"no importer is named {system!r}; known: {', '.join(SYSTEMS)}")
        return system
    systems = _SERVERS if is_address(source) else _RECORDS
    found = next((name for name in systems if importer(name, source).recognises(source)), None)
    if found is None and is_address(source):
        raise UsageError(
            f"{source} does not answer as a server of {', '.join(_SERVERS)}; is it running, and are you let in?"
        )
    return found


def check_known(source: str, system: str | None = None) -> str:
    """The tool whose record a source is; NotFound or UsageError where that is none that is known."""
    found = importer_for(source, system)
    if found is None:
        if "://" not in source and not Path(source).expanduser().exists():
            raise NotFound(f"{source} does not exist")
        raise UsageError(f"{source} is not a record that runbase knows; known: {KNOWN}")
    return found


def check_store_file(path: Path) -> None:
    """Check that a file may be a store of runbase: NotFound, or UsageError that names what can be imported."""
    if not path.is_file():
        raise NotFound(f"{path} does not exist")
    if is_database(str(path)):
        found = database_tables(str(path))
        if not found or "series" in found:  # none: a damaged database, which opening it says better
            return
    raise UsageError(f"{path} is not a record that runbase knows; known: {KNOWN}")


def is_address(source: str) -> bool:
    """Whether a source is asked over the network."""
    return source.startswith(("http://", "https://"))
