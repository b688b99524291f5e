"""Journals: append-only files that hold what a run did. No SQL here, and no locks."""

from runbase.journal.format import NAME, VERSION
from runbase.journal.packed import is_packed, open_lines, pack, size, tail
from runbase.journal.reader import Batch, chosen, files, locate, opened, read
from runbase.journal.writer import JournalWriter

__all__ = [
    "NAME",
    "VERSION",
    "Batch",
    "JournalWriter",
    "chosen",
    "files",
    "is_packed",
    "locate",
    "open_lines",
    "opened",
    "pack",
    "read",
    "size",
    "tail",
]
