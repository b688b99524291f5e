"""The runs that this process holds open, and which of them is current in a thread or task."""

import contextvars
from typing import TYPE_CHECKING

from runbase.errors import UsageError

if TYPE_CHECKING:
    from runbase.ingest.journals import Report
    from runbase.run.run import Run

current: contextvars.ContextVar["Run | None"] = contextvars.ContextVar("runbase_run", default=None)
runs: "list[Run]" = []


def current_run() -> "Run | None":
    """The current run of this thread or task; in one that began none, the process's only run."""
    run = current.get()
    if run is not None and not run.finished:
        return run
    return runs[0] if len(runs) == 1 else None


def enclosing_run() -> "Run | None":
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


def required_run(what: str) -> "Run":
    """The current run; UsageError says how to begin one."""
    run = current_run()
    if run is None:
        several = f"{len(runs)} runs are active and none is this thread's own; use run.{what}"
        none = f"there is no run to {what} to; begin one: runbase.start_run('my-experiment')"
        raise UsageError(several if runs else none)
    return run
