"""Which importer a source is for."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, cast

from runbase.errors import NotFound, UsageError
from runbase.importers import (
    experiment_store,
    goodseed,
    mlflow,
    mlflow_server,
    mlos_bench,
    neptune,
    sqltrack,
    tables,
    trackio,
    wandb,
)
from runbase.importers.base import Asked, Foreign
from runbase.importers.databases import is_database, path_of
from runbase.importers.databases import tables as database_tables
from runbase.importers.taking import Imported, about, known, take
from runbase.store.store import Store


class Importer(Protocol):
    """A module that reads another system's record."""

    def recognises(self, source: str) -> bool:
        """Whether a source is that system's."""
        ...

    def count(self, source: str) -> int:
        """How many runs it has."""
        ...

    def runs(self, asked: Asked) -> Iterator[Foreign]:
        """All of them."""
        ...


_SERVERS: dict[str, Importer] = {"mlflow": cast("Any", mlflow_server)}
"""Those that are asked over the network, where the source is an address."""
IMPORTERS: dict[str, Importer] = {
    "mlflow": cast("Any", mlflow),
    "mlos_bench": cast("Any", mlos_bench),
    "sqltrack": cast("Any", sqltrack),
    "experiment-store": cast("Any", experiment_store),
    "wandb": cast("Any", wandb),
    "trackio": cast("Any", trackio),
    "neptune": cast("Any", neptune),
    "goodseed": cast("Any", goodseed),
    "table": cast("Any", tables),
}


SYSTEMS = tuple(IMPORTERS)
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
        if system not in IMPORTERS:
            raise UsageError(f"there is no importer {system!r}; there are {', '.join(IMPORTERS)}")
        return system
    kinds = _SERVERS if _is_address(source) else IMPORTERS
    found = next((name for name, one in kinds.items() if one.recognises(source)), None)
    if found is None and _is_address(source):
        raise UsageError(
            f"{source} does not answer as a server of {', '.join(_SERVERS)}; is it running, and are you let in?"
        )
    return found


def check_store_file(path: Path) -> None:
    """Check that a file may be a store of runbase: NotFound, or UsageError that names what can be imported."""
    if not path.is_file():
        raise NotFound(f"there is no file {path} to import")
    if is_database(str(path)):
        found = database_tables(str(path))
        if not found or "series" in found:  # none: a damaged database, which opening it says better
            return
    raise UsageError(f"{path} is not a record that runbase knows; known: {KNOWN}")


def _is_address(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def import_from(
    store: Store,
    source: str,
    system: str,
    *,
    columns: Mapping[str, str] | None = None,
    experiment: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Bring another system's record into a store. Once more brings what is new since then, and nothing twice.

    `columns` and `experiment` are for tables: see `runbase.importers.tables`.
    """
    importer = (_SERVERS if _is_address(source) else IMPORTERS)[system]
    report = Imported(source=source, system=system)
    experiments = getattr(importer, "experiments", None)
    if experiments is not None:
        about(store, experiments(source), report)
    asked = Asked(
        source=source,
        problems=report.problems,
        known=lambda ids: known(store, ids),
        columns=dict(columns or {}),
        experiment=experiment,
        left_out=report.left_out,
    )
    found = importer.runs(asked)
    if not _is_address(source) and "://" not in source:
        path = path_of(source).resolve()
        store._storage.add_artifact_root(  # pyright: ignore[reportPrivateUsage]
            str(path if path.is_dir() else path.parent)
        )
    return take(store, found, report, total=importer.count(source), progress=progress)
