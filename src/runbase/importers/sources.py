"""Which importer a source is for."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast

from runbase.client import Store
from runbase.errors import UsageError
from runbase.importers import experiment_store, mlflow, mlos_bench, sqltrack
from runbase.importers.base import Foreign, Imported, about, take


class Importer(Protocol):
    """A module that reads another system's record."""

    def recognises(self, source: str) -> bool:
        """Whether a source is that system's."""
        ...

    def count(self, source: str) -> int:
        """How many runs it has."""
        ...

    def runs(self, source: str, problems: list[str]) -> Iterator[Foreign]:
        """All of them."""
        ...


IMPORTERS: dict[str, Importer] = {
    "mlflow": cast("Any", mlflow),
    "mlos_bench": cast("Any", mlos_bench),
    "sqltrack": cast("Any", sqltrack),
    "experiment-store": cast("Any", experiment_store),
}


def importer_for(source: str, system: str | None = None) -> str | None:
    """The system whose record a source is; None where none of them knows it."""
    if system is not None:
        if system not in IMPORTERS:
            raise UsageError(f"there is no importer {system!r}; there are {', '.join(IMPORTERS)}")
        return system
    return next((name for name, one in IMPORTERS.items() if one.recognises(source)), None)


def import_from(
    store: Store,
    source: str,
    system: str,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Bring another system's record into a store. Once more brings what is new since then, and nothing twice."""
    importer = IMPORTERS[system]
    report = Imported(source=source, system=system)
    experiments = getattr(importer, "experiments", None)
    if experiments is not None:
        about(store, experiments(source))
    found = importer.runs(source, report.problems)
    return take(store, found, report, total=importer.count(source), progress=progress)
