"""The files of archives: write them again without purged runs, move them to another place, and remove those left over."""

import time
from collections.abc import Sequence
from pathlib import Path

from runbase.errors import StoreError
from runbase.ids import new_id
from runbase.ingest.cleanup import Tidied
from runbase.storage.archive_protocol import FOLDER
from runbase.storage.block_files import write
from runbase.storage.block_reader import About, about, rows_of
from runbase.storage.places import PARTIAL, Place
from runbase.storage.protocol import Storage

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
                new = f"points-{storage.archive_mark()}-{new_id()}.parquet"
                rows = (row for row in rows_of(place, name) if row.run in runs)
                written = write(place, new, rows, storage.url)
                storage.change_archive(uri, f"{place.url}/{new}", written.sha256, written.parts)
            place.remove(name)
        except (OSError, ValueError, StoreError):
            left.append(f"{uri}: it cannot be read or written")
    return left


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
