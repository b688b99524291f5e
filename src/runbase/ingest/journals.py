"""Takes journals into a store, exactly once, whoever else does the same at the same moment.

Keeps no state of its own: where to go on stands in the store, and moves with the events in one
transaction. Losing a race costs a read, never a point.
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
"""Bytes of a journal that are read at once where there is a deadline: at first, and at least."""
LARGEST_DELIVERY = 4 * 2**20
"""How many bytes of journals one transaction takes; short ones let other writers in."""


_LOG = logging.getLogger(__name__)


class Report(Struct):
    """What an ingest found and did.

    `problems` are the damaged lines and the events that cannot be stored: they are listed in the
    database, and everything beside them came in.
    """

    folders: int = 0
    journals: int = 0
    lines: int = 0
    lost: int = 0
    found_alive: int = 0
    seconds: float = 0.0
    late: bool = False
    """Whether it was stopped before the end of the journal."""
    problems: list[Problem] = []
    unreadable: list[str] = []

    def add(self, other: "Report") -> None:
        """Count another report in."""
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
    """Bring one journal's new lines into the store, as far as it is written.

    `pause` is called between pieces of work with the seconds that the last one took, and says
    whether to go on: the thread inside a training process sleeps there, so that training keeps the
    interpreter. `deadline` (of
    `time.monotonic`) stops early; what is left stays for the next ingest.
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
        elif applied.problems:  # its first line cannot be stored, and so nothing of it
            report.problems = [*report.problems, *applied.problems]
            report.late = False
            break
        else:  # another ingester was first: go on from where it has come to
            _LOG.debug("another process ingested %s first", path)
            reached = storage.offsets([head.journal]).get(head.journal, 0)
            if reached <= offset:
                report.late = False
                break  # nobody was: the run was purged, and is not wanted back
            offset = reached
        if pause and not pause(time.perf_counter() - began):
            break
    return report


def _fitting(deadline: float, rate: float | None, size: int) -> int:
    """Bytes to read so that they are in the store before the deadline, by the rate so far (bytes a second)."""
    if rate is None:
        return min(FIRST_PIECE, size)
    return max(min(int(rate * (deadline - time.monotonic()) / 2), size), LEAST_PIECE)


def ingest_folder(storage: Storage, folder: Path, name: str | None = None) -> Report:
    """Bring everything new in one run's folder into the store; `name` is where the run is kept."""
    report = Report(folders=1)
    for path in files(folder):
        try:
            report.add(ingest_journal(storage, path, name))
        except OSError as error:
            report.unreadable = [*report.unreadable, f"{path}: {error.strerror}"]
    return report


def delivery_of(head: Opened, path: Path, folder: str | None, batch: Batch) -> Delivery:
    """A batch of a journal's lines on its way into a store; `head` is the journal's first line."""
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
