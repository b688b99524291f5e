"""The format of runbase's own run folders: journals."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from runbase.ingest.folders import Folder, Keep, Reached, Unreadable
from runbase.journal import chosen, locate, opened
from runbase.journal import read as read_journal
from runbase.storage.types import Delivery

NAME = "runbase"
PIECE = 2**19
"""Bytes of a journal that are read at once."""


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the names of the journals in the folder."""
    del folder
    return chosen(names)


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read what the journals contain and the database does not."""
    del keep
    heads = [(folder / name, opened(folder / name)) for name in names]
    known = [(path, head) for path, head in heads if head is not None]
    if not known:
        raise Unreadable("its first line is damaged or incomplete")

    def deliveries() -> Iterator[Delivery]:
        for path, head in known:
            offset = reached(head.journal)
            while (batch := read_journal(path, offset, PIECE)).offset > offset:
                yield Delivery(
                    run=head.run,
                    events=batch.events,
                    journal=head.journal,
                    start=batch.start,
                    offset=batch.offset,
                    file=path.name,
                    lines=batch.lines,
                    problems=batch.problems,
                    locate=partial(locate, path, batch.start, batch.offset),
                )
                offset = batch.offset

    return Folder(run=known[0][1].run, deliveries=deliveries())
