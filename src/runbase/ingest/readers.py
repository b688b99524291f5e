"""The readers of other tools' data: which exist, and which one can read a source.

A reader of **records** (a database, a folder, a server) is a module with

    recognises(source) -> whether the source belongs to its tool
    count(source) -> the number of runs
    runs(asked) -> an iterator of ImportedRun
    experiments(source) -> an iterator of ImportedExperiment (only if the tool has experiments)

A reader of **run folders** is a module with a NAME and

    tells(folder, names) -> the names of the files that describe the run; empty: the folder is not of this format
    skips(name) -> whether a subfolder is part of the run (only if NESTED is true: runs can be inside others)
    read(folder, names, reached, keep) -> Folder: the run's id, and what is new

`reached` returns how far a file has been read. Each `Delivery` continues from there, so that concurrent scanners store each
item once. `keep` writes bytes that are embedded in other files to files. A reader raises `Unreadable`, with the reason, if
it cannot read a folder.

A reader is in the folder of its tool below `runbase.integrations` and is imported when it is needed.
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
    """A module that reads records of another tool."""

    def recognises(self, source: str) -> bool:
        """Return whether a source belongs to the tool."""
        ...

    def count(self, source: str) -> int:
        """Return the number of runs."""
        ...

    def runs(self, asked: ImportRequest) -> Iterator[ImportedRun]:
        """Yield all runs."""
        ...


_SERVERS = {"mlflow": "mlflow.server_reader"}
"""Readers of sources that are URLs."""
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
_FOLDERS = (
    "stable_pretraining.reader",
    "lightning.reader",
    "ultralytics.reader",
    "ray.reader",
    "trainer_state.reader",
    "dvclive.reader",
    "stable_baselines3.reader",
    "tensorboard.reader",
)


@cache
def folder_formats() -> tuple[Format, ...]:
    """Return the formats of run folders, in the order in which they are tried: the first that recognises a folder reads it."""
    return (journal_folders, *(cast("Format", _load(name)) for name in _FOLDERS))


def _load(name: str) -> object:
    return import_module(f"runbase.integrations.{name}")


def importer(system: str, source: str) -> Importer:
    """Return the reader of a tool's records for a source."""
    modules = _SERVERS if is_address(source) else _RECORDS
    return cast("Importer", _load(modules[system]))


SYSTEMS = tuple(_RECORDS)
"""Names of the tools whose records can be imported."""
_KNOWN = (
    "a .db of runbase, mlruns or a database of MLflow, a folder of W&B, Trackio, Neptune or GoodSeed, a database of "
    "mlos_bench, SQLTrack or the experiment store, run folders of stable-pretraining, Lightning, Ultralytics, Ray Tune, "
    "transformers, DVCLive, stable-baselines3 or TensorBoard, "
    ".csv, .tsv, .jsonl, .parquet"
)
"""What can be imported, as text for messages."""


def importer_for(source: str, system: str | None = None) -> str | None:
    """Return the tool that recognises a source; None if no tool does.

    Args:
        source: a path or URL.
        system: the tool's name; None: try all tools.

    Raises:
        UsageError: no tool has this name, or the server at a URL does not answer.
    """
    if system is not None:
        if system not in _RECORDS:
            raise UsageError(f"no importer is named {system!r}; known: {', '.join(SYSTEMS)}")
        return system
    systems = _SERVERS if is_address(source) else _RECORDS
    tool = next((name for name in systems if importer(name, source).recognises(source)), None)
    if tool is None and is_address(source):
        raise UsageError(
            f"{source} does not answer as a server of {', '.join(_SERVERS)}; check that it is running and that you have access"
        )
    return tool


def check_known(source: str, system: str | None = None) -> str:
    """Return the tool that recognises a source.

    Args:
        source: a path or URL.
        system: the tool's name; None: try all tools.

    Raises:
        NotFound: the source does not exist.
        UsageError: no tool recognises the source.
    """
    tool = importer_for(source, system)
    if tool is None:
        if "://" not in source and not Path(source).expanduser().exists():
            raise NotFound(f"{source} does not exist")
        raise unknown(source)
    return tool


def unknown(source: object) -> UsageError:
    """Return the error for a source that no reader recognises."""
    return UsageError(f"{source} is not a record that runbase knows; known: {_KNOWN}")


def check_store_file(path: Path) -> None:
    """Check that a file may be a runbase database.

    Raises:
        NotFound: the file does not exist.
        UsageError: the file is not a runbase database; the message names what can be imported.
    """
    if not path.is_file():
        raise NotFound(f"{path} does not exist")
    if is_database(str(path)):
        tables = database_tables(str(path))
        if (
            not tables or "series" in tables
        ):  # no tables: a damaged database; opening it gives a better message
            return
    raise unknown(path)


def is_address(source: str) -> bool:
    """Return whether a source is read over the network."""
    return source.startswith(("http://", "https://"))
