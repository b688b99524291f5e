"""Brings a whole home up to date: every run folder in it, then who still lives."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

from runbase.errors import StoreBusy
from runbase.ingest.journals import LARGEST_DELIVERY, Report, delivery_of, ingest_folder
from runbase.ingest.liveness import check_liveness
from runbase.journal import files, opened, read
from runbase.journal import size as journal_size
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery

SMALL = 2**17
"""Journals up to this size are taken in many to a transaction."""


def run_folders(home: Path) -> list[Path]:
    """Every folder below `home/runs` that holds a journal, in the order of their paths."""
    return sorted(_walk(home / "runs", depth=4))


def sync(
    storage: Storage,
    home: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    give_way: bool = False,
) -> Report:
    """Take in what the journals of a home hold and the store does not, then check who lives.

    `progress` is called with how many run folders are done, and how many there are. With `give_way`,
    a database that others keep busy ends it, and the report is `late`. Raises StoreBusy otherwise.
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
    folders = run_folders(home)
    known = _offsets(storage, folders)
    large: list[Path] = []
    small: list[tuple[Path, Path, int]] = []
    for folder in folders:
        report.folders += 1
        for path in files(folder):
            report.journals += 1
            head = opened(path)
            if head is None:
                if _size(path):
                    reason = "its first line is damaged or incomplete"
                    report.unreadable = [*report.unreadable, f"{path}: {reason}"]
                continue
            left = _size(path) - known.get(head.journal, 0)
            if left > SMALL and (not large or large[-1] != folder):
                large.append(folder)
            elif left > 0:
                small.append((folder, path, known.get(head.journal, 0)))
    done = len(folders) - len(large) - len({folder for folder, *_ in small})
    if progress:
        progress(done, len(folders))
    for part in _parts(small):
        _take(storage, home, part, report)
        done += len({folder for folder, *_ in part})
        if progress:
            progress(done, len(folders))
    for folder in large:
        taken = ingest_folder(storage, folder, folder.relative_to(home).as_posix())
        report.lines += taken.lines
        report.problems = [*report.problems, *taken.problems]
        done += 1
        if progress:
            progress(done, len(folders))
    check_liveness(storage, home, report)
    report.seconds = time.perf_counter() - began


def waiting(storage: Storage | None, home: Path) -> tuple[int, int]:
    """How many journals hold what the store does not, and how many bytes; all, where it is away."""
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
        except OSError as error:  # it was removed meanwhile, or cannot be read any more
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
        elif not applied.problems:  # another ingester was first, and may not have come as far
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


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    if any(entry.name.startswith("journal.") for entry in entries):
        yield folder
        return
    for entry in entries:
        if depth and entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), depth - 1)


def _size(path: Path) -> int:
    try:
        return journal_size(path)
    except OSError:
        return 0
