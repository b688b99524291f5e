"""The active runs of this process, and the current run of each thread or task."""

import contextvars
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from runbase.ingest.journals import Report
    from runbase.storage.protocol import Storage


class ActiveRun(Protocol):
    """The interface of an active run that this module needs."""

    id: str
    store: str | None
    nests: bool

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        ...

    def flush(self) -> Any:
        """Ingest what the run has logged into the database."""
        ...


class OpenStore(Protocol):
    """The interface of an open store that the layers below the store need."""

    @property
    def storage(self) -> "Storage":
        """The database."""
        ...

    @property
    def home(self) -> "Path | None":
        """The folder that contains the run folders; None for a database alone."""
        ...

    @property
    def address(self) -> str:
        """The URL that opens the database again; it may contain a password."""
        ...


current: contextvars.ContextVar["ActiveRun | None"] = contextvars.ContextVar(
    "runbase_run", default=None
)
runs: "list[ActiveRun]" = []


def active_run() -> "ActiveRun | None":
    """Return the current run of this thread or task; if it started none, the only run of the process."""
    run = current.get()
    if run is not None and not run.finished:
        return run
    return runs[0] if len(runs) == 1 else None


def enclosing_run() -> "ActiveRun | None":
    """Return the run of the enclosing `with` block, the parent of a run started here, or None."""
    run = current.get()
    return run if run is not None and run.nests and not run.finished else None


def is_active(run_id: str) -> bool:
    """Return whether a run of this id is active in this process."""
    return any(run.id == run_id for run in runs)


def flush_into(address: str) -> "Report":
    """Ingest what the active runs of this process have logged for a database.

    Args:
        address: the URL of the database.
    """
    from runbase.ingest.journals import Report  # imported here: training does not need it

    matching = [run for run in runs if run.store == address]
    for run in matching:
        run.flush()
    return Report(folders=len(matching), journals=len(matching))
