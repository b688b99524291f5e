"""The files of archives: write them again without purged runs, move them to another place, and remove those left over."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from runbase.errors import StoreError
from runbase.ids import new_id
from runbase.ingest.cleanup import Tidied
from runbase.storage.archive_protocol import FOLDER
from runbase.storage.block_files import write
from runbase.storage.block_reader import About, about, rows_of, sha256_of
from runbase.storage.places import PARTIAL, Place
from runbase.storage.protocol import Storage

PIECE = 2**20
Progress = Callable[[int, int], None]
QUIET = 86400.0
"""Seconds after which a file that nothing refers to counts as left over."""


def remove_gone(storage: Storage, uris: Sequence[str]) -> list[str]:
    """Write files again without runs that are not archived in them any more; remove those without runs.

    Only the files of this database are changed: a copy of it refers to files of the original.

    Args:
        storage: the database.
        uris: the files.

    Returns:
        The files that could not be changed.
    """
    kept, left = storage.archived_files(), list[str]()
    for uri in uris:
        try:
            place, name = storage.archive_place(uri)
            there = about(place, name)
            runs = set(kept.get(uri, {})) & set(there.runs)
            if len(runs) == len(there.runs):
                continue
            if not _is_ours(storage, place, there):
                left.append(f"{uri}: it is of another store, {there.owner}")
                continue
            if runs:
                new = new_name(storage)
                rows = (row for row in rows_of(place, name) if row.run in runs)
                written = write(place, new, rows, storage.url)
                storage.change_archive(uri, f"{place.url}/{new}", written.sha256, written.parts)
            place.remove(name)
        except (OSError, ValueError, StoreError):
            left.append(f"{uri}: it cannot be read or written")
    return left


class MovedFiles(Struct, kw_only=True):
    """What `Store.move_archive` did, or would do in a dry run.

    Attributes:
        place: the folder or URL that the files are in now.
        files: how many were moved.
        bytes: their size.
        left: those that could not be moved, each with the reason.
    """

    place: str
    files: int = 0
    bytes: int = 0
    left: list[str] = []


def move_files(
    storage: Storage, to: Place, *, dry_run: bool = False, progress: Progress | None = None
) -> MovedFiles:
    """Copy each file to a place, read it back, record it there, and remove it where it was.

    Only the files of this database are moved: a copy of it refers to files of the original.

    Args:
        storage: the database.
        to: the place.
        dry_run: count the files, and change nothing.
        progress: called with the number of files done and the total.
    """
    report = MovedFiles(place=to.url)
    files = sorted(storage.archived_files())
    for number, uri in enumerate(files, 1):
        try:
            report.bytes += _move(storage, uri, to, report, dry_run=dry_run)
        except (OSError, ValueError, StoreError) as error:
            report.left.append(f"{uri}: {error}")
        if progress is not None:
            progress(number, len(files))
    return report


def _move(storage: Storage, uri: str, to: Place, report: MovedFiles, *, dry_run: bool) -> int:
    """Move one file; returns its size, and 0 if it is at the place.

    The copy has a new name: two paths or URLs can be the same place, and removing the old name must not remove the copy.
    """
    place, name = storage.archive_place(uri)
    if place.url == to.url:
        if uri != f"{to.url}/{name}" and not dry_run:
            storage.rename_archive(uri, f"{to.url}/{name}")  # it came with a home that was moved
        return 0
    there = about(place, name)
    if not _is_ours(storage, place, there):
        raise StoreError(f"it is of another store, {there.owner}")
    size = place.size(name)
    if not dry_run:
        new, digest = new_name(storage), hashlib.sha256()

        def copy(file: Any) -> None:
            with place.open(name) as source:
                while piece := source.read(PIECE):
                    digest.update(piece)
                    file.write(piece)

        to.write(new, copy)
        if sha256_of(to, new) != digest.hexdigest():
            remove_quietly(to, new)
            raise StoreError(f"its copy in {to.url} has other content; the copy was removed")
        storage.rename_archive(uri, f"{to.url}/{new}")
        remove_quietly(place, name)
    report.files += 1
    return size


def new_name(storage: Storage) -> str:
    """Return a name for a file that no other has."""
    return f"points-{storage.archive_mark()}-{new_id()}.parquet"


def _is_ours(storage: Storage, place: Place, there: About) -> bool:
    """Return whether this database may change a file: it wrote it, or it was moved together with it.

    A copy of a database refers to the files of the original, and does not own them.
    """
    if there.owner == storage.url:
        return True
    own, owner = (url.partition("sqlite:///")[2] for url in (storage.url, there.owner))
    if not own or not owner or Path(owner).exists():
        return False
    return place.local and Path(place.url) == Path(own).parent / FOLDER


def leftovers_of_archives(storage: Storage, home: Path, *, dry_run: bool = False) -> Tidied:
    """Remove files of this database that no run refers to and whose points are all elsewhere.

    Args:
        storage: the database.
        home: its home.
        dry_run: remove nothing.
    """
    report = Tidied()
    if not dry_run:
        report.problems = [
            f"deleted runs are still in {what}"
            for what in remove_gone(storage, list(storage.archived_files()))
        ]
    for uri, size in _leftovers(storage, home):
        report.files = [*report.files, uri]
        report.bytes += size
        if not dry_run:
            folder, _, name = uri.rpartition("/")
            remove_quietly(Place(folder), name)
    return report


def _leftovers(storage: Storage, home: Path) -> list[tuple[str, int]]:
    known = storage.archived_files()
    if not known and not (home / FOLDER).exists():
        return []
    folders = {uri.rpartition("/")[0] for uri in known} | {str(home.absolute() / FOLDER)}
    names = {uri.rpartition("/")[2] for uri in known}  # a home that was moved has other paths
    begin, before = f"points-{storage.archive_mark()}-", time.time() - QUIET
    found: list[tuple[str, int]] = []
    for folder in sorted(folders):
        place = Place(folder)
        for name, size, changed in place.entries():
            ours = name.removeprefix(".").startswith(begin)
            if not ours or name in names or changed >= before:
                continue
            if name.endswith(PARTIAL) or _is_left(storage, place, name):
                found.append((f"{folder}/{name}", size))
    return found


def _is_left(storage: Storage, place: Place, name: str) -> bool:
    """Return whether a file is of this database, and the points of all its runs are in the tables or in other files, or purged."""
    there = about(place, name)
    if not _is_ours(storage, place, there):
        return False
    runs = list(there.runs)
    elsewhere = {one.run for one in storage.points_in_tables(runs) if one.points}
    elsewhere |= {one.run for one in storage.archives(runs)} | storage.purged(runs)
    return set(runs) <= elsewhere


def remove_quietly(place: Place, name: str) -> None:
    """Delete a file; one that cannot be deleted is left to `leftovers_of_archives`."""
    try:
        place.remove(name)
    except OSError:
        return
