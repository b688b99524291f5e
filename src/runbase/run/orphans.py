"""Let a rank above 0 begin and end its run if rank 0 does not.

Rank 0 begins and ends the run of a distributed job; other ranks add data. They need not start in this order, and rank 0
may never start the run: only rank 1 calls `start_run`, or rank 0 dies first. Without a begin, such a run would wait
(PENDING) for ever.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runbase.errors import RunFinished
from runbase.events import Started
from runbase.ingest.liveness import has_begun
from runbase.status import Phase

if TYPE_CHECKING:
    from runbase.journal import JournalWriter
    from runbase.model import Run

GRACE = 5.0
"""Seconds after the start of a rank until it no longer waits for rank 0."""
_POLL = 0.02


class Orphan:
    """A process that joined a run which no process has begun yet.

    Args:
        journal: the journal of this process.
        record: returns the record of the run in the database; None if it is not there or there is no database.
        user: the name of the user.
    """

    def __init__(
        self, journal: "JournalWriter", record: "Callable[[], Run | None]", user: str | None
    ) -> None:
        self._journal, self._record, self._user = journal, record, user
        self._due = time.monotonic() + GRACE
        self._joined = False
        self._leads = False

    def begin_if_due(self) -> None:
        """Begin the run if rank 0 has not begun it in time; called by the background thread."""
        if self._joined or self._leads or time.monotonic() < self._due:
            return
        self._joined = _has_leader(self._journal.folder, self._record)
        if not self._joined:
            self._begin()

    def ends(self, deadline: float) -> bool:
        """Return whether this process ends the run: rank 0 has not begun it.

        Args:
            deadline: the latest time to wait for rank 0, by the monotonic clock.
        """
        if self._joined:
            return False
        while not has_begun(self._journal.folder):
            if time.monotonic() >= min(self._due, deadline):
                if not self._leads and not _has_leader(self._journal.folder, self._record):
                    self._begin()
                return self._leads
            time.sleep(_POLL)
        return False

    def _begin(self) -> None:
        # Not the second line of the journal, so that rank 0 still begins the run when it comes later.
        try:
            self._journal.append(Started(time=time.time(), user=self._user))
        except RunFinished:
            return
        self._leads = True


def _has_leader(folder: Path, record: "Callable[[], Run | None]") -> bool:
    """Return whether a process has begun the run: here, or on a machine that shares the database only."""
    if has_begun(folder):
        return True
    try:
        found = record()
    except Exception:  # a database that is offline; the folder alone decides
        return False
    return found is not None and found.status.phase is not Phase.WAITING
