"""Journals: append-only files with the events of a run. This package uses neither SQL nor locks."""

from runbase.journal.format import NAME, VERSION
from runbase.journal.packed import is_packed, last_line, open_lines, pack, size
from runbase.journal.reader import Batch, chosen, files, last_time, locate, opened, read
from runbase.journal.writer import JournalWriter

__all__ = [
    "NAME",
    "VERSION",
    "Batch",
    "JournalWriter",
    "chosen",
    "files",
    "is_packed",
    "last_line",
    "last_time",
    "locate",
    "open_lines",
    "opened",
    "pack",
    "read",
    "size",
]
