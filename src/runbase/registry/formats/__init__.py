"""Formats of run folders that a scan recognises, one a module.

A format is a module with a NAME and two functions:

    tells(folder, names) -> the names of the files that tell of the run; none: it is not of this format
    read(folder, names, reached, keep) -> Folder: the run's id, and what is new

`reached` says how far a journal has been taken in; each `Delivery` goes on from there, so that several scanners
at once take everything once. `keep` makes files of what stands inside others. What cannot be read raises `Unreadable`, which says why.
"""

from runbase.registry.formats import lightning_csv, runbase_journal, stable_pretraining, tensorboard
from runbase.registry.formats.base import Folder, Format, Unreadable

FORMATS: tuple[Format, ...] = (runbase_journal, stable_pretraining, lightning_csv, tensorboard)
"""In the order in which they are asked: the first that a folder satisfies reads it."""

__all__ = ["FORMATS", "Folder", "Format", "Unreadable"]
