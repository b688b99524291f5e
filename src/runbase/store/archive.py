"""Archives: points of ended runs as Parquet files instead of rows, with charts and tables as before.

A file is written, synced and read back before the rows of its runs are deleted, in the transaction that records the file. A
process that is killed leaves at most a file that nothing refers to, which `gc(files=True)` removes.
"""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from msgspec import Struct

from runbase.errors import StoreError, UsageError
from runbase.model import Run
from runbase.status import Phase
from runbase.storage.address import is_server
from runbase.storage.archive_protocol import FOLDER, Moved
from runbase.storage.block_files import Axis, Block, Part, write
from runbase.storage.block_reader import digest_of
from runbase.storage.places import Place
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.store.archive_files import (
    MovedFiles,
    Progress,
    move_files,
    new_name,
    remove_gone,
    remove_quietly,
)
from runbase.store.base import StoreBase
from runbase.typing import ExperimentLike

MOST_POINTS = 48_000_000
"""Points of a file, unless one run has more: about 250 MB."""
AT_ONCE = 2_000_000
"""Points that one transaction moves, unless one run has more."""
BATCH = 500
"""Runs that are looked at together."""
PAGE = 512
"""Groups or blocks that are read together."""
T = TypeVar("T", Moved, Part)


class ArchiveReport(Struct, kw_only=True):
    """What was archived, or would be in a dry run.

    Attributes:
        place: the folder or URL of the files.
        runs: runs whose points were moved.
        points: their points.
        bytes: the size of the files; 0 in a dry run.
        freed: bytes that the points took in the database, at the average size of a point.
        files: the files.
        archived: runs that match and were archived before.
        active: runs that match and have not ended, or not long enough ago.
        changed: runs that got points while they were archived: they are left for the next time.
    """

    place: str
    runs: int = 0
    points: int = 0
    bytes: int = 0
    freed: int = 0
    files: list[str] = []
    archived: int = 0
    active: int = 0
    changed: list[str] = []


class ArchiveMethods(StoreBase):
    """Move points of ended runs to files and back."""

    def archive(
        self,
        where: str | None = None,
        *,
        to: str | None = None,
        experiment: ExperimentLike | None = None,
        older_than: float = 0.0,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> ArchiveReport:
        """Move the points of ended runs from the database to Parquet files.

        Runs, parameters, statistics of metrics and all other records stay in the database, so that listings,
        filters and sorts do not change; charts, `metrics` and data frames read the files. The views
        `metrics` and `telemetry` show no points of archived runs. It can be interrupted at any time and
        started again.

        Args:
            where: only runs that match this filter.
            to: a folder, or a URL that fsspec supports, such as `s3://lab/archive`. Default: the folder
                `archive` of the home.
            experiment: only runs of this experiment.
            older_than: only runs that ended more than this many seconds ago.
            dry_run: report what would be archived, and change nothing.
            progress: called with the number of runs done and the total.

        Returns:
            What was archived.

        Raises:
            UsageError: the store has no home and `to` is not given.
            MissingPackage: PyArrow, or fsspec for a URL, is not installed.
            FilterError: `where` is not a valid filter.
        """
        place = Place(self._archive_place(to))
        report = ArchiveReport(place=place.url)
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        matches = self.storage.runs(Query(where=where, experiment=experiment_id))
        ended = [run for run in matches if _is_over(run, time.time() - older_than)]
        report.active = len(matches) - len(ended)
        chosen = self._with_points([run.id for run in ended], report)
        if dry_run or not chosen:
            report.runs, report.points = len(chosen), sum(one.points for one in chosen)
            report.freed = self._bytes_of(report.points)
            return report
        each = self._bytes_of(1_000_000) / 1e6
        for part in _batches(chosen, MOST_POINTS):
            self._write_archive(place, new_name(self.storage), part, report)
            if progress is not None:
                progress(report.runs + len(report.changed), len(chosen))
        report.freed = round(report.points * each)
        return report

    def unarchive(
        self,
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Store the points of archived runs in the database again.

        Args:
            where: only runs that match this filter.
            experiment: only runs of this experiment.
            progress: called with the number of runs done and the total.

        Returns:
            The number of runs.

        Raises:
            StoreError: a file is missing or damaged; runs before it are in the database again.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        matches = self.storage.runs(Query(where=where, experiment=experiment_id))
        return self._take_back([run.id for run in matches], progress)

    def move_archive(
        self, to: str | None = None, *, dry_run: bool = False, progress: Progress | None = None
    ) -> MovedFiles:
        """Move the files of archived runs to another place.

        Each file is copied, read back, recorded and then removed where it was. It can be interrupted at
        any time and started again. Backups and copies of this database that were made before look for the
        files where they were.

        Args:
            to: a folder, or a URL that fsspec supports, such as `s3://lab/archive`. Default: the folder
                `archive` of the home.
            dry_run: count the files, and change nothing.
            progress: called with the number of files done and the total.

        Returns:
            What was moved, and which files were left with the reason.

        Raises:
            UsageError: the store has no home and `to` is not given.
            MissingPackage: PyArrow, or fsspec for a URL, is not installed.
        """
        place = Place(self._archive_place(to))
        return move_files(self.storage, place, dry_run=dry_run, progress=progress)

    def _take_back(self, ids: Sequence[str], progress: Progress | None = None) -> int:
        archived = [
            one
            for start in range(0, len(ids), BATCH)
            for one in self.storage.archives(ids[start : start + BATCH])
        ]
        for number, one in enumerate(archived, 1):
            self.storage.take_back(one.run)
            if progress is not None:
                progress(number, len(archived))
        if archived:
            remove_gone(self.storage, sorted({one.uri for one in archived}))
        return len(archived)

    def _archive_place(self, to: str | None) -> str:
        if is_server(self.storage.url):
            raise UsageError(
                f"{self.storage.url} is a server; archive on its machine, with the --store or --home that it serves"
            )
        if to is not None and not to.strip():
            raise UsageError(
                "the place of the archive is empty (--to, or to=…); give a folder or a URL"
            )
        if to is not None:
            return to.rstrip("/") if "://" in to else str(Path(to).expanduser().absolute())
        if self.home is None:
            raise UsageError(
                "this store has no home; say where its archive is to be: --to s3://lab/archive, or to=…"
            )
        return str(self.home.absolute() / FOLDER)

    def _with_points(self, ids: Sequence[str], report: ArchiveReport) -> list[Moved]:
        """Return the runs that have points in the tables, by id; those that were archived before are complete again."""
        found: list[Moved] = []
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            archived = {one.run for one in self.storage.archives(part)}
            here = [one for one in self.storage.points_in_tables(part) if one.groups]
            grown = [one.run for one in here if one.run in archived]
            report.archived += len(archived) - len(grown)
            self._take_back(grown)
            found += [one for one in here if one.run not in archived]
            found += self.storage.points_in_tables(grown)
        return sorted(found, key=lambda one: one.run)

    def _bytes_of(self, points: int) -> int:
        """Return the bytes of some points in the database, on average."""
        size = self.storage.sizes(1).experiments
        return round(points * size[0].database / size[0].points) if size and size[0].points else 0

    def _write_archive(
        self, place: Place, name: str, runs: Sequence[Moved], report: ArchiveReport
    ) -> None:
        """Write a file with the points of runs, read it back, and move the runs to it."""
        ids = {one.run for one in runs}
        for run, series, _ in self.storage.unoutlined():
            if run in ids:
                self.storage.build_outline(run, series)
        uri = f"{place.url}/{name}"
        moved: set[str] = set()
        try:
            written = write(place, name, _rows(self.storage, sorted(ids)), self.storage.url)
            if digest_of(place, name) != written.digest:
                raise StoreError(f"{uri} has other content than was written; nothing was moved")
            for parts in _batches(written.parts, AT_ONCE):
                moved.update(self.storage.move_to_archive(uri, written.sha256, parts))
        finally:
            if not moved:
                remove_quietly(place, name)
        report.changed += sorted(ids - moved)
        if not moved:
            return
        report.runs += len(moved)
        report.points += sum(part.points for part in written.parts if part.run in moved)
        report.bytes += written.size
        report.files.append(uri)


def _is_over(run: Run, before: float) -> bool:
    ended = run.ended_at or run.updated_at
    return run.status.phase is Phase.ENDED and ended.timestamp() <= before


def _batches(items: Sequence[T], most: int) -> Iterator[list[T]]:
    """Yield items in parts of at most `most` points; an item that has more is a part of its own."""
    part: list[T] = []
    points = 0
    for one in items:
        if part and points + one.points > most:
            yield part
            part, points = [], 0
        part.append(one)
        points += one.points
    if part:
        yield part


def _rows(storage: Storage, runs: Sequence[str]) -> Iterator[Axis | Block]:
    """Yield the axes and blocks of runs, some at a time."""
    for run in runs:
        after = -1
        while axes := storage.axes_to_move(run, after, PAGE):
            yield from axes
            after = axes[-1].seq
        for series in storage.series_to_move(run):
            after = -1
            while blocks := storage.blocks_to_move(run, series, after, PAGE):
                yield from blocks
                after = blocks[-1].seq
