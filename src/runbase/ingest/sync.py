"""Ingest all run folders of a home directory, then check which runs are alive."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path

from runbase.errors import StoreBusy, StoreError
from runbase.events import Opened
from runbase.ingest.journals import LARGEST_DELIVERY, Report, delivery_of, ingest_folder
from runbase.ingest.liveness import check_liveness, may_grow
from runbase.journal import files, is_packed, opened, read
from runbase.journal import size as journal_size
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery

SMALL = 2**17
"""Journals with at most this many new bytes are ingested together, many in one transaction."""
_WORTH = 20
"""Folders that are worth a write: below that, looking at them again costs less, and looking changes nothing."""
_UNSETTLED = 2_000_000_000
"""Nanoseconds after a folder's change within which another change may have the same modification time."""


def run_folders(home: Path) -> list[Path]:
    """Return every folder below `home/runs` that contains a journal, sorted by path."""
    return sorted(Path(path) for path, _ in _folders(str(home / "runs"), len(str(home)) + 1, {}))


def sync(
    storage: Storage,
    home: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    give_way: bool = False,
) -> Report:
    """Ingest new journal entries of a home directory into the database, then check which runs are alive.

    Args:
        storage: the database.
        home: the home directory; its run folders are below `home/runs`.
        progress: called with the number of run folders done, and the number of all run folders.
        give_way: return early if other processes keep the database busy; `late` of the report is then true.

    Returns:
        What was ingested, and which runs were marked as lost or alive.

    Raises:
        StoreBusy: other processes keep the database busy, and `give_way` is false.
    """
    report = Report()
    try:
        _sync(storage, home, report, progress)
    except StoreBusy:
        if not give_way:
            raise
        report.late = True
    return report


def _sync(
    storage: Storage,
    home: Path,
    report: Report,
    progress: Callable[[int, int], None] | None,
) -> None:
    began = time.perf_counter()
    known = storage.synced_folders()
    looked_at = time.time_ns()
    folders = dict(_folders(str(home / "runs"), len(str(home)) + 1, known))
    report.folders = len(folders)
    changed = {path: when for path, when in folders.items() if when is not None}
    heads = [
        (folder, path, opened(path))
        for folder in map(Path, sorted(changed))
        for path in files(folder)
    ]
    report.journals += len(heads)
    offsets = storage.offsets([head.journal for *_, head in heads if head is not None])
    large: list[Path] = []
    small: list[tuple[Path, Path, int]] = []
    for folder, path, head in heads:
        if head is None:
            if _size(path):
                reason = "its first line is damaged or incomplete"
                report.unreadable = [*report.unreadable, f"{path}: {reason}"]
            continue
        left = _size(path) - offsets.get(head.journal, 0)
        if left > SMALL and (not large or large[-1] != folder):
            large.append(folder)
        elif left > 0:
            small.append((folder, path, offsets.get(head.journal, 0)))
    done = report.folders - len(large) - len({folder for folder, *_ in small})
    if progress:
        progress(done, report.folders)
    for part in _parts(small):
        _take(storage, home, part, report)
        done += len({folder for folder, *_ in part})
        if progress:
            progress(done, report.folders)
    for folder in large:
        taken = ingest_folder(storage, folder, folder.relative_to(home).as_posix())
        report.lines += taken.lines
        report.problems = [*report.problems, *taken.problems]
        done += 1
        if progress:
            progress(done, report.folders)
    _remember(storage, home, heads, changed, looked_at)
    check_liveness(storage, home, report)
    report.seconds = time.perf_counter() - began


def packable(
    storage: Storage, home: Path, days: float, *, most: int = 200, few: bool = False
) -> list[Path]:
    """Return run folders that have not changed for some days and have journals that are not packed.

    These are folders that the database remembers; it remembers none of a home with `few` runs, whose folders are looked at.
    """
    before = time.time() - days * 86400
    paths = [home / path for path in storage.plain_folders(before, most)]
    if few and not paths:
        paths = [
            folder
            for folder in run_folders(home)
            if any(_is_old(path, before) for path in files(folder))
        ]
    return paths[:most]


def _is_old(path: Path, before: float) -> bool:
    try:
        return not is_packed(path) and path.stat().st_mtime < before
    except OSError:
        return False


def _folders(
    folder: str, skip: int, known: Mapping[str, int], depth: int = 4
) -> Iterator[tuple[str, int | None]]:
    """Yield the run folders below a folder.

    Args:
        folder: where to begin.
        skip: the number of characters of the home's path, with its separator.
        known: folders that can be skipped until they change: path below the home → modification time (ns).
        depth: how many levels to descend.

    Yields:
        The path of a run folder, and its modification time (ns); None for a known folder that has not changed.
    """
    try:
        with os.scandir(folder) as scanned:
            entries = list(scanned)
    except OSError:
        return
    if any(entry.name.startswith("journal.") for entry in entries):
        yield folder, _changed_at(folder)
        return
    for entry in entries:
        path = entry.path
        before = known.get(path[skip:])
        if before is not None and _changed_at(path) == before:
            yield path, None
        elif depth and entry.is_dir(follow_symlinks=False):
            yield from _folders(path, skip, known, depth - 1)


def _changed_at(path: str) -> int:
    """Return the modification time of a folder in nanoseconds; 0 if it was removed meanwhile."""
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116 - creating a Path costs more than the call to stat
    except OSError:
        return 0


def _remember(
    storage: Storage,
    home: Path,
    heads: Sequence[tuple[Path, Path, Opened | None]],
    changed: Mapping[str, int],
    looked_at: int,
) -> None:
    """Record the folders that can be skipped until they change."""
    settled = {folder for folder, when in changed.items() if 0 < when < looked_at - _UNSETTLED}
    settled -= {str(folder) for folder, path, head in heads if head is None or _may_grow(path)}
    journals = [
        head.journal for folder, _, head in heads if head is not None and str(folder) in settled
    ]
    offsets = storage.offsets(journals) if journals else {}
    for folder, path, head in heads:
        if head is not None and _size(path) > offsets.get(head.journal, 0):
            settled.discard(str(folder))
    if len(settled) >= _WORTH:
        skip = len(str(home)) + 1
        plain = {str(folder) for folder, path, _ in heads if not is_packed(path)}
        with suppress(StoreError):  # a database that only can be read is synced as before
            storage.put_synced_folders(
                {folder[skip:]: changed[folder] for folder in settled},
                {folder[skip:] for folder in settled - plain},
            )


def _may_grow(path: Path) -> bool:
    """Whether a journal may grow; a damaged packed one is looked at again."""
    try:
        return may_grow(path)
    except (OSError, EOFError):
        return True


def waiting(storage: Storage | None, home: Path) -> tuple[int, int]:
    """Return the number of journals with data that was not ingested, and its size in bytes.

    Without a database (`storage` is None), all journals count as a whole.
    """
    folders = run_folders(home)
    known = {} if storage is None else _offsets(storage, folders)
    heads = ((path, opened(path)) for folder in folders for path in files(folder))
    left = [_size(path) - known.get(head.journal, 0) for path, head in heads if head is not None]
    behind = [size for size in left if size > 0]
    return len(behind), sum(behind)


def _take(
    storage: Storage, home: Path, part: Sequence[tuple[Path, Path, int]], report: Report
) -> None:
    deliveries: list[Delivery] = []
    folders: list[Path] = []
    for folder, path, offset in part:
        try:
            head, batch = opened(path), read(path, offset, SMALL + 1)
        except OSError as error:  # the file was removed meanwhile, or cannot be read any more
            report.unreadable = [*report.unreadable, f"{path}: {error.strerror}"]
            continue
        if head is None or batch.offset == offset:
            report.problems = [*report.problems, *batch.problems]
            continue
        folders.append(folder)
        deliveries.append(delivery_of(head, path, folder.relative_to(home).as_posix(), batch))
    for delivery, folder, applied in zip(
        deliveries, folders, storage.apply(deliveries), strict=True
    ):
        report.problems = [*report.problems, *applied.problems]
        if applied.taken:
            report.lines += delivery.lines
        elif (
            not applied.problems
        ):  # another process ingested first, possibly less than this delivery
            rest = ingest_folder(storage, folder, delivery.folder)
            report.lines += rest.lines
            report.problems = [*report.problems, *rest.problems]


def _parts(small: list[tuple[Path, Path, int]]) -> Iterator[list[tuple[Path, Path, int]]]:
    part: list[tuple[Path, Path, int]] = []
    size = 0
    for _, entries in groupby(small, key=lambda entry: entry[0]):
        for entry in entries:
            part.append(entry)
            size += _size(entry[1]) - entry[2]
        if size > LARGEST_DELIVERY:
            yield part
            part, size = [], 0
    if part:
        yield part


def _offsets(storage: Storage, folders: list[Path]) -> dict[str, int]:
    heads = (opened(path) for folder in folders for path in files(folder))
    return storage.offsets([head.journal for head in heads if head is not None])


def _size(path: Path) -> int:
    try:
        return journal_size(path)
    except OSError:
        return 0
