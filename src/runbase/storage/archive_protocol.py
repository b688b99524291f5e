"""The interface of a storage for archives: points of runs that are moved to Parquet files, and back."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from runbase.storage.block_files import Axis, Block, Part
from runbase.storage.places import Place

FOLDER = "archive"
"""The folder of a home that has the files, unless another place is given."""


class Archived(Struct, frozen=True, kw_only=True):
    """The points of a run in a file; see the table `archives`."""

    run: str
    uri: str
    first_row_group: int
    row_groups: int
    groups: int
    points: int
    last_seq: int
    last_group: int
    bytes: int
    sha256: str
    created_at: datetime


class Moved(Struct, frozen=True, kw_only=True):
    """How many groups and points of a run are in the tables."""

    run: str
    groups: int
    points: int


class ArchiveTotals(Struct, frozen=True, kw_only=True):
    """How much is archived; `bytes` is the size of the files, as far as runs refer to them."""

    runs: int
    files: int
    points: int
    bytes: int


class ArchiveStorage(Protocol):
    """Move points to files and back."""

    def archives(self, runs: Sequence[str]) -> list[Archived]:
        """Return the archives of runs; of a run that is not archived, none."""
        ...

    def archived_files(self) -> dict[str, dict[str, int]]:
        """Return the files of archives, each with its runs and their numbers of points."""
        ...

    def archived_totals(self) -> ArchiveTotals:
        """Return how much is archived."""
        ...

    def archive_problems(self) -> list[str]:
        """Return which files of archives are missing, or do not have the points of their runs."""
        ...

    def archive_place(self, uri: str) -> tuple[Place, str]:
        """Return the folder and the name of a file: in a home that was moved or copied, it is beside the database."""
        ...

    def archive_mark(self) -> str:
        """Return eight letters and digits that tell files of this database from those of others."""
        ...

    def points_in_tables(self, runs: Sequence[str]) -> list[Moved]:
        """Return how many groups and points of runs are in the tables."""
        ...

    def series_to_move(self, run: str) -> list[tuple[int, str, str]]:
        """Return the id, kind and key of each metric of a run."""
        ...

    def axes_to_move(self, run: str, after: int, most: int) -> list[Axis]:
        """Return groups of a run whose `seq` is greater than `after`, at most so many."""
        ...

    def blocks_to_move(
        self, run: str, series: tuple[int, str, str], after: int, most: int
    ) -> list[Block]:
        """Return blocks of a metric in groups whose `seq` is greater than `after`, at most so many."""
        ...

    def move_to_archive(self, uri: str, sha256: str, parts: Sequence[Part]) -> list[str]:
        """Delete the points of runs that are in a file, and record the file, all in one transaction.

        A run of which the tables have other numbers of groups or points than the file is not changed.

        Returns:
            The runs that were moved.
        """
        ...

    def take_back(self, run: str) -> None:
        """Store the archived points of a run in the tables again, and forget its archive.

        Raises:
            StoreError: the file is missing or damaged.
        """
        ...

    def vacuum(self) -> tuple[int, int]:
        """Return free space of the database to the file system; returns its size in bytes before and after.

        Writers wait meanwhile; runs that log do not.
        """
        ...

    def rename_archive(self, old: str, new: str) -> None:
        """Record that a file is at another place now, with the same content."""
        ...

    def change_archive(self, old: str, uri: str, sha256: str, parts: Sequence[Part]) -> None:
        """Record that the points of runs are in another file now."""
        ...
