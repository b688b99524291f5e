"""The runs that this process holds open, and which of them is current in a thread or task."""

import contextvars
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from runbase.ingest.journals import Report
    from runbase.storage.protocol import Storage


class ActiveRun(Protocol):
    """What is needed here of a run that this process holds open."""

    id: str
    store: str | None
    nests: bool

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        ...

    def flush(self) -> Any:
        """Bring what it has logged into the database."""
        ...


class OpenStore(Protocol):
    """What code below the store needs of one that is open."""

    @property
    def storage(self) -> "Storage":
        """The database."""
        ...

    @property
    def home(self) -> "Path | None":
        """The folder with the folders of runs; None: a database alone."""
        ...

    @property
    def address(self) -> str:
        """The URL that opens the database again, perhaps with a password."""
        ...


current: contextvars.ContextVar["ActiveRun | None"] = contextvars.ContextVar(
    "runbase_run", default=None
)
runs: "list[ActiveRun]" = []


def active_run() -> "ActiveRun | None":
    """The current run of this thread or task; in one that began none, the process's only run."""
    run = current.get()
    if run is not None and not run.finished:
        return run
    return runs[0] if len(runs) == 1 else None


def enclosing_run() -> "ActiveRun | None":
    """The run whose `with` block this is in, if any: the parent of a run begun here."""
    run = current.get()
    return run if run is not None and run.nests and not run.finished else None


def is_active(run_id: str) -> bool:
    """Whether this process holds a run of this id open."""
    return any(run.id == run_id for run in runs)


def flush_into(address: str) -> "Report":
    """Bring what this process's runs have logged for a database into it.

    Args:
        address: the database's URL.
    """
    from runbase.ingest.journals import Report  # training does not need it

    found = [run for run in runs if run.store == address]
    for run in found:
        run.flush()
    return Report(folders=len(found), journals=len(found))
