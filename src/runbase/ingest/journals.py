"""Ingest journals into a database, each event exactly once, also with concurrent ingesters.

This module keeps no state. The database stores the offset at which to continue, and updates it in the same transaction as
the events. An ingester that loses a race has read a piece of a journal for nothing; no point is lost.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec import Struct

from runbase.events import Opened, Problem
from runbase.journal import Batch, files, locate, opened, read
from runbase.journal import size as journal_size
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery

FIRST_PIECE, LEAST_PIECE = 2**16, 2**12
"""Bytes of a journal that are read at once if there is a deadline: the first piece, and the smallest one."""
LARGEST_DELIVERY = 4 * 2**20
"""Bytes of journals in one transaction. Short transactions let other writers proceed."""


_LOG = logging.getLogger(__name__)


class Report(Struct):
    """What an ingest read and changed.

    `problems` lists the damaged lines and the events that cannot be stored. The database lists them too; all other events
    were stored.
    """

    folders: int = 0
    journals: int = 0
    lines: int = 0
    lost: int = 0
    found_alive: int = 0
    seconds: float = 0.0
    late: bool = False
    """Whether the ingest stopped before the end of the journal."""
    problems: list[Problem] = []
    unreadable: list[str] = []

    def add(self, other: "Report") -> None:
        """Add the counts and lists of another report."""
        self.folders += other.folders
        self.journals += other.journals
        self.lines += other.lines
        self.problems = [*self.problems, *other.problems]
        self.unreadable = [*self.unreadable, *other.unreadable]


def ingest_journal(
    storage: Storage,
    path: Path,
    folder: str | None = None,
    *,
    pause: Callable[[float], bool] | None = None,
    deadline: float | None = None,
    size: int = 2**19,
) -> Report:
    """Ingest the new lines of one journal, up to the last complete line.

    Args:
        storage: the database.
        path: the journal.
        folder: the run's folder as the database records it.
        pause: called between pieces of work with the duration (seconds) of the last one; returns whether to continue. The
            thread inside a training process sleeps here, so that the training keeps the interpreter.
        deadline: a time of `time.monotonic` at which to stop; the next ingest reads the rest.
        size: bytes to read at once.

    Returns:
        The lines that were stored, and the problems.
    """
    report = Report(journals=1)
    report.late = True
    head = opened(path)
    if head is None:
        if journal_size(path):
            report.unreadable = [f"{path}: its first line is damaged or incomplete"]
        report.late = False
        return report
    offset = storage.offsets([head.journal]).get(head.journal, 0)
    rate = None
    while deadline is None or time.monotonic() < deadline:
        began = time.perf_counter()
        batch = read(path, offset, size if deadline is None else _fitting(deadline, rate, size))
        if batch.offset == offset:
            report.problems = [*report.problems, *batch.problems]
            report.late = False
            break
        if pause and not pause(time.perf_counter() - began):
            break
        began = time.perf_counter()
        (applied,) = storage.apply([delivery_of(head, path, folder, batch)])
        rate = (batch.offset - batch.start) / max(time.perf_counter() - began, 1e-6)
        if applied.taken:
            _LOG.debug("ingested %d lines of %s up to byte %d", batch.lines, path, batch.offset)
            report.lines += batch.lines
            report.problems = [*report.problems, *applied.problems]
            offset = batch.offset
        elif applied.problems:  # the first line cannot be stored, and therefore none of its lines
            report.problems = [*report.problems, *applied.problems]
            report.late = False
            break
        else:  # another process ingested first: continue at the offset that it reached
            _LOG.debug("another process ingested %s first", path)
            reached = storage.offsets([head.journal]).get(head.journal, 0)
            if reached <= offset:
                report.late = False
                break  # no process did: the run was purged, and its journals are ignored
            offset = reached
        if pause and not pause(time.perf_counter() - began):
            break
    return report


def _fitting(deadline: float, rate: float | None, size: int) -> int:
    """Return how many bytes can be read and stored before the deadline, at the rate so far (bytes per second)."""
    if rate is None:
        return min(FIRST_PIECE, size)
    return max(min(int(rate * (deadline - time.monotonic()) / 2), size), LEAST_PIECE)


def ingest_folder(storage: Storage, folder: Path, name: str | None = None) -> Report:
    """Ingest all new lines of a run's folder; `name` is the folder as the database records it."""
    report = Report(folders=1)
    for path in files(folder):
        try:
            report.add(ingest_journal(storage, path, name))
        except OSError as error:
            report.unreadable = [*report.unreadable, f"{path}: {error.strerror}"]
    return report


def delivery_of(head: Opened, path: Path, folder: str | None, batch: Batch) -> Delivery:
    """Create the delivery of a batch of lines; `head` is the first line of the journal."""
    return Delivery(
        run=head.run,
        events=batch.events,
        journal=head.journal,
        start=batch.start,
        offset=batch.offset,
        file=path.name,
        folder=folder,
        lines=batch.lines,
        problems=batch.problems,
        locate=partial(locate, path, batch.start, batch.offset),
    )
