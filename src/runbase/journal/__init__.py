"""Journals: append-only files that hold what a run did. No SQL here, and no locks."""

from runbase.journal.format import NAME, VERSION
from runbase.journal.reader import Batch, Problem, files, opened, read
from runbase.journal.writer import JournalWriter

__all__ = [
    "NAME",
    "VERSION",
    "Batch",
    "JournalWriter",
    "Problem",
    "files",
    "opened",
    "read",
]
